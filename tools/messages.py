"""The messages that the runtime can give, read from its source without running it.

Each finding has a kind, such as ``unknown-path``, and is made where it is found, from what is wrong
and how to mend it. What is known only when it happens stands as ``…``.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, product
from pathlib import Path
from typing import get_args

from catalog_schema import RUNTIME  # noqa: F401 - it makes the runtime importable

from dsml.contract.problem import Severity

UNKNOWN = "…"
SEVERAL = "—"  # the kind of what is told for several ones

_FINDING = ("what", "fix", "kind")
_KIND = re.compile(r"[a-z]+(-[a-z]+)*")
_MOST = 8  # texts that one expression may stand for
_SEVERITIES = get_args(Severity)
_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Parents = Mapping[ast.AST, ast.AST]


def messages(package: Path) -> dict[str, list[tuple[str, str]]]:
    """Kind → what is wrong and how to mend it, for each place of ``package`` that tells it."""
    found: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for file in sorted(package.rglob("*.py")):
        for kind, what, fix in _Source(file.read_text(encoding="utf-8")).messages():
            found[kind][what, fix] = None
    return {kind: sorted(found[kind]) for kind in sorted(found)}


class _Source:
    def __init__(self, text: str) -> None:
        self._tree = ast.parse(text)
        self._parents: _Parents = {
            child: node for node in ast.walk(self._tree) for child in ast.iter_child_nodes(node)
        }

    def messages(self) -> Iterator[tuple[str, str, str]]:
        for node in ast.walk(self._tree):
            parts = [self._texts(part, part) for part in _parts(node)]
            for whats, fixes, kinds in zip(parts, parts[1:], parts[2:], strict=False):
                kind = kinds[0]
                if _KIND.fullmatch(kind) and kind not in _SEVERITIES:
                    yield from ((kind, *said) for said in _pairs(whats, fixes))
                    break
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                returned = [self._texts(part, part) for part in node.value.elts]
                if len(returned) == len(_FINDING) - 1:  # who calls it knows the kind
                    yield from ((SEVERAL, *said) for said in _pairs(*returned))

    def _texts(self, node: ast.expr, use: ast.expr) -> list[str]:
        """The texts that an expression may stand for at ``use``."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=values):
                return _joined([self._texts(value, use) for value in values])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined([self._texts(left, use), self._texts(right, use)])
            case ast.IfExp(body=body, orelse=other):
                return [*self._texts(body, use), *self._texts(other, use)]
            case ast.Name(id=name):
                return self._assigned(name, use)
            case ast.Call(func=ast.Name(id="suggest"), args=[_, _, *otherwise]):
                return [
                    f"did you mean '{UNKNOWN}'?",
                    *chain(*(self._texts(o, use) for o in otherwise)),
                ]
        return [UNKNOWN]

    def _assigned(self, name: str, use: ast.expr) -> list[str]:
        """What a name stands for: what was assigned last, before its use or in the module."""
        for scope in (self._function(use), self._tree):
            texts: list[str] = []
            for node in sorted(_assignments(scope), key=lambda node: node.lineno):
                before = node.lineno < use.lineno or scope is self._tree
                for value in _values(node, name) if before else ():
                    more = self._texts(value, value)
                    if isinstance(node, ast.AugAssign):
                        more = _joined([texts, more])
                    sure = not isinstance(self._parents[node], ast.If)
                    texts = more if sure and isinstance(node, ast.Assign) else [*texts, *more]
            if texts:
                return texts
        return [UNKNOWN]

    def _function(self, node: ast.AST) -> ast.AST:
        while node in self._parents and not isinstance(node, _Function):
            node = self._parents[node]
        return node


def _assignments(scope: ast.AST) -> Iterator[ast.Assign | ast.AugAssign]:
    inside = scope.body if isinstance(scope, ast.Module) else ast.walk(scope)
    return (node for node in inside if isinstance(node, ast.Assign | ast.AugAssign))


def _values(node: ast.Assign | ast.AugAssign, name: str) -> Iterator[ast.expr]:
    """What an assignment gives to a name; ``a, b = 1, 2`` gives each its own."""
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=False))
        yield from (value for part, value in pairs if ast.unparse(part) == name)


def _parts(node: ast.AST) -> Sequence[ast.expr]:
    """The arguments of what may make a finding, or of a tuple that may become one."""
    if isinstance(node, ast.Call):
        return node.args
    return node.elts if isinstance(node, ast.Tuple) and len(node.elts) == len(_FINDING) else ()


def _joined(parts: Sequence[Sequence[str]]) -> list[str]:
    """All texts that can be made of a choice for each part."""
    return ["".join(choice) for choice in islice(product(*parts), _MOST)]


def _pairs(whats: Sequence[str], fixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with how to mend it, where both are sentences."""
    for what, fix in product(whats, fixes):
        said = re.search(r"\w", what) and " " in what and (" " in fix or fix == UNKNOWN)
        if said:
            yield _tidy(what), _tidy(fix)


def _tidy(text: str) -> str:
    return re.sub(rf"{UNKNOWN}+", UNKNOWN, text)
