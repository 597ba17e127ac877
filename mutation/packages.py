"""The parts of the runtime that are mutated, and the tests that shall notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parent.parent
RUNTIME = TEMPLATE / "{{cookiecutter.project_slug}}" / "dsml"


@dataclass(frozen=True)
class Package:
    """A package of the runtime, its tests, and of how many mutants its score is estimated.

    Left out is a module whose tests need a server.
    """

    name: str
    tests: tuple[str, ...]
    sample: int
    left_out: tuple[str, ...] = ()

    @property
    def modules(self) -> list[str]:
        """Its modules, without their ending."""
        found = {path.stem for path in (RUNTIME / self.name).glob("*.py")}
        return sorted(found.difference(self.left_out))


_STORE = ("store", "store_parts", "storage", "gc", "retention", "roots")
PACKAGES = {
    package.name: package
    for package in (
        Package("contract", ("tests/contract",), 300),
        Package(
            "store", tuple(f"tests/runtime/test_{name}.py" for name in _STORE), 150, ("leftovers",)
        ),
    )
}
