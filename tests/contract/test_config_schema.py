"""`config_schema` in op_parameters: read from the source, never run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsml.contract.cells import read_notebook
from dsml.contract.parameters import Parameter
from dsml.contract.problem import Problem
from dsml.contract.scaffold import notebook
from dsml.contract.spec import StepSpec, read_spec
from dsml.contract.types import ParameterType

from .conftest import cell, document


def spec_of(
    tmp_path: Path, schema: str, parameters: str = ""
) -> tuple[StepSpec | None, list[Problem]]:
    cells = [cell(f'op_parameters = {{\n    "config_schema": {schema},\n}}', "op_parameters")]
    if parameters:
        cells.append(cell(parameters, "parameters"))
    file = tmp_path / "fit.ipynb"
    file.write_text(json.dumps(document(*cells)), encoding="utf-8")
    problems: list[Problem] = []
    return read_spec(read_notebook(file, "stages/train/fit.ipynb"), problems), problems


def parameters_of(tmp_path: Path, schema: str) -> dict[str, Parameter]:
    spec, problems = spec_of(tmp_path, schema)
    assert not problems, problems
    assert spec is not None
    return dict(spec.parameters)


def messages(problems: list[Problem]) -> list[str]:
    return [f"{problem.what} | {problem.fix}" for problem in problems]


@pytest.mark.parametrize(
    ("declared", "kind", "default", "description"),
    [
        ('Field(int, default_value=3, description="trees")', "int", 3, "trees"),
        ("dagster.Field(float, default_value=0.5)", "float", 0.5, ""),
        ("Field(Int, is_required=False, default_value=1)", "int", 1, ""),
        ('Field(config=str, default_value="x")', "str", "x", ""),
        ("Field(Noneable(int))", "int or None", None, ""),
        ("Field([str], default_value=['a'])", "list[str]", ["a"], ""),
        ("Field(Array(Bool), default_value=[])", "list[bool]", [], ""),
        ("Field(Permissive(), default_value={})", "dict", {}, ""),
        ('{"type": int, "default": 4, "description": "rows"}', "int", 4, "rows"),
        ('{"default": 4}', "int", 4, ""),
        ("7", "int", 7, ""),
        ('"adam"', "str", "adam", ""),
    ],
)
def test_a_field_has_a_type_a_default_and_a_description(
    tmp_path: Path, declared: str, kind: str, default: object, description: str
) -> None:
    parameter = parameters_of(tmp_path, f'{{"n": {declared}}}')["n"]
    found = (str(parameter.type), parameter.default, parameter.description)
    assert found == (kind, default, description)
    assert parameter.in_schema


def test_a_dict_of_fields_is_a_parameter_whose_keys_have_defaults_of_their_own(
    tmp_path: Path,
) -> None:
    schema = '{"model": {"depth": Field(int, default_value=3), "lr": 0.1}}'
    model = parameters_of(tmp_path, schema)["model"]
    assert model.default == {"depth": 3, "lr": 0.1}
    assert model.resolve(("run", {"model": {"depth": 9}})) == ({"depth": 9, "lr": 0.1}, "run")


def test_a_stronger_layer_keeps_the_keys_that_a_weaker_one_set(tmp_path: Path) -> None:
    model = parameters_of(tmp_path, '{"model": {"depth": 3, "lr": 0.1}}')["model"]
    layers = (("experiment", {"model": {"lr": 0.2}}), ("run", {"model": {"depth": 5}}))
    assert model.resolve(*layers) == ({"depth": 5, "lr": 0.2}, "run")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            '{"n": Field(int)}',
            (
                "config_schema.n: the field has no default | "
                "give default_value=..., so that the notebook also runs by itself"
            ),
        ),
        (
            '{"n": Field(int, default_value="x")}',
            "config_schema.n: the default 'x' is no int | change the default, or the type to str",
        ),
        (
            '{"n": Field(int, default=3)}',
            "config_schema.n: Field has no argument 'default' | did you mean 'default_value'?",
        ),
        (
            '{"n": Field(int, default_value=1 / 0)}',
            "config_schema.n: `1 / 0` is no literal | write the value out",
        ),
        (
            '{"n": Field(ndarray, default_value=1)}',
            (
                "config_schema.n: the type `ndarray` is not known here; "
                "known are: bool, dict, float, int, list, str | "
                'write Field(int, default_value=100, description="..."), or a dict of such fields'
            ),
        ),
        (
            "make_schema()",
            (
                "config_schema: `make_schema()` is no dict of fields | "
                'write Field(int, default_value=100, description="..."), or a dict of such fields'
            ),
        ),
        (
            '{"n": 1, "n": 2}',
            "config_schema: the key 'n' stands twice | keep one of the two",
        ),
        (
            '{"two words": 1}',
            "config_schema: the name 'two words' is no identifier | name it as a variable is named",
        ),
    ],
)
def test_a_field_that_cannot_be_read_is_told(tmp_path: Path, schema: str, message: str) -> None:
    assert messages(spec_of(tmp_path, schema)[1]) == [message]


def test_the_message_stands_at_the_line_of_the_field(tmp_path: Path) -> None:
    _, (problem,) = spec_of(tmp_path, '{\n        "a": 1,\n        "b": Field(int),\n    }')
    assert str(problem.where) == "stages/train/fit.ipynb, cell 1 (op_parameters), line 4"


def test_a_parameter_is_declared_in_one_of_the_two_places(tmp_path: Path) -> None:
    _, problems = spec_of(tmp_path, '{"n": 1}', parameters="n: int = 2")
    assert messages(problems) == [
        (
            "config_schema.n: the parameters cell declares 'n' too | "
            "declare it in one of the two places"
        )
    ]


def test_reading_a_schema_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    spec_of(tmp_path, f'{{"n": Field(open({str(canary)!r}, "w"), default_value=1)}}')
    assert not canary.exists()


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [("date", "2024-02-29", "2023-02-29"), ("datetime", "2024-01-01T06:00:00+00:00", "noon")],
)
def test_a_date_is_text_in_iso_8601(kind: str, good: str, bad: str) -> None:
    assert ParameterType(kind).accepts(good)
    assert not ParameterType(kind).accepts(bad)


def test_the_skeleton_of_a_notebook_declares_its_parameters_in_a_cell(tmp_path: Path) -> None:
    file = tmp_path / "new.ipynb"
    file.write_text(notebook("# New", {}, "n: int = 1  # of them", "pass"), encoding="utf-8")
    spec = read_spec(read_notebook(file, "stages/train/new.ipynb"), [])
    assert spec is not None
    assert not spec.parameters["n"].in_schema
