"""Parameters as Dagster's run configuration: typed, described and defaulted in the Launchpad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import Any as AnyConfig
from dagster import (
    Array,
    Bool,
    Enum,
    EnumValue,
    Field,
    Float,
    Int,
    Noneable,
    Permissive,
    Shape,
    String,
)

from dsml.contract.cells import Json
from dsml.contract.parameters import Parameter
from dsml.contract.problem import Problem, ProjectError
from dsml.contract.project import value_problem
from dsml.contract.spec import StepSpec
from dsml.contract.types import ParameterType
from dsml.store import Value

_SCALARS = {
    "int": Int,
    "float": Float,
    "str": String,
    "date": String,
    "datetime": String,
    "bool": Bool,
    "any": AnyConfig,
}


def op_name(step: str) -> str:
    """The name that Dagster knows a step by: ``stage__notebook``."""
    return step.replace(".", "__")


def config_schema(step: StepSpec) -> dict[str, Field]:
    """The step's parameters as config fields; none of them has to be given."""
    return {name: _field(step, parameter) for name, parameter in step.parameters.items()}


def _field(step: StepSpec, parameter: Parameter) -> Field:
    name = f"{op_name(step.name)}_{parameter.name}"
    return Field(
        _config_type(parameter.type, parameter.default, name),
        default_value=parameter.default,
        is_required=False,
        description=parameter.description or None,
    )


def _config_type(kind: ParameterType, default: Json, name: str) -> Any:
    """Dagster's word for a type; ``name`` makes the names of enums unique."""
    inner: Any
    if kind.kind == "shape":
        inner = _shape(kind, default, name)
    elif kind.kind == "list":
        items = AnyConfig if kind.items is None else _config_type(kind.items, None, f"{name}_item")
        inner = Array(items)
    elif kind.kind == "dict":
        inner = Permissive()
    elif kind.kind == "literal":
        inner = _choices(kind, name)
    else:
        inner = _SCALARS[kind.kind]
    return Noneable(inner) if kind.optional else inner


def _shape(kind: ParameterType, default: Json, name: str) -> Shape:
    defaults = default if isinstance(default, dict) else {}
    return Shape(
        {
            key: Field(
                _config_type(inner, defaults.get(key), f"{name}_{key}"),
                default_value=defaults.get(key),
                is_required=False,
            )
            for key, inner in kind.fields.items()
        }
    )


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

    Raises:
        ProjectError: a value is of a type that Dagster's configuration cannot tell apart.
    """
    op = (run_config.get("ops") or {}).get(op_name(step.name)) or {}
    given = op.get("config") or {}
    layers = (("experiment", experiment), ("run", given))
    values = {name: Value(*p.resolve(*layers)) for name, p in step.parameters.items()}
    problems = [
        Problem(step.where(), f"{name}: {found[0]}", found[1], found[2])
        for name, value in values.items()
        if (found := value_problem(step.parameters, name, value.value))
    ]
    if problems:
        raise ProjectError(problems)
    return values
