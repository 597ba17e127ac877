"""The runtime of this project: what the notebooks, ``dag.py`` and the command line share."""

from __future__ import annotations

from dsml.step.context import Context, get_context

__all__ = ["Context", "get_context"]
