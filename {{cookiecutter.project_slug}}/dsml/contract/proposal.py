"""``dsml adopt``: any notebook turned into a step by reading it, never by running it.

Constants become parameters. Files that registered steps publish become ins, files that are written
become outs, and the paths in those calls become those of the context. Whatever cannot be told for
certain stays as it is and is noted.
"""

from __future__ import annotations

import ast
import builtins
import json
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from dsml.contract.cells import OP_PARAMETERS, PARAMETERS
from dsml.contract.code_cells import (
    ReadCell,
    made_by_magic,
    stands_alone,
    stored_names,
    used_names,
)
from dsml.contract.file_calls import FileCall, Names, file_calls, resolve
from dsml.contract.interface import RESERVED_FILES
from dsml.contract.literals import NotLiteral, read_literal
from dsml.contract.names import to_identifier
from dsml.contract.percent import ScriptCell
from dsml.contract.scaffold import declaration_source
from dsml.contract.source import assigned, parse
from dsml.contract.types import infer_type, read_type

_INJECTED = "injected-parameters"
_PYTHON_CELLS = ("time", "capture", "prun", "memit")  # cell magics below which Python stands
_TIMED = re.compile(r"^(\s*)%time (?=\S)", re.MULTILINE)
_UNPUBLISHED = "  # a file that no step publishes"
_LONGEST = 200  # characters; a longer value is data or text, not a setting

Relocate = Callable[[str], str]


@dataclass(frozen=True)
class Proposal:
    """The notebook as a step.

    ``origins`` gives the index of the original for each of ``cells``, None for a new one.
    ``notes`` say what was left to the user.
    """

    cells: list[ScriptCell]
    origins: list[int | None]
    parameters: list[str]
    ins: Mapping[str, str]
    outs: Mapping[str, str]
    notes: list[str]


_Assignment = ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class _Constant:
    """An assignment that could become a parameter."""

    name: str
    read: ReadCell
    node: _Assignment


def propose(
    cells: Sequence[ScriptCell], name: str, artefacts: Mapping[str, str], relocate: Relocate
) -> Proposal:
    """Propose a step of a notebook.

    ``artefacts`` maps catalog paths to file names, ``relocate`` gives the path by which a file is
    found from the step's folder.

    Raises:
        ValueError: the notebook declares ``op_parameters`` already.
    """
    if any(OP_PARAMETERS in cell.tags for cell in cells):
        raise ValueError("a cell is tagged 'op_parameters': it is the notebook of a step already")
    return _Proposer(cells, name, artefacts, relocate).proposal()


