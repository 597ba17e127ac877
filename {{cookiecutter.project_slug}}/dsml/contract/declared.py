"""Reading what a user has declared, in YAML or in a literal: values in, findings reported.

A reader never raises: what is wrong is reported with the keys that lead to it, and a default stands
in for it, so that all mistakes are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

from dsml.contract.problem import suggest

Keys = tuple[str, ...]
# Takes a finding: the keys that lead to it, what is wrong, how to mend it, and its kind.
Report = Callable[[Keys, str, str, str], None]
Default = TypeVar("Default")


def key(
    about: str,
    *,
    choices: tuple[str, ...] = (),
    schema: Mapping[str, Any] | None = None,
    **default: Any,
) -> Any:
    """A field that is a key of what is declared; other fields of the classes are not.

    ``schema`` is its JSON Schema where that cannot be told from the field's type.
    """
    metadata = {"about": about, "choices": choices, "schema": schema}
    return field(metadata=metadata, **default)


def keys_of(kind: type[Any]) -> dict[str, str]:
    """The keys of a mapping that a class stands for, and what each is for."""
    return {item.name: item.metadata["about"] for item in fields(kind) if "about" in item.metadata}


def line_in(lines: Mapping[Keys, int], keys: Keys, otherwise: int) -> int:
    """The line of the innermost of ``keys`` that has one."""
    ends = range(len(keys), -1, -1)
    return next((lines[keys[:end]] for end in ends if keys[:end] in lines), otherwise)


class Reader:
    """Reads values of the types that a declaration may hold."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def known(self, keys: Keys, value: Mapping[str, Any], known: Iterable[str]) -> None:
        """Report every key that is not among the ``known``."""
        for name in value:
            if name not in known:
                path = (*keys, str(name))
                self.report(path, "no such key", suggest(str(name), known), "unknown-key")

    def mapping(
        self,
        keys: Keys,
        value: object,
        what: str = "mapping",
        fix: str = "write it as {key: value}",
    ) -> dict[str, Any]:
        """A mapping; nothing stands for an empty one."""
        if value is None:
            return {}
        if isinstance(value, dict):
            return {str(name): item for name, item in value.items()}
        self.report(keys, f"{value!r} is no {what}", fix, "wrong-type")
        return {}

    def text(
        self,
        keys: Keys,
        value: Mapping[str, Any],
        name: str,
        default: str = "",
        fix: str = "put it in quotes",
    ) -> str:
        """The text under a key."""
        text = value.get(name, default)
        if isinstance(text, str):
            return text
        self.report((*keys, name), f"{text!r} is no text", fix, "wrong-type")
        return default

    def texts(
        self, keys: Keys, value: Mapping[str, Any], name: str, default: tuple[str, ...] = ()
    ) -> tuple[str, ...]:
        """The list of texts under a key; a single one may stand by itself."""
        texts = value.get(name, default)
        if isinstance(texts, str):
            return (texts,)
        if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
            return tuple(texts)
        what = f"{texts!r} is no list of names"
        self.report((*keys, name), what, f"write {name}: [a, b]", "wrong-type")
        return default

    def one_of(
        self, keys: Keys, value: Mapping[str, Any], name: str, known: tuple[str, ...]
    ) -> str:
        """One of the ``known`` words; the first is the default."""
        text = self.text(keys, value, name, known[0])
        if text in known:
            return text
        what = f"there is no {name} '{text}'"
        self.report((*keys, name), what, suggest(text, known), f"unknown-{name}")
        return known[0]

    def number(
        self,
        keys: Keys,
        value: Mapping[str, Any],
        name: str,
        default: Default,
        *,
        what: str,
        positive: bool = False,
    ) -> float | Default:
        """A number that is not negative; ``what`` says of what, for the message."""
        number = value.get(name)
        if number is None:
            return default
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if is_number and (number > 0 or (number == 0 and not positive)):
            return float(number)
        fix = f"write a number {'above' if positive else 'from'} 0"
        self.report((*keys, name), f"{number!r} is no {what}", fix, "wrong-type")
        return default

    def whole(
        self,
        keys: Keys,
        value: Mapping[str, Any],
        name: str,
        default: Default,
        *,
        what: str,
        least: int = 0,
    ) -> int | Default:
        """A whole number that is at least ``least``; ``what`` says of what, for the message."""
        number = value.get(name, default)
        if number is not default and not (type(number) is int and number >= least):
            fix = f"write {least} or more"
            self.report((*keys, name), f"{number!r} is no {what}", fix, "wrong-type")
            return default
        return number

    def flag(
        self, keys: Keys, value: Mapping[str, Any], name: str, default: Default
    ) -> bool | Default:
        """True or False."""
        flag = value.get(name, default)
        if flag is not default and not isinstance(flag, bool):
            what = f"{flag!r} is neither true nor false"
            self.report((*keys, name), what, "write true or false", "wrong-type")
            return default
        return flag
