"""Parameters as Dagster's run configuration: typed, described and defaulted in the Launchpad."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

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
from dagster._config.config_type import ConfigScalar, ConfigScalarKind
from dagster._config.errors import PostProcessingError
from dagster._config.field_utils import FIELD_NO_DEFAULT_PROVIDED

from dsml.contract.literals import Json
from dsml.contract.parameters import Parameter, value_problem
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.secret import FIX as SECRET_FIX
from dsml.contract.secret import NAME as SECRET
from dsml.contract.secret import is_variable
from dsml.contract.spec import StepSpec
from dsml.contract.types import ParameterType
from dsml.store import Value


class SecretName(ConfigScalar):
    """The name of a variable of the environment.

    Dagster asks it before it records a run, so that a secret which was typed in is not kept.
    """

    def __init__(self) -> None:
        super().__init__(SECRET, SECRET, ConfigScalarKind.STRING)

    def post_process(self, value: str) -> str:
        """Refuse what is no name of a variable."""
        if not is_variable(value):
            raise PostProcessingError(f"it is no name of a variable: {SECRET_FIX}")
        return value


_SCALARS = {
    "int": Int,
    "float": Float,
    "str": String,
    "date": String,
    "datetime": String,
    "bool": Bool,
    SECRET: SecretName(),
    "any": AnyConfig,
}

# The parts of a mapped step, each a step to Dagster: `train__fit.run[100]`.
PLAN, RUN, COLLECT = "plan", "run", "collect"
_STEP_KEY = re.compile(rf"(\w+?)(?:\.({PLAN}|{RUN}|{COLLECT})(?:\[(\w+)\])?)?", re.ASCII)


class StepKey(NamedTuple):
    """What a step key of Dagster means: an op, of a mapped step the part, the instance of that."""

    op: str
    part: str | None
    instance: str | None


def parse_step_key(key: str) -> StepKey:
    """Take Dagster's key of a step apart."""
    match = _STEP_KEY.fullmatch(key)
    return StepKey(key, None, None) if match is None else StepKey(match[1], match[2], match[3])


def op_name(step: str) -> str:
    """The name that Dagster knows a step by: ``stage__notebook``."""
    return step.replace(".", "__")


def step_config(values: Mapping[str, Mapping[str, Json]]) -> dict[str, Any]:
    """The run configuration that sets parameters of steps, by their catalog paths."""
    ops = {op_name(step): {"config": dict(of_step)} for step, of_step in values.items() if of_step}
    return {"ops": ops} if ops else {}


def given_values(run_config: Mapping[str, Any], step: str) -> Mapping[str, Json]:
    """What the configuration of a run, as it was given, sets of a step's parameters."""
    op = (run_config.get("ops") or {}).get(op_name(step)) or {}
    return op.get("config") or {}


def config_schema(step: StepSpec) -> dict[str, Field]:
    """The step's parameters as config fields; none of them has to be given."""
    return {name: _field(step, parameter) for name, parameter in step.parameters.items()}


def _field(step: StepSpec, parameter: Parameter) -> Field:
    name = f"{op_name(step.name)}_{parameter.name}"
    default: Any = parameter.default
    if parameter.name in step.map:
        items = step.map[parameter.name]
        # a list that another step publishes is known only when that step has run
        default = FIELD_NO_DEFAULT_PROVIDED if isinstance(items, str) else list(items)
    return Field(
        _config_type(step.settings[parameter.name], parameter.default, name),
        default_value=default,
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
    step: StepSpec,
    experiment: Mapping[str, Json],
    run_config: Mapping[str, Any],
    mapped: Mapping[str, Json] | None = None,
) -> dict[str, Value]:
    """The value of each parameter and its source, weakest first: default, experiment, run, map.

    ``run_config`` is the run's configuration as it was given: Dagster's resolved configuration
    has the defaults filled in, and would hide what the experiment sets. ``mapped`` holds what an
    instance of a mapped step sets; what experiment and run say of these are the lists of values.

    Raises:
        ProjectError: a value is of a type that Dagster's configuration cannot tell apart.
    """
    layers: list[tuple[str, Mapping[str, Json]]] = [
        (source, {name: value for name, value in values.items() if name not in step.map})
        for source, values in _layers(step, experiment, run_config)
    ]
    layers.append(("map", mapped or {}))
    values = {name: Value(*p.resolve(*layers)) for name, p in step.parameters.items()}
    types = {name: parameter.type for name, parameter in step.parameters.items()}
    _check(step, types, {name: found.value for name, found in values.items()})
    return values


def given_lists(
    step: StepSpec, experiment: Mapping[str, Json], run_config: Mapping[str, Any]
) -> dict[str, list[Json]]:
    """The lists of values that the experiment or, stronger, the run sets of mapped parameters.

    Raises:
        ProjectError: what is set is no list of such values.
    """
    found: dict[str, Any] = {}
    for _, values in _layers(step, experiment, run_config):
        found.update({name: value for name, value in values.items() if name in step.map})
    _check(step, step.settings, found)
    return found


def _layers(
    step: StepSpec, experiment: Mapping[str, Json], run_config: Mapping[str, Any]
) -> list[tuple[str, Mapping[str, Json]]]:
    return [("experiment", experiment), ("run", given_values(run_config, step.name))]


def _check(step: StepSpec, types: Mapping[str, ParameterType], values: Mapping[str, Json]) -> None:
    problems = refused(step.where(), step, types, values)
    if problems:
        raise ProjectError(problems)


def refused(
    where: Where,
    step: StepSpec,
    types: Mapping[str, ParameterType],
    values: Mapping[str, Json],
    prefix: str = "",
) -> list[Problem]:
    """What is wrong with values of parameters; ``prefix`` is written before their names."""
    return [
        Problem(where, f"{prefix}{name}: {found[0]}", found[1], found[2])
        for name, value in values.items()
        if (found := value_problem(types, name, value, step.no_parameters))
    ]
