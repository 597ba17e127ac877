"""The names of steps and artefacts: what can be one."""

from __future__ import annotations

import keyword
import re

STAGES_FOLDER = "stages"
STEP_DEPTH = 3  # parts of the path of a step: stages/<stage>/<notebook>.ipynb
# What can be part of a catalog path, as a regular expression that editors can read too.
IDENTIFIER = rf"(?!(?:{'|'.join(keyword.kwlist)})$)[A-Za-z_][A-Za-z0-9_]*"
# What names a function of the project: module:function.
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_CATALOG_PATH_PARTS = 3


def is_identifier(name: str) -> bool:
    """Whether a name can be part of a catalog path: a Python identifier in ASCII, no keyword."""
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


def to_identifier(name: str) -> str:
    """The nearest identifier, for a message."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "name"
    text = f"_{text}" if text[0].isdigit() else text
    return text if is_identifier(text) else f"{text}_"


def folded(name: str) -> str:
    """The name of a step as it may meet another's.

    Windows and macOS fold case in file names; Dagster's names have no dot, ours becomes ``__``.
    """
    return name.replace(".", "__").casefold()


def step_of(artefact: str) -> str:
    """The step that publishes an artefact, by the artefact's catalog path."""
    return artefact.rpartition(".")[0]


def is_artefact_path(path: str) -> bool:
    """Whether a text has the form of an artefact's catalog path, ``stage.notebook.artefact``."""
    parts = path.split(".")
    return len(parts) == _CATALOG_PATH_PARTS and all(parts)
