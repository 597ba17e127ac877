"""Write the JSON Schema of `catalog.yml`, from the classes that read it.

    python tools/catalog_schema.py

Editors that know YAML read it through the first line of a catalog: they complete keys, show what
each is for, and underline what is wrong. A test holds that the file is current.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

REPOSITORY = Path(__file__).resolve().parent.parent
RUNTIME = REPOSITORY / "{{cookiecutter.project_slug}}"
SCHEMA_FILE = RUNTIME / "dsml" / "contract" / "catalog.schema.json"
if str(RUNTIME) not in sys.path:
    sys.path.insert(0, str(RUNTIME))

from dsml.contract.catalog import (  # noqa: E402 - the runtime has to be found first
    ARTEFACT,
    DEFAULT_PATTERN,
    KEYS,
    NAME,
    PLACEHOLDERS,
    Entry,
    Experiment,
    Pipeline,
)
from dsml.contract.declared import keys_of  # noqa: E402
from dsml.contract.environments import RESOURCES_SCHEMA, Environment  # noqa: E402
from dsml.contract.models import MODEL_NAME, Model  # noqa: E402
from dsml.contract.names import IDENTIFIER  # noqa: E402
from dsml.contract.policies import Defaults  # noqa: E402

Schema = dict[str, Any]


def main() -> int:
    """Write the schema; return the exit code."""
    SCHEMA_FILE.write_text(text(), encoding="utf-8", newline="\n")
    print(SCHEMA_FILE.relative_to(REPOSITORY))
    return 0


def text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> Schema:
    """The schema of a whole catalog."""
    sections: dict[str, Schema] = {
        "version": {"const": 1},
        "project": {"type": "string"},
        "environments": _named(Environment, NAME),
        "defaults": _mapping(_properties(Defaults)),
        "preload": _value("preload", tuple[str, ...]),
        "resources": dict(RESOURCES_SCHEMA),
        "paths": _mapping({"artefact": _pattern()}),
        "experiments": _named(Experiment, NAME),
        "pipelines": _named(Pipeline, IDENTIFIER),
        "pickles": _value("pickles", tuple[str, ...]),
        "models": _named(Model, MODEL_NAME),
        "register": _named(Entry, ".*"),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "catalog.yml",
        "type": "object",
        "properties": {key: {"description": KEYS[key], **sections[key]} for key in KEYS},
        "required": ["version"],
        "additionalProperties": False,
    }


def _named(kind: type[Any], name: str) -> Schema:
    """A section that maps names to mappings with the keys of a class. It may be left empty."""
    return {
        "type": ["object", "null"],
        "propertyNames": {"pattern": f"^{name}$"},
        "additionalProperties": _mapping(_properties(kind)),
    }


def _properties(kind: type[Any]) -> dict[str, Schema]:
    """The schema of each key of a mapping that a class stands for."""
    hints = get_type_hints(kind)
    metadata = {item.name: item.metadata for item in fields(kind)}
    return {
        key: {"description": about, **_key_schema(key, hints[key], metadata[key])}
        for key, about in keys_of(kind).items()
    }


def _key_schema(key: str, hint: Any, metadata: Mapping[str, Any]) -> Schema:
    if metadata["schema"] is not None:
        return dict(metadata["schema"])
    return {"enum": list(metadata["choices"])} if metadata["choices"] else _value(key, hint)


def _mapping(properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": ["object", "null"],
        "properties": dict(properties),
        "additionalProperties": False,
    }


def _value(key: str, hint: Any) -> Schema:
    """The schema of a value of some type, as the catalog's reader takes it."""
    if hint is str:
        return {"type": "string"}
    if get_origin(hint) is tuple:
        texts = {"type": "array", "items": {"type": "string"}}
        return {"anyOf": [{"type": "string"}, texts]}
    if hint is int:
        return {"type": "integer", "minimum": 1}
    inner_class: Any = next((part for part in (hint, *get_args(hint)) if is_dataclass(part)), None)
    if inner_class is not None and get_origin(hint) is Mapping:
        return _named(inner_class, IDENTIFIER)
    if inner_class is not None:
        return _mapping(_properties(inner_class))
    if get_origin(hint) is types.UnionType and int in get_args(hint):
        return {"type": ["integer", "null"], "minimum": 1}
    if get_origin(hint) is Mapping:
        inner = get_args(hint)[1]
        values = _value(key, inner) if get_origin(inner) is Mapping else None
        return {"type": ["object", "null"], **({"additionalProperties": values} if values else {})}
    raise NotImplementedError(f"{key}: no schema for the type {hint}")


def _pattern() -> Schema:
    """The rules for the path of an artefact: each placeholder there, none that is unknown."""
    brace = r"\{\{|\}\}"
    part = rf"(?!\.{{1,2}}(?:/|$))(?:[^{{}}/\\]|{brace}|\{{(?:{'|'.join(PLACEHOLDERS)})\}})+"
    needed = [name for name in PLACEHOLDERS if name != "partition"]
    return {
        "description": ARTEFACT,
        "type": "string",
        "default": DEFAULT_PATTERN,
        "pattern": f"^{part}(?:/{part})*$",
        "allOf": [{"pattern": rf"^(?:[^{{}}]|{brace}|\{{\w+\}})*\{{{name}\}}"} for name in needed],
    }


if __name__ == "__main__":
    raise SystemExit(main())
