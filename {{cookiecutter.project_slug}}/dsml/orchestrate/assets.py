"""Every registered step as a Dagster asset: what it declares, and how it is materialised.

Annotations are evaluated here: Dagster reads the type of ``context`` at run time.
"""

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSpec,
    BetaWarning,
    CodeReferencesMetadataValue,
    LocalFileCodeReference,
    MetadataValue,
    PartitionsDefinition,
    multi_asset,
)

from dsml.contract.project import Project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.config import config_schema, op_name
from dsml.orchestrate.data_checks import check_specs
from dsml.orchestrate.keys import EXECUTED, artefact_key, output_assets, step_key
from dsml.orchestrate.needs import op_tags
from dsml.orchestrate.partitions import dependency
from dsml.orchestrate.policies import retry_policy


def _signature(context: AssetExecutionContext) -> Any:
    """What Dagster has to know of all functions that materialise a step."""


_SIGNATURE = inspect.signature(_signature)


def step_assets(
    project: Project,
    step: StepSpec,
    partitions: PartitionsDefinition[str],
    deps: Sequence[AssetDep],
) -> AssetsDefinition:
    """The assets that one step materialises: its executed notebook, and each of its outs.

    ``deps`` is what it waits for.
    """

    def materialise(context: AssetExecutionContext) -> Any:
        from dsml.orchestrate.materialise import materialise_step  # slow; only a run needs it

        yield from materialise_step(context, project, step)

    # Dagster asks for it, and evaluates the annotations, a dozen times a step.
    materialise.__dict__["__signature__"] = _SIGNATURE
    return multi_asset(
        name=op_name(step.name),
        specs=_specs(project, step, deps),
        check_specs=check_specs(step, partitions),
        partitions_def=partitions,
        config_schema=config_schema(step),
        op_tags=op_tags(step),
        retry_policy=retry_policy(project.retries(step)),
        pool=step.pool or None,
    )(materialise)


def dependencies(project: Project, step: StepSpec) -> list[AssetDep]:
    """What a step waits for: artefacts that it reads, and steps that have to be over."""
    keys = [artefact_key(path) for path in step.sources]
    keys += [step_key(name) for name in dict.fromkeys(step.after)]
    own = project.partitions.get(step.name)
    return [dependency(key, project.partitions.get(".".join(key.path[:2])), own) for key in keys]


def _specs(project: Project, step: StepSpec, deps: Sequence[AssetDep]) -> list[AssetSpec]:
    metadata = source_metadata(project.root, step)
    return [
        AssetSpec(
            key,
            deps=deps,
            description=step.description or None,
            group_name=step.stage,
            kinds={kind_of(step)},
            code_version=step.code[:16],
            metadata=metadata,
            skippable=key.path[-1] in step.optional and name != EXECUTED,
        )
        for name, key in output_assets(step).items()
    ]


def kind_of(step: StepSpec) -> str:
    """What the UI shows a step to be."""
    return "jupyter" if step.function is None else "python"


def source_metadata(root: Path, step: StepSpec) -> dict[str, Any]:
    """Links to the notebook's source: one that the UI opens, one for an editor."""
    file = str(root / step.path)
    # code references are in beta; Dagster is pinned and tested
    with warnings.catch_warnings(action="ignore", category=BetaWarning):
        reference = LocalFileCodeReference(file_path=file, label=step.path)
        references = CodeReferencesMetadataValue(code_references=[reference])
    source = MetadataValue.notebook(file) if step.function is None else MetadataValue.path(file)
    return {"dagster/code_references": references, "source": source}
