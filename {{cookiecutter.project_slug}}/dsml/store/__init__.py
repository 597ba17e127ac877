"""Artefacts on disk or object storage: never overwritten, never half-written."""

from __future__ import annotations

from dsml.store.manifest import Attempt, Curve, Input, InstanceRun, Manifest, Output, Plan, Value
from dsml.store.paths import Layout, StepRun
from dsml.store.publish import Store
from dsml.store.staging import Staging

__all__ = [
    "Attempt",
    "Curve",
    "Input",
    "InstanceRun",
    "Layout",
    "Manifest",
    "Output",
    "Plan",
    "Staging",
    "StepRun",
    "Store",
    "Value",
]
