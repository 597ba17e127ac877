"""What a step declares of itself: one reading, wherever it is declared.

``op_parameters`` of a notebook or of a Python step hold it as a literal, the catalog holds it as
YAML where a pipeline wires a step of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dsml.contract.checks import Check, read_checks
from dsml.contract.declared import Record, Report
from dsml.contract.fanout import read_map
from dsml.contract.literals import Json
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
    record = _Interface(report, (), declared)
    ins, (outs, optional) = record.ins(), record.outs()
    return Interface(
        description=record.text("description", fix='write "description": "..."'),
        ins=ins,
        outs=outs,
        after=record.after(),
        optional=optional,
        map=read_map(record),
        retries=read_retries(record),
        timeout=read_timeout(record),
        cache=record.flag("cache", None),
        checks=read_checks(record, outs),
        pool=record.text("pool"),
        needs=read_needs(record.record("needs")),
        tags=record.names("tags", declared.get("tags", {}), identifiers=False),
        report=record.flag("report", default=False),
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


class _Interface(Record):
    """Reads the values of which an interface consists."""

    def names(self, key: str, value: Json, *, identifiers: bool = True) -> dict[str, str]:
        """A mapping of names to text, such as ``ins``; entries that are none are left out."""
        if not isinstance(value, dict):
            fix = f'write "{key}": {{"name": "..."}}'
            self.report((key,), f"{value!r} is no dict of names", fix, "wrong-type")
            return {}
        good: dict[str, str] = {}
        for name, text in value.items():
            if identifiers and not is_identifier(name):
                fix = f"name it '{to_identifier(name)}'"
                self.report((key, name), "the name is no identifier", fix, "no-identifier")
            elif not isinstance(text, str):
                self.report((key, name), f"{text!r} is no text", "write it as text", "wrong-type")
            else:
                good[name] = text
        return good

    def ins(self) -> dict[str, str]:
        """The ins: name → catalog path of an artefact."""
        good: dict[str, str] = {}
        for name, source in self.names("ins", self.value.get("ins", {})).items():
            if is_artefact_path(source):
                good[name] = source
            else:
                what = f"'{source}' is no catalog path of an artefact"
                self.report(("ins", name), what, "write it as 'stage.notebook.artefact'", "no-path")
        return good

    def outs(self) -> tuple[dict[str, str], frozenset[str]]:
        """The outs: name → file, and those that are optional."""
        value = self.value.get("outs", {})
        optional: set[str] = set()
        if isinstance(value, dict):
            record = self.record("outs")
            value = {
                name: _file(record.record(name), optional) if isinstance(out, dict) else out
                for name, out in value.items()
            }
        outs: dict[str, str] = {}
        seen: dict[str, str] = {}  # file, as any disk has it → out
        for name, file in self.names("outs", value).items():
            folded = file.casefold()
            if not _FILE_NAME.fullmatch(file) or folded in RESERVED_FILES:
                kind = "a name of the store's own" if folded in RESERVED_FILES else "no file name"
                fix = "give a plain file name with a suffix, such as 'model.joblib'"
                self.report(("outs", name), f"'{file}' is {kind}", fix, "no-file-name")
                continue
            if folded in seen:
                what = f"'{file}' is also the file of outs.{seen[folded]}"
                self.report(("outs", name), what, "give each out a file of its own", "same-file")
            seen.setdefault(folded, name)
            outs[name] = file
        return outs, frozenset(optional & outs.keys())

    def after(self) -> tuple[str, ...]:
        """The catalog paths of steps that have to be over before."""
        value = self.value.get("after", [])
        if not isinstance(value, list):
            fix = 'write "after": ["stage.notebook"]'
            self.report(("after",), f"{value!r} is no list of steps", fix, "wrong-type")
            return ()
        good: list[str] = []
        for i, name in enumerate(value):
            if isinstance(name, str) and name.count(".") == 1:
                good.append(name)
                continue
            what = f"{name!r} is no catalog path of a step"
            self.report(("after", str(i)), what, "write it as 'stage.notebook'", "no-path")
        return tuple(good)


def _file(out: Record, optional: set[str]) -> Json:
    """The file of an out that is declared as a dict."""
    out.known(_OUT_KEYS)
    if out.flag("optional", default=False):
        optional.add(out.name)
    file: Json = out.value.get("file")
    return file
