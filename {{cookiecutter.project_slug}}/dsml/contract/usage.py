"""Which ins a notebook reads and which outs it writes, found by reading its source.

Whatever cannot be told without running the code, such as a loop over ``context.ins``, counts as
used.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dsml.contract.cells import Notebook
from dsml.contract.source import last_name, parse, without_magics
from dsml.contract.spec import StepSpec

_GET_CONTEXT = "get_context"
_BOTH = ("ins", "outs")
_ROUNDS = 5  # of looking for further names of the context
_SIDE_OF = {"load": "ins", "save": "outs"}
_SHOWN_BY = ("print", "display", "repr", "str", "type")
_DICT_METHODS = frozenset(name for name in dir(dict) if not name.startswith("_"))

_ASSIGNED = re.compile(r"\s*(\w+)\s*=\s*(?:\w+\.)?")  # what stands before the call
_PLAIN_USE = r"""\.(?:
    (?P<method>load|save)\(\s*["'](?P<called>\w+)["']
  | (?P<side>ins|outs)(?:\.(?P<attribute>\w+)|\[\s*["'](?P<item>\w+)["']\s*\])
)"""


@dataclass
class Usage:
    """The sides and names that are used; ``unclear`` names the sides of which more may be."""

    used: set[tuple[str, str]] = field(default_factory=set)
    unclear: set[str] = field(default_factory=set)

    def leaves(self, side: str, declared: Mapping[str, str]) -> list[str]:
        """The declared names that are not used for certain."""
        unused = [name for name in declared if (side, name) not in self.used]
        return [] if side in self.unclear else unused


def unused(notebook: Notebook, text: str, spec: StepSpec) -> tuple[list[str], list[str]]:
    """The ins that no code cell reads and the outs that none writes.

    ``text`` is the source of all code cells. It is searched first: of a notebook that uses all it
    declares nothing is parsed.
    """
    usage = _plain_usage(text)
    if usage.leaves("ins", spec.ins) or usage.leaves("outs", spec.outs):
        usage = _Reading(notebook).usage()
    return usage.leaves("ins", spec.ins), usage.leaves("outs", spec.outs)


def _plain_usage(text: str) -> Usage:
    """The uses that are written in the usual way and not in a comment."""
    usage = Usage()
    calls = re.finditer(rf"{_GET_CONTEXT}\(", text)
    assigned = (_ASSIGNED.fullmatch(_before(text, call.start())) for call in calls)
    for variable in {match[1] for match in assigned if match}:
        for found in re.finditer(re.escape(variable) + _PLAIN_USE, text, re.VERBOSE):
            before = _before(text, found.start())
            if "#" in before or before[-1:].isidentifier() or before.endswith("."):
                continue
            side = found["side"] or _SIDE_OF[found["method"]]
            usage.used.add((side, found["called"] or found["attribute"] or found["item"]))
    return usage


def _before(text: str, index: int) -> str:
    """What stands before ``index`` on its line."""
    return text[text.rfind("\n", 0, index) + 1 : index]


class _Reading:
    """Reads the cells that can touch the context, until no further name for it turns up.

    ``_names`` maps a variable to what it holds: the context, its ins or its outs.
    """

    def __init__(self, notebook: Notebook) -> None:
        self._sources = [cell.source for cell in notebook.code]
        self._trees: dict[str, ast.Module | None] = {}
        self._names: dict[str, str] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._usage = Usage()

    def usage(self) -> Usage:
        for _ in range(_ROUNDS):
            known = len(self._names)
            self._usage = Usage()
            for source in self._sources:
                if self._is_mentioned(source) or _GET_CONTEXT in source:
                    self._read(source)
            if len(self._names) == known > 0:
                return self._usage
        return Usage(unclear=set(_BOTH))

    def _is_mentioned(self, text: str) -> bool:
        return any(name in text for name in self._names)

    def _read(self, source: str) -> None:
        tree = self._parsed(source)
        if tree is None or any(self._is_mentioned(line) for line in _magics(source)):
            self._usage.unclear.update(_BOTH)
            return
        for node in ast.walk(tree):
            held = self._held(node)
            if held == "context":
                self._take_context(node, self._parents[node])
            elif held:
                self._take_side(held, node, self._parents[node])

    def _parsed(self, source: str) -> ast.Module | None:
        if source not in self._trees:
            try:
                tree = self._trees[source] = parse(source)
            except SyntaxError:
                self._trees[source] = None
                return None
            for node in ast.walk(tree):
                self._parents.update(dict.fromkeys(ast.iter_child_nodes(node), node))
        return self._trees[source]

    def _held(self, node: ast.AST) -> str:
        """What an expression stands for: ``context``, ``ins``, ``outs``, or nothing of these."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            return self._names.get(node.id, "")
        if isinstance(node, ast.Call) and last_name(node.func) == _GET_CONTEXT:
            return "context"
        if isinstance(node, ast.Attribute) and node.attr in _BOTH:
            return node.attr if self._held(node.value) == "context" else ""
        return ""

    def _take_context(self, node: ast.AST, parent: ast.AST) -> None:
        if not isinstance(parent, ast.Attribute):
            self._take_rest("context", node, parent)
        elif parent.attr in _SIDE_OF:
            self._take_name(_SIDE_OF[parent.attr], _first_argument(self._parents[parent], parent))
        elif parent.attr.startswith("_") or parent.attr == "setting":
            self._usage.unclear.update(_BOTH)

    def _take_side(self, side: str, node: ast.AST, parent: ast.AST) -> None:
        if isinstance(parent, ast.Attribute) and parent.attr not in _DICT_METHODS:
            self._usage.used.add((side, parent.attr))
        elif isinstance(parent, ast.Attribute):
            called = parent.attr == "get"
            name = _first_argument(self._parents[parent], parent) if called else None
            self._take_name(side, name)
        elif isinstance(parent, ast.Subscript) and parent.value is node:
            self._take_name(side, parent.slice)
        else:
            self._take_rest(side, node, parent)

    def _take_name(self, side: str, name: ast.expr | None) -> None:
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            self._usage.used.add((side, name.value))
        else:
            self._usage.unclear.add(side)

    def _take_rest(self, held: str, node: ast.AST, parent: ast.AST) -> None:
        """Another name for it, a look at it, or something that is beyond static reading."""
        targets = list(_targets(parent, node))
        if targets and all(isinstance(target, ast.Name) for target in targets):
            self._names.update((t.id, held) for t in targets if isinstance(t, ast.Name))
        elif isinstance(parent, ast.Call) and last_name(parent.func) in _SHOWN_BY:
            pass
        elif not isinstance(parent, ast.Expr | ast.FormattedValue):
            self._usage.unclear.update(_BOTH if held == "context" else (held,))


def _magics(source: str) -> Iterator[str]:
    """The lines that parsing leaves out, in which Python may stand: ``%time model = fit()``."""
    if "%" in source or "!" in source or "?" in source:
        python = without_magics(source).split("\n")
        pairs = zip(source.split("\n"), python, strict=True)
        yield from (line for line, kept in pairs if line != kept)


def _targets(statement: ast.AST, value: ast.AST) -> Iterator[ast.expr]:
    if isinstance(statement, ast.Assign) and statement.value is value:
        yield from statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is value:
        yield statement.target


def _first_argument(call: ast.AST, func: ast.AST) -> ast.expr | None:
    if not isinstance(call, ast.Call) or call.func is not func:
        return None
    named = [keyword.value for keyword in call.keywords if keyword.arg == "name"]
    return next(iter([*call.args, *named]), None)
