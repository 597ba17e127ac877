"""Every registered step as a Dagster asset: what it declares, and how it is materialised.

Annotations are evaluated here: Dagster reads the type of ``context`` at run time.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    BetaWarning,
    CodeReferencesMetadataValue,
    LocalFileCodeReference,
    MaterializeResult,
    MetadataValue,
    PartitionsDefinition,
    multi_asset,
)

from dsml.contract.project import Project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.config import config_schema, op_name

KIND = "jupyter"


def step_key(step: str) -> AssetKey:
    """The asset of a step itself, which is its executed notebook."""
    return AssetKey(step.split("."))


def artefact_key(path: str) -> AssetKey:
    """The asset of an artefact."""
    return AssetKey(path.split("."))


def step_assets(
    project: Project, step: StepSpec, partitions: PartitionsDefinition[str]
) -> AssetsDefinition:
    """The assets that one step materialises: its executed notebook, and each of its outs."""

    @multi_asset(
        name=op_name(step.name),
        specs=_specs(project.root, step),
        partitions_def=partitions,
        config_schema=config_schema(step),
        op_tags=dict(step.tags),
    )
    def materialise(context: AssetExecutionContext) -> Iterator[MaterializeResult[Any]]:
        from dsml.orchestrate.materialise import (
            materialise_step,
        )  # slow, and only a worker needs it

        yield from materialise_step(context, project, step)

    return materialise


def _specs(root: Path, step: StepSpec) -> list[AssetSpec]:
    deps = [artefact_key(path) for path in dict.fromkeys(step.ins.values())]
    deps += [step_key(name) for name in dict.fromkeys(step.after)]
    keys = [step_key(step.name), *(artefact_key(path) for path in step.artefacts)]
    metadata = _source_metadata(root / step.path, step.path)
    return [
        AssetSpec(
            key,
            deps=deps,
            description=step.description or None,
            group_name=step.stage,
            kinds={KIND},
            code_version=step.code[:16],
            metadata=metadata,
        )
        for key in keys
    ]


def _source_metadata(file: Path, label: str) -> dict[str, Any]:
    """Links to the notebook's source: one that the UI opens, one for an editor."""
    with warnings.catch_warnings():  # code references are in beta; Dagster is pinned and tested
        warnings.simplefilter("ignore", BetaWarning)
        reference = LocalFileCodeReference(file_path=str(file), label=label)
        references = CodeReferencesMetadataValue(code_references=[reference])
    return {
        "dagster/code_references": references,
        "source": MetadataValue.notebook(str(file)),
    }
