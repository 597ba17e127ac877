"""The names of steps and artefacts, as Dagster has them."""

from __future__ import annotations

from dagster import AssetKey

from dsml.contract.spec import StepSpec

# Dagster's name for what is the step itself. Outs have a prefix: Dagster refuses a few names.
EXECUTED = "executed"
_OUT = "out_"


def step_key(step: str) -> AssetKey:
    """The asset of a step itself, which is its executed notebook."""
    return AssetKey(step.split("."))


def artefact_key(path: str) -> AssetKey:
    """The asset of an artefact."""
    return AssetKey(path.split("."))


def output_assets(step: StepSpec) -> dict[str, AssetKey]:
    """Every asset of a step by Dagster's name: the step itself, and each of its outs."""
    outs = {output_name(name): artefact_key(path) for path, name in step.artefacts.items()}
    return {EXECUTED: step_key(step.name), **outs}


def output_name(out: str) -> str:
    """Dagster's name for an out."""
    return f"{_OUT}{out}"
