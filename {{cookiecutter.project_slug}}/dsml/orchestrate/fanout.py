"""A mapped step in Dagster: a plan, an instance for each of its values, and their collection.

Every instance is a step of Dagster's own, ``<stage>__<notebook>.run[<key>]``, with its own
attempts, log and executed notebook. They share the inputs that the plan has found, so that all of
them read the same whatever is published meanwhile.

Annotations are evaluated here: Dagster reads the type of ``context`` at run time.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import cast

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetDep,
    AssetsDefinition,
    ConfigMapping,
    DependencyDefinition,
    DynamicOut,
    DynamicOutput,
    GraphDefinition,
    In,
    InputMapping,
    NodeInvocation,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    Output,
    OutputMapping,
    PartitionsDefinition,
    op,
)
from dagster._core.definitions.dependency import (
    DynamicCollectDependencyDefinition,
    IDependencyDefinition,
)
from dagster._core.execution.plan.state import KnownExecutionState, PastExecutionState

from dsml.contract.project import Project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.assets import kind_of, source_metadata
from dsml.orchestrate.config import COLLECT, PLAN, RUN, config_schema, op_name, parse_step_key
from dsml.orchestrate.data_checks import check_outputs, check_specs
from dsml.orchestrate.keys import EXECUTED, output_assets, output_name
from dsml.orchestrate.needs import op_tags
from dsml.orchestrate.policies import retry_policy

_START, _DONE, _RESULT = "start", "done", "result"
# A plan, an instance for each key of it, and one collection when all of them are over.
_WAITS: Mapping[str, Mapping[str, IDependencyDefinition]] = {
    PLAN: {},
    RUN: {_START: DependencyDefinition(PLAN, _RESULT)},
    COLLECT: {_DONE: DynamicCollectDependencyDefinition(RUN, _RESULT)},
}


def forgotten_instances(steps: Collection[str], state: KnownExecutionState) -> list[str]:
    """The keys of instances that have to be run too where a run carries on another.

    Of instances that share a plan Dagster runs those again that had failed or been interrupted,
    and forgets those that had not begun.

    Args:
        steps: the keys of the steps that are to be run.
        state: what Dagster knows of the run that is carried on.
    """
    done = {*steps, *_done_before(state.parent_state)}
    ops = (key.op for key in map(parse_step_key, steps) if key.part == COLLECT)
    planned = ((op, state.dynamic_mappings.get(f"{op}.{PLAN}") or {}) for op in ops)
    wanted = (f"{op}.{RUN}[{key}]" for op, plan in planned for key in plan.get(_RESULT) or ())
    return [key for key in wanted if key not in done]


def _done_before(past: PastExecutionState | None) -> Iterator[str]:
    """The steps with an output in a run that is carried on, or in one that it carried on itself."""
    while past is not None:
        yield from (output.step_key for output in past.produced_outputs)
        past = cast("PastExecutionState | None", past.parent_state)


def mapped_assets(
    project: Project,
    step: StepSpec,
    partitions: PartitionsDefinition[str],
    deps: Sequence[AssetDep],
) -> AssetsDefinition:
    """The assets of a step that is mapped; ``deps`` is what it waits for."""
    inputs = {"__".join(dep.asset_key.path): dep for dep in deps}
    outputs = output_assets(step)
    metadata = source_metadata(project.root, step)
    return AssetsDefinition.from_graph(
        _graph(project, step, list(inputs)),
        keys_by_input_name={name: dep.asset_key for name, dep in inputs.items()},
        keys_by_output_name=outputs,
        check_specs=check_specs(step, partitions),
        partitions_def=partitions,
        partition_mappings={
            name: dep.partition_mapping for name, dep in inputs.items() if dep.partition_mapping
        },
        group_name=step.stage,
        descriptions_by_output_name=dict.fromkeys(outputs, step.description),
        metadata_by_output_name={name: dict(metadata) for name in outputs},
        tags_by_output_name={name: {f"dagster/kind/{kind_of(step)}": ""} for name in outputs},
        code_versions_by_output_name=dict.fromkeys(outputs, step.code[:16]),
    )


def _graph(project: Project, step: StepSpec, inputs: list[str]) -> GraphDefinition:
    nodes = {
        PLAN: _plan_op(project, step, inputs),
        RUN: _run_op(project, step),
        COLLECT: _collect_op(project, step),
    }
    return GraphDefinition(
        name=op_name(step.name),
        description=step.description or None,
        node_defs=list(nodes.values()),
        dependencies={NodeInvocation(nodes[n].name, alias=n): _WAITS[n] for n in nodes},
        input_mappings=[
            InputMapping(graph_input_name=name, mapped_node_name=PLAN, mapped_node_input_name=name)
            for name in inputs
        ],
        output_mappings=[
            OutputMapping(
                graph_output_name=name, mapped_node_name=COLLECT, mapped_node_output_name=name
            )
            for name in (*output_assets(step), *check_outputs(step))
        ],
        # the same configuration as that of a step that isn't mapped; what it says is read from
        # the run itself
        config=ConfigMapping(config_fn=lambda _: {}, config_schema=config_schema(step)),
    )


def _plan_op(project: Project, step: StepSpec, inputs: list[str]) -> OpDefinition:
    @op(
        name=f"{op_name(step.name)}__{PLAN}",
        ins={name: In(Nothing) for name in inputs},
        out=DynamicOut(Nothing),
    )
    def plan(context: OpExecutionContext) -> Iterator[DynamicOutput[None]]:
        from dsml.orchestrate.mapped import make_plan

        for key in make_plan(context, project, step).instances:
            yield DynamicOutput(None, mapping_key=key)

    return plan


def _run_op(project: Project, step: StepSpec) -> OpDefinition:
    @op(
        name=f"{op_name(step.name)}__{RUN}",
        ins={_START: In(Nothing)},
        out=Out(Nothing),
        retry_policy=retry_policy(project.retries(step)),
        pool=step.pool or None,
        tags=op_tags(step),
    )
    def run(context: OpExecutionContext) -> Iterator[Output[None] | AssetCheckEvaluation]:
        from dsml.orchestrate.mapped import run_instance

        yield from run_instance(context, project, step)

    return run


def _collect_op(project: Project, step: StepSpec) -> OpDefinition:
    @op(
        name=f"{op_name(step.name)}__{COLLECT}",
        ins={_DONE: In(Nothing)},
        out={EXECUTED: Out(Nothing)}
        | {output_name(n): Out(Nothing, is_required=n not in step.optional) for n in step.outs}
        | {name: Out(Nothing) for name in check_outputs(step)},
    )
    def collect(context: OpExecutionContext) -> Iterator[Output[None] | AssetCheckResult]:
        from dsml.orchestrate.mapped import collect_instances

        yield from collect_instances(context, project, step)

    return collect
