"""Whether the files of a project can be read; what many projects have is looked at once."""

from __future__ import annotations

import ast
import functools
import json
import tomllib
from pathlib import Path

import yaml
from conftest import files_of

_PARSERS = {
    "toml": tomllib.loads,
    "yml": yaml.safe_load,
    "yaml": yaml.safe_load,
    "ipynb": json.loads,
    "json": json.loads,
    "py": ast.parse,
}


def unreadable(project: Path) -> list[str]:
    """The files of a project that are not what their names say, and why."""
    faults = {
        name: fault_of(name.rpartition(".")[2], (project / name).read_text(encoding="utf-8"))
        for name in files_of(project)
        if name.endswith(tuple(_PARSERS))
    }
    assert len(faults) > len(_PARSERS)
    return [f"{name}: {fault}" for name, fault in faults.items() if fault]


@functools.cache
def fault_of(suffix: str, text: str) -> str:
    """Why a text is not what a suffix says; "" where it is, or nothing is known of the suffix."""
    parser = _PARSERS.get(suffix)
    try:
        if parser is not None:
            parser(text)
    except (ValueError, SyntaxError, yaml.YAMLError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
