"""The checks on data as Dagster's asset checks: one for each out that has some."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    MetadataValue,
    PartitionsDefinition,
    PreviewWarning,
)

from dsml.contract.spec import StepSpec
from dsml.orchestrate.keys import artefact_key
from dsml.orchestrate.preview import Metadata, markdown_table
from dsml.step.checks import Broken, CheckResult

CHECK = "data"
_UNWRITTEN = "the out was not written, so there is nothing to check"
_LISTED = 50  # broken rules in a table


def check_specs(
    step: StepSpec, partitions: PartitionsDefinition[str] | None = None
) -> list[AssetCheckSpec]:
    """The checks of a step. With ``partitions`` Dagster keeps what came out for each of them."""
    # partitions of checks are a preview; Dagster is pinned
    with warnings.catch_warnings(action="ignore", category=PreviewWarning):
        return [
            AssetCheckSpec(
                CHECK,
                asset=artefact_key(f"{step.name}.{out}"),
                description=check.description,
                blocking=check.blocking,
                partitions_def=partitions,
            )
            for out, check in step.checks.items()
        ]


def check_outputs(step: StepSpec) -> list[str]:
    """Dagster's names for what an op inside of a graph gives as the results of the checks."""
    return [spec.get_python_identifier() for spec in check_specs(step)]


def check_results(step: StepSpec, results: Iterable[CheckResult]) -> Iterator[AssetCheckResult]:
    """What came out of all checks of a step that has passed.

    Dagster wants a result of every check: that of an optional out which was not written passes.
    """
    found = {result.out: result for result in results}
    for out in step.checks:
        if out in found:
            yield check_result(step, found[out])
        else:
            key = artefact_key(f"{step.name}.{out}")
            yield AssetCheckResult(
                passed=True, asset_key=key, check_name=CHECK, description=_UNWRITTEN
            )


def check_result(step: StepSpec, result: CheckResult) -> AssetCheckResult:
    """What came out of one check, with a table of the rules that are broken."""
    return AssetCheckResult(
        passed=result.passed,
        asset_key=artefact_key(f"{step.name}.{result.out}"),
        check_name=CHECK,
        severity=AssetCheckSeverity.ERROR if result.blocking else AssetCheckSeverity.WARN,
        description=None if result.passed else _summary(result),
        metadata=_metadata(result),
    )


def check_evaluation(
    step: StepSpec, result: CheckResult, partition: str | None
) -> AssetCheckEvaluation:
    """The same for an op inside of a graph, which cannot give results of the graph's checks.

    ``partition`` is that of the run where the specs have partitions, else None.
    """
    found = check_result(step, result)
    return AssetCheckEvaluation(
        asset_key=artefact_key(f"{step.name}.{result.out}"),
        check_name=CHECK,
        passed=found.passed,
        metadata=dict(found.metadata),
        severity=found.severity,
        description=found.description,
        blocking=result.blocking,
        partition=partition,
    )


def _summary(result: CheckResult) -> str:
    first, more = result.problems[0], len(result.problems) - 1
    return f"{first}" + (f"; and {more} more" if more else "")


def _metadata(result: CheckResult) -> Metadata:
    sizes = {"rows": result.rows, "columns": result.columns}
    found: Metadata = {
        name: MetadataValue.int(size) for name, size in sizes.items() if size is not None
    }
    if result.problems:
        found["broken rules"] = MetadataValue.md(_table(result.problems))
    return found


def _table(problems: tuple[Broken, ...]) -> str:
    headings = ["of", "rule", "rows", "first", "values"]
    rows = [
        [
            f"{problem.instance}: {problem.what}" if problem.instance else problem.what,
            problem.rule,
            f"{problem.count:,}" if problem.count else "",
            ", ".join(place for place, _ in problem.first),
            ", ".join(value for _, value in problem.first) or problem.note,
        ]
        for problem in problems[:_LISTED]
    ]
    return markdown_table(headings, rows)
