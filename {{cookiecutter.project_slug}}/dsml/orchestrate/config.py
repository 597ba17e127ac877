"""Parameters as Dagster's run configuration: typed, described and defaulted in the Launchpad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import Any as AnyConfig
from dagster import Array, Bool, Enum, EnumValue, Field, Float, Int, Noneable, Permissive, String

from dsml.contract.cells import Json
from dsml.contract.parameters import Parameter, ParameterType
from dsml.contract.spec import StepSpec
from dsml.store import Value

_SCALARS = {"int": Int, "float": Float, "str": String, "bool": Bool, "any": AnyConfig}


def op_name(step: str) -> str:
    """The name that Dagster knows a step by: ``stage__notebook``."""
    return step.replace(".", "__")


def config_schema(step: StepSpec) -> dict[str, Field]:
    """The step's parameters as config fields; none of them has to be given."""
    return {name: _field(step, parameter) for name, parameter in step.parameters.items()}


def _field(step: StepSpec, parameter: Parameter) -> Field:
    kind = _config_type(parameter.type, f"{op_name(step.name)}_{parameter.name}")
    return Field(
        kind,
        default_value=parameter.default,
        is_required=False,
        description=parameter.description or None,
    )


def _config_type(kind: ParameterType, name: str) -> Any:
    inner: Any
    if kind.kind == "list":
        inner = Array(AnyConfig if kind.items is None else _config_type(kind.items, f"{name}_item"))
    elif kind.kind == "dict":
        inner = Permissive()
    elif kind.kind == "literal":
        inner = _choices(kind, name)
    else:
        inner = _SCALARS[kind.kind]
    return Noneable(inner) if kind.optional else inner


def _choices(kind: ParameterType, name: str) -> Any:
    """Dagster's enums are of text; other literals are checked when the step starts."""
    if all(isinstance(choice, str) for choice in kind.choices):
        return Enum(name, [EnumValue(str(choice)) for choice in kind.choices])
    return AnyConfig


def resolve_values(
    step: StepSpec, experiment: Mapping[str, Json], run_config: Mapping[str, Any]
) -> dict[str, Value]:
    """The value of each parameter and its source, weakest first: default, experiment, run.

    ``run_config`` is the run's configuration as it was given: Dagster's resolved configuration
    has the defaults filled in, and would hide what the experiment sets.
    """
    op = (run_config.get("ops") or {}).get(op_name(step.name)) or {}
    given = op.get("config") or {}
    values: dict[str, Value] = {}
    for name, parameter in step.parameters.items():
        if name in given:
            values[name] = Value(given[name], "run")
        elif name in experiment:
            values[name] = Value(experiment[name], "experiment")
        else:
            values[name] = Value(parameter.default, "default")
    return values
