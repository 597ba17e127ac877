"""The command line of the runtime with all of its commands, for the reference of the docs site."""

from __future__ import annotations

import importlib
import pkgutil

from catalog_schema import RUNTIME  # noqa: F401 - it makes the runtime importable

import dsml.cli
from dsml.cli import cli

__all__ = ["cli"]

for module in pkgutil.iter_modules(dsml.cli.__path__, "dsml.cli."):
    importlib.import_module(module.name)
