"""What a step declares of itself: one reading, wherever it is declared.

``op_parameters`` of a notebook or of a Python step hold it as a literal, the catalog holds it as
YAML where a pipeline wires a step of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dsml.contract.cells import Json
from dsml.contract.checks import Check, read_checks
from dsml.contract.declared import Keys, Reader, Report
from dsml.contract.fanout import read_map
from dsml.contract.names import is_artefact_path, is_identifier, to_identifier
from dsml.contract.needs import Needs, read_needs
from dsml.contract.parameters import Parameter
from dsml.contract.policies import Retries, read_retries, read_timeout
from dsml.contract.problem import suggest

# Names that the store itself writes beside the outs of a step.
RESERVED_FILES = ("manifest.json", "attempts", "instances", "plan.json")

_FILE_NAME = re.compile(r"[\w][\w.+-]*")
_OUT_KEYS = ("file", "optional")


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a step reads and writes, and how it is to be run.

    ``ins`` maps a name in the step to the catalog path of an artefact, ``outs`` a name to a
    file name, ``after`` names steps that have to be over before. Outs in ``optional`` need not be
    written. ``map`` holds the values of the parameters for which it is run once each, or the
    artefact that lists them. ``retries`` and ``timeout`` (seconds) are None where the catalog's
    defaults hold. ``checks`` maps outs to what they have to hold. ``pool`` is Dagster's limit for
    something scarce, ``needs`` what it takes of a machine. ``report`` says that the executed
    notebook is a report for readers.
    """

    description: str = ""
    ins: Mapping[str, str] = field(default_factory=dict)
    outs: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    map: Mapping[str, tuple[Json, ...] | str] = field(default_factory=dict)
    retries: Retries | None = None
    timeout: float | None = None
    cache: bool | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    pool: str = ""
    needs: Needs = field(default_factory=Needs)
    tags: Mapping[str, str] = field(default_factory=dict)
    report: bool = False


def parts_of(interface: Interface) -> dict[str, Any]:
    """The values of all fields, by name."""
    return {item.name: getattr(interface, item.name) for item in fields(Interface)}


def read_interface(report: Report, declared: Mapping[str, Json]) -> Interface:
    """Read what is declared; keys that are none of an interface's are passed over."""
    reader = _Reader(report)
    read = Reader(report)
    ins = reader.names("ins", declared.get("ins", {}))
    outs, optional = reader.outs(declared.get("outs", {}))
    reader.check_ins(ins)
    reader.check_outs(outs)
    return Interface(
        description=reader.text("description", declared.get("description", "")),
        ins=ins,
        outs=outs,
        after=reader.steps("after", declared.get("after", [])),
        optional=optional,
        map=read_map(read, declared),
        retries=read_retries(read, (), declared),
        timeout=read_timeout(read, (), declared),
        cache=read.flag((), declared, "cache"),
        checks=read_checks(read, declared, outs),
        pool=read.text((), declared, "pool"),
        needs=read_needs(read, declared),
        tags=reader.names("tags", declared.get("tags", {}), identifiers=False),
        report=bool(read.flag((), declared, "report", default=False)),
    )


def check_map(
    report: Report,
    mapped: Mapping[str, tuple[Json, ...] | str],
    parameters: Mapping[str, Parameter],
    otherwise: str = "declare it in a cell tagged 'parameters'",
) -> None:
    """Whether the step has the parameters that it is mapped over, and they take the values.

    ``otherwise`` says how to declare a parameter.
    """
    for name, items in mapped.items():
        if name not in parameters:
            fix = suggest(name, parameters, "" if parameters else otherwise)
            report(("map", name), f"there is no parameter '{name}'", fix, "unknown-parameter")
            continue
        kind = parameters[name].type
        for i, item in enumerate(items if isinstance(items, tuple) else ()):
            if not kind.accepts(item):
                what, fix = kind.refusal(item)
                fix = fix if kind.is_secret else f"give values of type {kind}"
                report(("map", name, str(i)), what, fix, "wrong-type")


class _Reader:
    """Checks the values of one declaration and says where each finding is."""

    def __init__(self, report: Report) -> None:
        self.problem = report

    def text(self, key: str, value: Json) -> str:
        if isinstance(value, str):
            return value
        self.problem((key,), f"{value!r} is no text", f'write "{key}": "..."', "wrong-type")
        return ""

    def names(self, key: str, value: Json, *, identifiers: bool = True) -> dict[str, str]:
        """A mapping of names to text, such as ``ins``; entries that are none are left out."""
        if not isinstance(value, dict):
            fix = f'write "{key}": {{"name": "..."}}'
            self.problem((key,), f"{value!r} is no dict of names", fix, "wrong-type")
            return {}
        good: dict[str, str] = {}
        for name, text in value.items():
            if identifiers and not is_identifier(name):
                fix = f"name it '{to_identifier(name)}'"
                self.problem((key, name), "the name is no identifier", fix, "no-identifier")
            elif not isinstance(text, str):
                self.problem((key, name), f"{text!r} is no text", "write it as text", "wrong-type")
            else:
                good[name] = text
        return good

    def outs(self, value: Json) -> tuple[dict[str, str], frozenset[str]]:
        """The outs: name → file, and those that are optional."""
        optional: set[str] = set()
        plain: Json = value
        if isinstance(value, dict):
            plain = {}
            for name, declared in value.items():
                plain[name] = declared
                if isinstance(declared, dict):
                    plain[name] = self._out(("outs", name), declared, optional)
        outs = self.names("outs", plain)
        return outs, frozenset(optional & outs.keys())

    def _out(self, keys: Keys, declared: dict[str, Json], optional: set[str]) -> Json:
        """The file of an out that is declared as a dict."""
        reader = Reader(self.problem)
        reader.known(keys, declared, _OUT_KEYS)
        if reader.flag(keys, declared, "optional", default=False):
            optional.add(keys[-1])
        return declared.get("file")

    def steps(self, key: str, value: Json) -> tuple[str, ...]:
        """A list of catalog paths of steps."""
        if not isinstance(value, list):
            fix = f'write "{key}": ["stage.notebook"]'
            self.problem((key,), f"{value!r} is no list of steps", fix, "wrong-type")
            return ()
        good: list[str] = []
        for i, name in enumerate(value):
            if isinstance(name, str) and name.count(".") == 1:
                good.append(name)
                continue
            fix = "write it as 'stage.notebook'"
            self.problem((key, str(i)), f"{name!r} is no catalog path of a step", fix, "no-path")
        return tuple(good)

    def check_ins(self, ins: dict[str, str]) -> None:
        for name, source in list(ins.items()):
            if not is_artefact_path(source):
                what = f"'{source}' is no catalog path of an artefact"
                fix = "write it as 'stage.notebook.artefact'"
                self.problem(("ins", name), what, fix, "no-path")
                del ins[name]

    def check_outs(self, outs: dict[str, str]) -> None:
        seen: dict[str, str] = {}
        for name, file in list(outs.items()):
            if not _FILE_NAME.fullmatch(file) or file.casefold() in RESERVED_FILES:
                reserved = file.casefold() in RESERVED_FILES
                what = f"'{file}' is " + (
                    "a name of the store's own" if reserved else "no file name"
                )
                fix = "give a plain file name with a suffix, such as 'model.joblib'"
                self.problem(("outs", name), what, fix, "no-file-name")
                del outs[name]
            elif file.casefold() in seen:
                what = f"'{file}' is also the file of outs.{seen[file.casefold()]}"
                self.problem(("outs", name), what, "give each out a file of its own", "same-file")
            else:
                seen[file.casefold()] = name
