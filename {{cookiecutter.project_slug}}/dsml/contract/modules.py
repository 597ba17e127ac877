"""The modules of a project that code imports, found by reading the code."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dsml.contract.normal_form import normal_form
from dsml.contract.source import last_name, parse

# The template's own; an update of it makes no step another one.
_RUNTIME = "dsml"
_INIT = "__init__.py"
_SUFFIX = ".py"
_ALL = "*"
_WORD = re.compile(r"\w+")
_IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class _Import:
    """An import statement: ``from <module> import <names>``, ``level`` dots before the module."""

    module: str
    names: tuple[str, ...] = ()
    level: int = 0
    package: str | None = None  # for the dots, where it is not that of the importing module

    def target(self, package: str) -> str | None:
        """The full name of the module; None where it lies above the topmost package."""
        if not self.level:
            return self.module
        above = (self.package or package).split(".")
        kept = len(above) - self.level + 1
        if not above[0] or kept < 1:
            return None
        return ".".join([*above[:kept], *filter(None, [self.module])])


class Source:
    """A file of Python code; what is wanted of it is read once."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @cached_property
    def text(self) -> str:
        """What stands in it; nothing where it can't be read, since it can't be imported then."""
        try:
            # to read a pipe is to wait for ever
            content = self.file.read_bytes() if self.file.is_file() else b""
        except OSError:
            content = b""
        return content.decode("utf-8-sig", "surrogateescape")

    @cached_property
    def normal_form(self) -> str:
        """What doesn't change with comments and blank lines."""
        return normal_form(self.text)

    @cached_property
    def imports(self) -> tuple[_Import, ...]:
        """Its imports, wherever in it they stand."""
        return tuple(_imports(self.text))


@dataclass(frozen=True)
class Module:
    """A module of the project: its dotted name and its source."""

    name: str
    source: Source

    @property
    def package(self) -> str:
        """The package that its relative imports begin at."""
        is_package = self.source.file.name == _INIT
        return self.name if is_package else self.name.rpartition(".")[0]


class Modules:
    """The modules that lie in a project. What has been read once is not read again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, frozenset[str]] = {}
        self._sources: dict[str, Source] = {}

    def imported_by(self, sources: Iterable[str], folder: Path) -> list[Module]:
        """The modules that code running in ``folder`` imports, and those that these import.

        As in a kernel, a module in that folder comes before one of the same name in the project's.
        Packages count where a module of theirs does; the runtime does not.
        """
        path = (folder, self.root)
        found: dict[Source, Module] = {}
        waiting = [
            (each, "")
            for source in sources
            if self._is_mentioned(source, path)
            for each in _imports(source)
        ]
        while waiting:
            statement, package = waiting.pop()
            for module in self._modules(statement, package, path):
                if module.source not in found:
                    found[module.source] = module
                    waiting += ((each, module.package) for each in module.source.imports)
        return sorted(found.values(), key=lambda module: module.name)

    def _is_mentioned(self, source: str, path: Sequence[Path]) -> bool:
        """Whether a source may import a module of the project: of most, nothing is parsed."""
        if "import" not in source:
            return False
        words = set(_WORD.findall(source)) - {_RUNTIME}
        words |= {word + _SUFFIX for word in words}
        return not all(words.isdisjoint(self._names(place)) for place in path)

    def _modules(self, statement: _Import, package: str, path: Sequence[Path]) -> Iterator[Module]:
        """The modules that a statement loads: its target with the packages above, and its names."""
        target = statement.target(package)
        if target is None:
            return
        above: list[str] = []
        for part in target.split("."):
            file, path = self._find(part, path)
            above.append(part)
            if above == [_RUNTIME] or not (file or path):
                return
            if file is not None:
                yield Module(".".join(above), self._source(file))
        for name in self._submodules(path) if _ALL in statement.names else statement.names:
            file, _ = self._find(name, path)
            if file is not None:
                yield Module(f"{target}.{name}", self._source(file))

    def _source(self, file: Path) -> Source:
        real = os.path.realpath(file)  # links can lead round in a circle
        return self._sources.setdefault(real, Source(file))

    def _submodules(self, path: Sequence[Path]) -> list[str]:
        """The names in a package, any of which its own list of what ``*`` means may hold."""
        names = {name.removesuffix(_SUFFIX) for place in path for name in self._names(place)}
        return sorted(names - {"__init__"})

    def _find(self, name: str, path: Sequence[Path]) -> tuple[Path | None, Sequence[Path]]:
        """The file of a module, and the folders in which its submodules lie."""
        portions = []
        for place in path:
            names = self._names(place)
            inside = self._names(place / name) if name in names else frozenset()
            if _INIT in inside:
                return place / name / _INIT, (place / name,)
            if name + _SUFFIX in names:
                return place / (name + _SUFFIX), ()
            if inside:
                portions.append(place / name)
        return None, portions

    def _names(self, folder: Path) -> Collection[str]:
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(file.name for file in folder.iterdir())
            except OSError:  # it is a file, or may not be read
                self._listed[folder] = frozenset()
        return self._listed[folder]


def _imports(source: str) -> Iterator[_Import]:
    if "import" not in source:
        return
    try:
        trees = [parse(source)]
    except SyntaxError:  # what a notebook runs need not be Python; its imports are
        trees = list(_parsed_lines(source))
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (_Import(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names = tuple(alias.name for alias in node.names)
                yield _Import(node.module or "", names, node.level)
            elif isinstance(node, ast.Call):
                yield from _called(node)


def _parsed_lines(source: str) -> Iterator[ast.Module]:
    for line in source.split("\n"):
        if "import" in line:
            try:
                yield parse(line.strip())
            except SyntaxError:
                continue


def _called(node: ast.Call) -> Iterator[_Import]:
    """``importlib.import_module("name")`` and the like, where the name is written there."""
    if last_name(node.func) not in _IMPORTERS:
        return
    given = dict(zip(("name", "package"), node.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    target, package = (_literal(given.get(key)) for key in ("name", "package"))
    if target is not None:
        module = target.lstrip(".")
        yield _Import(module, (), len(target) - len(module), package)


def _literal(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
