"""Python steps: a file with a function ``step_fn``, read with ``ast`` and never imported.

The function's positional parameters are ins, its keyword-only parameters with a default are the
step's parameters, those without one are resources. A parameter ``context`` is the step's context.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dsml.contract.cells import OP_PARAMETERS, Cell
from dsml.contract.declared import Report
from dsml.contract.fingerprint import Code
from dsml.contract.interface import Interface, check_map, parts_of, read_interface
from dsml.contract.literals import Assignment, Literal, NotLiteral, read_literal
from dsml.contract.modules import Modules
from dsml.contract.parameters import Parameter, read_parameter
from dsml.contract.problem import Problem, Where, suggest
from dsml.contract.source import comments_of, parse, text_of
from dsml.contract.spec import (
    CONFIG_SCHEMA,
    Function,
    StepSpec,
    check_keys,
    place_in,
    read_declaration,
    report_to,
    step_name,
)

STEP_FN = "step_fn"
CONTEXT = "context"
_DECLARES = re.compile(r"^op_parameters\b[^=\n]*=(?!=)", re.MULTILINE)
PARAMETER_FIX = f"make it a keyword-only parameter: def {STEP_FN}(..., *, n: int = 1)"


class Script(Cell):
    """The source of a whole file, which has no cells."""

    def where(self, line: int | None = None) -> Where:
        """The place of a line of the file."""
        return Where(self.path, line=line)


@dataclass(frozen=True)
class Signature:
    """What ``step_fn`` takes; names map to the line on which they stand.

    ``needed`` are the positional parameters without a default, ``others`` those with one.
    """

    line: int
    needed: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)
    takes_context: bool = False


@dataclass(frozen=True)
class PythonFile:
    """A Python file that can be read.

    ``signature`` is None where there is no ``step_fn``, or none that can be a step; ``defines``
    tells which. ``declaration`` is its ``op_parameters``, where it ``declares`` some.
    """

    script: Script
    defines: bool
    declares: bool
    signature: Signature | None = None
    declaration: Literal | None = None
    modules: Modules | None = None


class PythonFiles:
    """The Python files of a project, each read once, so that its mistakes are told once."""

    def __init__(self, modules: Modules, problems: list[Problem]) -> None:
        self.root = modules.root
        self._modules = modules
        self._problems = problems
        self._read: dict[str, PythonFile | None] = {}

    def declares(self, path: str) -> bool:
        """Whether a file declares a step of its own, or tries to; most need not be parsed."""
        if not _DECLARES.search(text_of(self.root / path)):
            return False
        found = self.read(path)
        return found is None or found.declares

    def read(self, path: str) -> PythonFile | None:
        """A file that is there; None where it is no Python, which is told."""
        if path not in self._read:
            file = self.root / path
            self._read[path] = read_python(file, path, self._problems, self._modules)
        return self._read[path]


def read_python(
    file: Path, path: str, problems: list[Problem], modules: Modules | None = None
) -> PythonFile | None:
    """Read a Python file; what is wrong with it is appended to ``problems``.

    ``modules`` are those of its project, which belong to its code where it imports them.
    """

    def broken(what: str, fix: str, line: int | None = None) -> None:
        problems.append(Problem(Where(path, line=line), what, fix, "no-python"))

    try:
        source = file.read_text(encoding="utf-8-sig")
        return read_script(Script(path, 1, "code", source), problems, modules)
    except UnicodeDecodeError:
        broken("is no UTF-8 text", "save it as UTF-8")
    except OSError as error:
        broken(f"cannot be read: {error.strerror or error}", "let it be read")
    except SyntaxError as error:
        fix = "mend the line: the file is read without being run"
        broken(f"is no Python: {error.msg}", fix, error.lineno)
    except RecursionError:
        broken("is nested too deeply to be read", "write a plain literal")
    return None


def read_script(
    script: Script, problems: list[Problem], modules: Modules | None = None
) -> PythonFile:
    """Read the source of a Python file.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = parse(script.source, magics=False)
    function = next((node for node in reversed(tree.body) if STEP_FN in _bound(node)), None)
    declaring = next((node for node in tree.body if OP_PARAMETERS in _bound(node)), None)
    if declaring is not None and function is None:
        what = f"op_parameters are declared, and there is no function {STEP_FN}"
        fix = (
            f'add def {STEP_FN}(...); in a text notebook, tag the cell: # %% tags=["op_parameters"]'
        )
        problems.append(Problem(script.where(declaring.lineno), what, fix, "no-step-fn"))
    return PythonFile(
        script,
        defines=function is not None,
        declares=declaring is not None,
        signature=None if function is None else _signature(script, function, problems),
        declaration=None if declaring is None else read_declaration(script, problems),
        modules=modules,
    )


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a file binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


# --- the function


def _signature(script: Script, node: ast.stmt, problems: list[Problem]) -> Signature | None:
    """What the function takes; None where it can be no step, which is told."""
    found = list(_refusals(node))
    for line, what, fix in found:
        problems.append(Problem(script.where(line), f"{STEP_FN}{what}", fix, "step-fn"))
    if found or not isinstance(node, ast.FunctionDef):
        return None
    positional = node.args.args
    first_default = len(positional) - len(node.args.defaults)
    given = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    needed, others = positional[:first_default], positional[first_default:]
    everything = {arg.arg for arg in (*positional, *node.args.kwonlyargs)}
    return Signature(
        node.lineno,
        _lines(needed),
        _lines(others),
        dict(_parameters(script, node, problems)),
        _lines([arg for arg, default in given if default is None]),
        CONTEXT in everything,
    )


