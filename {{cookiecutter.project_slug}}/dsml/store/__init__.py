"""Artefacts on disk or object storage: never overwritten, never half-written."""

from __future__ import annotations

from dsml.store.manifest import Attempt, Input, Manifest, Output, Value
from dsml.store.paths import Layout, StepRun
from dsml.store.publish import Staging, Store

__all__ = [
    "Attempt",
    "Input",
    "Layout",
    "Manifest",
    "Output",
    "Staging",
    "StepRun",
    "Store",
    "Value",
]