class _Proposer:
    def __init__(
        self,
        cells: Sequence[ScriptCell],
        name: str,
        artefacts: Mapping[str, str],
        relocate: Relocate,
    ) -> None:
        self._cells = cells
        self._name = name
        self._artefacts = artefacts
        self._relocate = relocate
        self._notes: list[str] = []
        self._ins: dict[str, str] = {}
        self._outs: dict[str, str] = {}
        self._written: dict[str, str] = {}  # path → out
        self._paths: dict[str, str] = {}  # path → new parameter
        self._replaced: Counter[str] = Counter()  # uses of a name that an edit has taken away
        self._moved: dict[str, str] = {}  # parameter → its value as a path from the new folder
        self._reads = list(self._parsed())
        self._names = Names()
        for read in self._reads:
            self._names.learn_imports(read.tree)
        self._stored = stored_names(self._reads, self._opaque)
        self._used = used_names(self._reads, self._opaque)
        self._names.constants.update(self._certain())
        self._context = "step_context" if self._stored["context"] else "context"

    @property
    def _opaque(self) -> list[str]:
        """The sources that could not be parsed, and the magics of those that could."""
        parsed = {read.index for read in self._reads}
        sources = [
            c.source for i, c in enumerate(self._cells) if i not in parsed and c.kind == "code"
        ]
        for read in self._reads:
            sources += [line for line in read.cell.source.split("\n") if line.lstrip()[:1] in "%!"]
        return sources

    def _parsed(self) -> Iterator[ReadCell]:
        for index, cell in enumerate(self._cells):
            if cell.kind != "code" or _INJECTED in cell.tags or not cell.source.strip():
                continue
            first = cell.source.lstrip().split("\n", 1)[0]
            if first.startswith("%%") and first[2:].split(" ", 1)[0] not in _PYTHON_CELLS:
                continue
            try:
                # of the same length, so that every column stays what it is
                python = _TIMED.sub(r"\1pass; ", cell.source)
                yield ReadCell(index, cell, parse(python))
            except SyntaxError as error:
                self._note(index, error.lineno, "is no Python; the cell was left as it is")

    def _note(self, index: int, line: int | None, what: str) -> None:
        place = f"cell {index + 1}" + (f", line {line}" if line else "")
        self._notes.append(f"{place}: {what}")

    def _certain(self) -> dict[str, object]:
        """The names that are assigned once, to a text, a path or a number."""
        known: dict[str, object] = {}
        for read in self._reads:
            for node in read.tree.body:
                target, value = assigned(node)
                if target and value is not None and self._stored[target] == 1:
                    found = resolve(value, self._names, known)
                    if found is not None:
                        known[target] = found
        return known

    def proposal(self) -> Proposal:
        constants = {constant.name: constant for constant in self._constants()}
        for read in self._reads:
            for call in file_calls(read.tree, self._names):
                self._take(read, call, constants)
        sources = [self._source(constant) for constant in constants.values()]
        sources += [
            f"{name}: str = {json.dumps(self._relocate(path), ensure_ascii=False)}{_UNPUBLISHED}"
            for path, name in self._paths.items()
        ]
        kept = [name for name in constants if not self._is_replaced(name)]
        return self._assembled("\n".join(filter(None, sources)), [*kept, *self._paths.values()])

    # --- parameters

    def _constants(self) -> Iterator[_Constant]:
        seen: set[str] = set()
        for read in self._reads:
            for node in read.tree.body:
                constant = self._constant(read, node)
                if constant is not None and constant.name not in seen:
                    seen.add(constant.name)
                    yield constant

    def _constant(self, read: ReadCell, node: ast.stmt) -> _Constant | None:
        name, value = assigned(node)
        if not isinstance(node, _Assignment) or value is None:
            return None
        try:
            literal = read_literal(value).value
            kind = read_type(node.annotation) if isinstance(node, ast.AnnAssign) else None
        except (NotLiteral, ValueError):
            return None
        if not (kind or infer_type(literal)).accepts(literal):
            return None
        if PARAMETERS not in read.cell.tags and not self._is_setting(name, literal):
            return None
        if stands_alone(read, node):
            return _Constant(name, read, node)
        if not made_by_magic(read, node):
            what = f"{name} shares its line; on a line of its own it could be a parameter"
            self._note(read.index, node.lineno, what)
        return None

    def _is_setting(self, name: str, value: object) -> bool:
        """Whether a name stands for one value that the rest of the notebook only reads."""
        text = value if isinstance(value, str) else json.dumps(value)
        return (
            self._stored[name] == 1
            and self._used[name] > 0
            and not name.startswith("_")
            and not hasattr(builtins, name)
            and value not in ([], {})
            and len(text) <= _LONGEST
            and "\n" not in text
        )

    def _is_replaced(self, name: str) -> bool:
        """Whether nothing reads a constant any more, since it was the path of an in or an out."""
        return 0 < self._used[name] <= self._replaced[name]

    def _source(self, constant: _Constant) -> str:
        """Take the lines of an assignment, with the comments above it, out of its cell."""
        read, node = constant.read, constant.node
        lines = read.cell.source.split("\n")
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        code = {n for s in read.tree.body for n in range(s.lineno - 1, s.end_lineno or s.lineno)}
        while first > 0 and lines[first - 1].startswith("#") and first - 1 not in code:
            first -= 1
        starts = read.line_starts
        read.edits.append((starts[first], min(starts[last], starts[-1] - 1), ""))
        if self._is_replaced(constant.name):
            return ""
        if constant.name in self._moved and isinstance(node.value, ast.Constant):
            begin, end = read.bounds(node.value)
            source = read.cell.source.encode()
            new = json.dumps(self._moved[constant.name], ensure_ascii=False).encode()
            moved = source[starts[first] : begin] + new + source[end : starts[last] - 1]
            comment = "" if b"#" in source[end : starts[last]] else _UNPUBLISHED
            return moved.decode() + comment
        return "\n".join(lines[first:last])

    # --- files

    def _take(self, read: ReadCell, call: FileCall, constants: Mapping[str, _Constant]) -> None:
        if call.is_remote:
            return
        if call.path is None:
            what = f"the path of {call.function} is worked out while the notebook runs; "
            what += "declare it by hand if it is an in or an out"
            self._note(read.index, call.node.lineno, what)
            return
        path = posixpath.normpath(call.path.replace("\\", "/"))
        if not PurePosixPath(path).name:
            return
        if call.action == "write":
            if call.conditional:
                what = f"'{path}' is not written in every run, but the step has to write its outs"
                self._note(read.index, call.node.lineno, what)
            self._replace(read, call, f"{self._context}.outs.{self._out(path)}")
        elif path in self._written:
            self._replace(read, call, f"{self._context}.outs.{self._written[path]}")
        else:
            self._take_read(read, call, path, constants)

    def _take_read(
        self, read: ReadCell, call: FileCall, path: str, constants: Mapping[str, _Constant]
    ) -> None:
        file = PurePosixPath(path).name
        found = [source for source, name in self._artefacts.items() if name == file]
        if len(found) == 1:
            same = [name for name, source in self._ins.items() if source == found[0]]
            name = same[0] if same else _unique(file, self._ins)
            self._ins[name] = found[0]
            self._replace(read, call, f"{self._context}.ins.{name}")
            return
        if found:
            what = f"'{file}' is published by {' and '.join(found)}: choose one and declare it"
            self._note(read.index, call.node.lineno, what)
        node = call.node
        if isinstance(node, ast.Name) and node.id in constants:
            self._moved[node.id] = self._relocate(path)
            return
        if path not in self._paths:
            taken = {*self._stored, *self._used, *self._paths.values()}
            self._paths[path] = _unique(f"{PurePosixPath(path).stem}_path", taken)
        name = self._paths[path]
        maker = self._names.name_of("pathlib.Path")
        maker = maker or f"{self._names.name_of('pathlib') or 'pathlib'}.Path"
        self._replace(read, call, f"{maker}({name})" if call.of_path else name)

    def _out(self, path: str) -> str:
        if path not in self._written:
            file = re.sub(r"[^\w.+-]", "_", PurePosixPath(path).name).lstrip(".+-") or "out"
            taken = {name.casefold() for name in (*self._outs.values(), *RESERVED_FILES)}
            stem, suffix = PurePosixPath(file).stem, PurePosixPath(file).suffix
            number = 2
            while file.casefold() in taken:
                file, number = f"{stem}_{number}{suffix}", number + 1
            self._written[path] = _unique(file, self._outs)
            self._outs[self._written[path]] = file
        return self._written[path]

    def _replace(self, read: ReadCell, call: FileCall, text: str) -> None:
        if call.function.startswith("cv2."):  # it takes no paths but text
            text = f"str({text})"
        read.edits.append((*read.bounds(call.node), text))
        for node in ast.walk(call.node):
            if isinstance(node, ast.Name):
                self._replaced[node.id] += 1

    # --- the notebook

    def _assembled(self, parameters: str, names: list[str]) -> Proposal:
        edited = {read.index: read.edited() for read in self._reads if read.edits}
        cells: list[ScriptCell] = []
        origins: list[int | None] = []
        for index, cell in enumerate(self._cells):
            source = edited.get(index, cell.source)
            dropped = _INJECTED in cell.tags or (index in edited and not source)
            if not dropped:
                tags = tuple(tag for tag in cell.tags if tag != PARAMETERS)
                cells.append(replace(cell, source=source, tags=tags))
                origins.append(index)
        top = [
            ScriptCell("code", declaration_source(self._declaration()), (OP_PARAMETERS,)),
            *([ScriptCell("code", parameters, (PARAMETERS,))] if parameters else []),
            ScriptCell(
                "code",
                f"from dsml import get_context\n\n{self._context} = get_context(op_parameters)",
            ),
        ]
        at = 1 if cells and cells[0].kind == "markdown" else 0
        cells[at:at], origins[at:at] = top, [None] * len(top)
        return Proposal(cells, origins, names, self._ins, self._outs, self._notes)

    def _declaration(self) -> dict[str, object]:
        markdown = (cell.source for cell in self._cells if cell.kind == "markdown")
        headings = (re.match(r"#+ +(.+)", source.lstrip()) for source in markdown)
        heading = next((match[1].strip() for match in headings if match), "")
        description = heading[:_LONGEST] or self._name.replace("_", " ").capitalize()
        return {"description": description, "ins": dict(self._ins), "outs": dict(self._outs)}


def _unique(file: str, taken: Mapping[str, str] | set[str]) -> str:
    """An identifier made of a file's name that is not taken yet."""
    path = PurePosixPath(file)
    stem = to_identifier(path.stem)
    name = stem if stem not in taken else to_identifier(path.name)
    number = 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    return name
