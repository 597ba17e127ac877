"""Mappings whose entries are attributes too, for ``context.ins.train``."""

from __future__ import annotations

from typing import TypeVar

from dsml.contract.problem import suggest

T = TypeVar("T")


class Names(dict[str, T]):
    """A dict with attribute access; an unknown name is answered with the nearest known one."""

    def __init__(self, what: str, values: dict[str, T]) -> None:
        super().__init__(values)
        self._what = what

    def __getattr__(self, name: str) -> T:
        if name.startswith("__"):  # a protocol being probed for, such as copy's or IPython's
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(*error.args) from None

    def __missing__(self, name: str) -> T:
        hint = suggest(name, self, f"there are: {', '.join(self) or 'none'}")
        raise KeyError(f"the step has no {self._what} '{name}'; {hint}")