def _lines(arguments: list[ast.arg]) -> dict[str, int]:
    return {arg.arg: arg.lineno for arg in arguments if arg.arg != CONTEXT}


def _refusals(node: ast.stmt) -> Iterator[tuple[int, str, str]]:
    """Why a function can be no step: the line, what is wrong, how to mend it."""
    if isinstance(node, ast.AsyncFunctionDef):
        fix = f"write def {STEP_FN}(...), and asyncio.run(...) in it"
        yield node.lineno, " is asynchronous", fix
        return
    if not isinstance(node, ast.FunctionDef):
        yield node.lineno, " is no function of this file", f"write def {STEP_FN}(...) here"
        return
    if _is_generator(node):
        fix = "return the outs: one value, a tuple in their order, or a dict by name"
        yield node.lineno, " is a generator", fix
    for star, arg in (("*", node.args.vararg), ("**", node.args.kwarg)):
        if arg is not None:
            what = f": it is unclear what '{star}{arg.arg}' is to be given"
            yield arg.lineno, what, "name each in and each parameter"
    for arg in node.args.posonlyargs:
        what = f": '{arg.arg}' is positional-only, and ins are given by name"
        yield arg.lineno, what, "take out the /"


def _is_generator(node: ast.AST) -> bool:
    """Whether the function itself yields, and not one inside of it."""
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(child, inner) and _is_generator(child):
            return True
    return False


def _parameters(
    script: Script, node: ast.FunctionDef, problems: list[Problem]
) -> Iterator[tuple[str, Parameter]]:
    """The keyword-only parameters with a default; a comment behind one is its description."""
    comments = comments_of(script.source)
    given = [
        (arg, default)
        for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if default is not None and arg.arg != CONTEXT
    ]
    ends = Counter(arg.end_lineno for arg in node.args.args)
    ends.update(default.end_lineno for _, default in given)
    for arg, default in given:
        line = default.end_lineno or arg.lineno
        comment, alone = comments.get(line, ("", True))
        described = not alone and line != node.lineno and ends[line] == 1
        try:
            literal = read_literal(default)
        except NotLiteral as error:
            fix = "give a literal default, and compute from it in the function"
            for part in (error, *error.others):
                where, what = script.where(part.line), f"{arg.arg}: {part.what}"
                problems.append(Problem(where, what, part.fix or fix, "no-literal"))
            continue
        item = Assignment(arg.arg, arg.annotation, literal, comment if described else "")
        parameter = read_parameter(item, script.where(arg.lineno), problems)
        if parameter is not None:
            yield arg.arg, parameter


# --- the step


def declared_step(found: PythonFile, problems: list[Problem]) -> StepSpec | None:
    """The step that a file with ``op_parameters`` of its own is; None where it can't be told."""
    literal = found.declaration
    if literal is None:
        return None
    declared = literal.value if isinstance(literal.value, dict) else {}
    path, place = found.script.path, place_in(found.script, literal)
    report = report_to(problems, place)
    check_keys(report, declared)
    if CONFIG_SCHEMA in literal.apart:
        where = found.script.where(literal.apart[CONFIG_SCHEMA].lineno)
        what = f"{CONFIG_SCHEMA}: the parameters of a Python step are those of {STEP_FN}"
        fix = f"make them keyword-only parameters: def {STEP_FN}(..., *, n: int = 1)"
        problems.append(Problem(where, what, fix, "config-schema"))
    spec = StepSpec(
        *step_name(path),
        path,
        op_parameters=declared,
        declared=place,
        **parts_of(read_interface(report, declared)),
    )
    return with_function(spec, found, report) if literal.whole else None


def with_function(spec: StepSpec, found: PythonFile, report: Report) -> StepSpec | None:
    """A step with what the file that it runs says; None where no more than its name is known."""
    signature = found.signature
    if signature is None:
        return None
    _check_signature(report, found.script, signature, spec)
    if spec.report:
        what = "a Python step has no texts and figures that readers could be shown"
        report(("report",), what, "make it a notebook", "no-report")
    check_map(report, spec.map, signature.parameters, PARAMETER_FIX)
    return replace(
        spec,
        parameters=signature.parameters,
        body=Code.of_file(spec.path, found.script.source, found.modules),
        function=Function(signature.line, signature.resources),
    )


def _check_signature(
    report: Report, script: Script, signature: Signature, interface: Interface
) -> None:
    """Whether what the function takes and the ins of the step are the same.

    An in that is no parameter is fine where the function takes the context: it may be read there.
    """
    for name, line in signature.needed.items():
        if name not in interface.ins:
            what = f"{STEP_FN} takes '{name}' ({script.where(line)}), and there is no such in"
            report(("ins",), what, f"add {name}, or give the parameter a default", "no-in")
    takes = {*signature.needed, *signature.others}
    for name in interface.ins:
        if name not in takes and not (signature.takes_context and name != CONTEXT):
            place = script.where(signature.line)
            what = f"{STEP_FN} ({place}) has no positional parameter '{name}'"
            report(("ins", name), what, _how_to_take(name, signature, interface), "no-in")


def _how_to_take(name: str, signature: Signature, interface: Interface) -> str:
    if name == CONTEXT:
        return f"name the in otherwise: '{CONTEXT}' is given the context"
    if name in signature.parameters or name in signature.resources:
        return f"put it before the *: def {STEP_FN}({name}, *, ...)"
    free = {*signature.needed, *signature.others} - interface.ins.keys()
    return suggest(name, free, f"write it: def {STEP_FN}({name}, ...)")
