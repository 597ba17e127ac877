"""The runtime of this project: what the notebooks, ``dag.py`` and the command line share."""

from __future__ import annotations

from dsml.contract.secret import Secret
from dsml.step.context import Context, get_context
from dsml.step.field import Field
from dsml.step.function import run_by_hand

__all__ = ["Context", "Field", "Secret", "get_context", "run_by_hand"]
