"""Reading what a user has declared, in YAML or in a literal: values in, findings reported.

Nothing here raises: what is wrong is reported with the keys that lead to it, and a default stands
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


class Record:
    """A mapping of what is declared, to which ``keys`` lead: reads the values under its names."""

    def __init__(self, report: Report, keys: Keys, value: Mapping[str, Any]) -> None:
        self._report = report
        self.keys = keys
        self.value = value

    @property
    def name(self) -> str:
        """The name under which it stands."""
        return self.keys[-1]

    def report(self, keys: Keys, what: str, fix: str, name: str) -> None:
        """Report what stands below it, or itself where there are no ``keys``."""
        self._report((*self.keys, *keys), what, fix, name)

    def known(self, names: Iterable[str]) -> None:
        """Report every name that is not among the known ``names``."""
        for name in self.value:
            if name not in names:
                self.report((str(name),), "no such key", suggest(str(name), names), "unknown-key")

    def record(
        self, name: str, what: str = "mapping", fix: str = "write it as {key: value}"
    ) -> Record:
        """The mapping under a name; nothing stands for an empty one."""
        value = self.value.get(name)
        if value is not None and not isinstance(value, dict):
            self.report((name,), f"{value!r} is no {what}", fix, "wrong-type")
        items = value.items() if isinstance(value, dict) else ()
        return Record(self._report, (*self.keys, name), {str(key): item for key, item in items})

    def text(self, name: str, default: str = "", fix: str = "put it in quotes") -> str:
        """The text under a name."""
        text = self.value.get(name, default)
        if not isinstance(text, str):
            self.report((name,), f"{text!r} is no text", fix, "wrong-type")
        elif "\0" in text:
            self.report((name,), r"holds the sign \0, which no path can", "take it out", "no-text")
        else:
            return text
        return default

    def texts(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The list of texts under a name; a single one may stand by itself."""
        texts = self.value.get(name, default)
        if isinstance(texts, str):
            return (texts,)
        if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
            return tuple(texts)
        what = f"{texts!r} is no list of names"
        self.report((name,), what, f"write {name}: [a, b]", "wrong-type")
        return default

    def one_of(self, name: str, known: tuple[str, ...]) -> str:
        """One of the ``known`` words; the first is the default."""
        text = self.text(name, known[0])
        if text in known:
            return text
        what = f"there is no {name} '{text}'"
        self.report((name,), what, suggest(text, known), f"unknown-{name}")
        return known[0]

    def number(
        self, name: str, default: Default, *, what: str, positive: bool = False
    ) -> float | Default:
        """A number that is not negative; ``what`` says of what, for the message."""
        number = self.value.get(name)
        if number is None:
            return default
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if is_number and (number > 0 or (number == 0 and not positive)):
            return float(number)
        fix = f"write a number {'above' if positive else 'from'} 0"
        self.report((name,), f"{number!r} is no {what}", fix, "wrong-type")
        return default

    def whole(self, name: str, default: Default, *, what: str, least: int = 0) -> int | Default:
        """A whole number that is at least ``least``; ``what`` says of what, for the message."""
        number = self.value.get(name, default)
        if number is default or (type(number) is int and number >= least):
            return number
        self.report((name,), f"{number!r} is no {what}", f"write {least} or more", "wrong-type")
        return default

    def flag(self, name: str, default: Default) -> bool | Default:
        """True or False."""
        flag = self.value.get(name, default)
        if flag is default or isinstance(flag, bool):
            return flag
        what = f"{flag!r} is neither true nor false"
        self.report((name,), what, "write true or false", "wrong-type")
        return default
