"""The reference of the docs site, as Markdown: read from the code, so that it can't go stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import catalog_schema
from catalog_schema import REPOSITORY, RUNTIME
from messages import SEVERAL, messages

from dsml.contract.declared import keys_of
from dsml.contract.needs import Needs
from dsml.contract.policies import Retries
from dsml.contract.spec import KEYS

MISTAKES = "## Mistakes, and what you are told"


def pages() -> dict[str, str]:
    """Name of a file → the page."""
    return {
        "cli.md": CLI,
        "op_parameters.md": "\n".join(_op_parameters()),
        "catalog.md": "\n".join(_catalog()),
        "messages.md": "\n".join(_messages()),
    }


CLI = """# The command line

`dsml` runs, checks and looks into the project that the current folder belongs to. Exit codes: 0
done, 1 a run or a check failed, 2 wrong usage. `dsml COMMAND --help` tells the same as this page.
Each command has a target of `make` that calls it, listed in the
[README of a project](readme.md#commands).

::: mkdocs-click
    :module: command_line
    :command: cli
    :prog_name: dsml
    :depth: 1
    :style: plain
"""


OP_PARAMETERS = """# op_parameters

The literal dict in the cell of a notebook that is tagged `op_parameters`, or at the top of a Python
step. It is read from the source and never run. All keys may be left out.
"""
CATALOG = """# catalog.yml

What may stand in the file, key by key. Editors that know YAML complete and check it, through the
first line of the file and `dsml/contract/catalog.schema.json`; `dsml check` tells the same, and
more, with the line.

`NAME` stands for any name."""
MESSAGES = """# Messages

A message has three lines: where, what, and how to mend it. `dsml check --format json` also gives
its *kind*, which this page is sorted by. `…` stands for what is known only when it happens; nearest
names are proposed in the place of `did you mean '…'?`. What has no kind here is told for several.

## Mistakes made often
"""


def _op_parameters() -> Iterator[str]:
    yield OP_PARAMETERS
    yield from _table(("Key", "What it says"), KEYS.items())
    yield "\n## retries\n"
    yield "A number alone is `max`.\n"
    yield from _table(("Key", "What it says"), keys_of(Retries).items())
    yield "\n## needs\n"
    yield from _table(("Key", "What it says"), keys_of(Needs).items())
    yield "\nThe rules under `checks` are on the page [Checks on data](../how-to/checks.md)."


def _catalog() -> Iterator[str]:
    schema = catalog_schema.schema()
    yield CATALOG
    for key, section in schema["properties"].items():
        yield f"\n## {key}\n"
        yield section["description"] + "\n"
        rows = [*_rows(section, "")]
        if rows:
            yield from _table(("Key", "Value", "What it says"), rows)


def _rows(schema: Mapping[str, Any], above: str) -> Iterator[tuple[str, str, str]]:
    """A row for each key that a schema knows, those of mappings below it included."""
    for key, value in schema.get("properties", {}).items():
        path = f"{above}{key}"
        yield f"`{path}`", _kind(value), value.get("description", "")
        yield from _rows(_mapping(value), f"{path}.")
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict) and "properties" in inner:
        yield from _rows(inner, f"{above}NAME.")


def _mapping(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of several forms that a value may have, the one that has keys."""
    forms = [schema, *schema.get("anyOf", [])]
    return next((f for f in forms if "properties" in f or "additionalProperties" in f), {})


def _kind(schema: Mapping[str, Any]) -> str:
    """The form of a value in words."""
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "anyOf" in schema:
        kinds = [_kind(form) for form in schema["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "nothing"))
    words = {"object": "mapping", "array": "list", "string": "text", "null": "nothing"}
    given = schema.get("type", "any")
    types = [given] if isinstance(given, str) else given
    return " or ".join(words.get(kind, kind) for kind in types if kind != "null") or "nothing"


def _messages() -> Iterator[str]:
    found = messages(RUNTIME / "dsml")
    yield MESSAGES
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    yield readme.partition(f"{MISTAKES}\n")[2].partition("\n## ")[0].strip()
    yield "\n## All kinds\n"
    yield from _table(
        ("Kind", "What is told", "How to mend it"),
        (
            (kind if kind == SEVERAL else f"`{kind}`", _code(what), _code(fix))
            for kind, told in found.items()
            for what, fix in told
        ),
    )


def _code(text: str) -> str:
    """A text as code, whatever signs it holds; a line of a message a line."""
    lines = [line.strip() for line in text.split("\n")]
    return "<br/>".join(f"`` {line} ``" if "`" in line else f"`{line}`" for line in lines if line)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        cells = [part.replace("|", "\\|") for part in row]
        yield f"| {' | '.join(cells)} |"
