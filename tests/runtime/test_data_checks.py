"""Checks on data: the rules that an out breaks, what is told of them, what Dagster shows."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from datetime import UTC, date, datetime
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest
from dagster import (
    AssetKey,
    AssetSpec,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    Failure,
    MaterializeResult,
    StaticPartitionsDefinition,
    define_asset_job,
    multi_asset,
)

from dsml.contract.interface import read_interface
from dsml.contract.problem import Problem, Where
from dsml.contract.spec import StepSpec
from dsml.orchestrate.data_checks import check_evaluation, check_result, check_results, check_specs
from dsml.step.checks import Broken, CheckResult, ChecksFailed, combined, judge, run_checks
from dsml.step.formats import save

from .conftest import execute
from .projects import Step, manifests_of, write_project


def step_with(check, file="table.parquet"):
    """The step `a.b` whose out `table` has a check."""
    problems = []

    def report(keys, what, fix, name):
        problems.append(Problem(Where("a/b"), f"{'.'.join(keys)}: {what}", fix, name))

    interface = read_interface(report, {"outs": {"table": file}, "checks": {"table": check}})
    assert problems == []
    return StepSpec("a", "b", "stages/a/b.ipynb", outs=interface.outs, checks=interface.checks)


@pytest.fixture
def result(tmp_path):
    """The result of the check of a file, which is written from an object, or from its bytes."""

    def result(check, content, file="table.parquet", root=None):
        path = tmp_path / file
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save(content, path)
        (found,) = run_checks(step_with(check, file), root or tmp_path, {"table": path})
        return found

    return result


@pytest.fixture
def broken(result):
    """What is told of the rules that a file breaks."""
    return lambda *arguments, **named: [str(p) for p in result(*arguments, **named).problems]


def column(name="x", **rules):
    """A check of one column."""
    return {"columns": {name: rules}}


# --- what is told


def test_a_broken_rule_is_told_with_column_rule_number_of_rows_and_the_first_of_them(broken):
    frame = pd.DataFrame({"label": [1, 2, 11, 3, 12, 12]})
    assert broken(column("label", type="int", min=0, max=9), frame) == [
        "column 'label', rule 'max 9': 3 rows, at 2, 4, 5: 11, 12, 12"
    ]


def test_of_many_rows_the_first_five_are_named(broken):
    assert broken(column(max=9), pd.DataFrame({"x": range(2010)})) == [
        "column 'x', rule 'max 9': 2,000 rows, first at 10, 11, 12, 13, 14: 10, 11, 12, 13, 14"
    ]


def test_all_broken_rules_are_told(broken):
    check = {
        "columns": {"x": {"min": 0, "nullable": False}, "y": {"in": ["a"]}, "z": {}},
        "rows": {"max": 2},
    }
    assert broken(check, pd.DataFrame({"x": [-1.5, None, 1], "y": ["a", "b", None]})) == [
        "the rows, rule 'max 2': there are 3",
        "column 'z', rule 'is there': there is no such column",
        "column 'x', rule 'not null': 1 row, at 1: null",
        "column 'x', rule 'min 0': 1 row, at 0: -1.5",
        "column 'y', rule 'in {a}': 1 row, at 1: 'b'",
    ]


def test_a_table_that_keeps_the_rules_passes_and_its_size_is_told(result):
    found = result(column(type="int", min=1), pd.DataFrame({"x": [1, 2], "y": [0, 0]}))
    assert (found.passed, found.rows, found.columns) == (True, 2, 2)


def test_an_out_that_was_not_written_is_not_checked(tmp_path):
    step = step_with(column(min=0))
    assert run_checks(step, tmp_path, {"table": tmp_path / "table.parquet"}) == []
    assert run_checks(step, tmp_path, {}) == []


def test_long_values_are_cut_short(broken):
    (told,) = broken(column(**{"in": ["a"]}), pd.DataFrame({"x": ["b" * 1000]}))
    assert len(told) < 120


# --- rules


@pytest.mark.parametrize(
    ("rules", "values", "rows"),
    [
        ({"nullable": False}, [1, None, 2], "1 row, at 1: null"),
        ({"unique": True}, [1, 2, 1], "2 rows, at 0, 2: 1, 1"),
        ({"unique": True}, ["a", None, None], ""),
        ({"min": 0}, [0, -1, None], "1 row, at 1: -1.0"),
        ({"max": 0.5}, [0.5, 0.6], "1 row, at 1: 0.6"),
        ({"in": ["a", "b"]}, ["a", "c", None], "1 row, at 1: 'c'"),
        ({"matches": "[a-z]+"}, ["ab", "ab1", "", None], "2 rows, at 1, 2: 'ab1', ''"),
        ({"matches": "(?i)a(?=b)b"}, ["AB", "ac"], "1 row, at 1: 'ac'"),
    ],
)
def test_a_rule_holds_for_each_value_that_is_no_null(broken, rules, values, rows):
    told = broken(column(**rules), pd.DataFrame({"x": values}))
    assert [text.partition("': ")[2] for text in told] == ([rows] if rows else [])


def test_columns_can_be_unique_together(broken):
    frame = pd.DataFrame({"id": [1, 1, 2, 1], "day": ["a", "b", "a", "a"], "x": [0, 0, 0, 0]})
    assert broken({"unique": ["id", "day"]}, frame) == [
        "columns 'id', 'day', rule 'unique together': 2 rows, at 0, 3: 1, 'a', 1, 'a'"
    ]


def test_of_columns_that_are_unique_together_each_has_to_be_there(broken):
    assert broken({"unique": ["id", "day"]}, pd.DataFrame({"id": [1, 1]})) == [
        "column 'day', rule 'is there': there is no such column"
    ]


def test_a_table_may_have_too_few_rows(broken):
    assert broken({"rows": {"min": 1}}, pd.DataFrame({"x": []})) == [
        "the rows, rule 'min 1': there are 0"
    ]


def test_other_columns_are_allowed_unless_the_check_is_strict(broken):
    frame = pd.DataFrame({"x": [1], "y": [2]})
    assert broken({"columns": {"x": {}}}, frame) == []
    assert broken({"columns": {"x": {}}, "strict": True}, frame) == [
        "column 'y', rule 'no other columns': it is not declared"
    ]


def test_an_optional_column_need_not_be_there_and_is_checked_if_it_is(broken):
    rules = {"optional": True, "min": 0}
    assert broken(column(**rules), pd.DataFrame({"y": [1]})) == []
    assert len(broken(column(**rules), pd.DataFrame({"x": [-1]}))) == 1


def test_a_star_in_a_name_stands_for_all_columns_that_are_not_named(broken):
    check = {"columns": {"pixel_*": {"max": 16}, "pixel_1": {"max": 99}}, "strict": True}
    frame = pd.DataFrame({"pixel_0": [17], "pixel_1": [17], "pixel_2": [16]})
    assert broken(check, frame) == ["column 'pixel_0', rule 'max 16': 1 row, at 0: 17"]


def test_a_star_that_fits_no_column_is_told(broken):
    assert broken(column("pixel_*"), pd.DataFrame({"x": [1]})) == [
        "column 'pixel_*', rule 'is there': there is no such column"
    ]


def test_a_named_index_is_a_column(broken):
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index([7, 7], name="id"))
    assert broken({"columns": {"id": {"unique": True}, "x": {}}, "strict": True}, frame) == [
        "column 'id', rule 'unique': 2 rows, at 0, 1: 7, 7"
    ]


def test_rows_are_counted_from_zero_whatever_the_index(broken):
    frame = pd.DataFrame({"x": [1, -1]}, index=[10, 20])
    assert broken(column(min=0), frame) == ["column 'x', rule 'min 0': 1 row, at 1: -1"]


def test_the_environment_cannot_switch_checks_off(broken, monkeypatch):
    from pandera.config import CONFIG

    monkeypatch.setattr(CONFIG, "validation_enabled", False)
    assert len(broken(column(min=0), pd.DataFrame({"x": [-1]}))) == 1


# --- types


DAY = date(2024, 1, 31)


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        ("int", [1, -2]),
        ("int", [1.0, None]),
        ("int", pd.array([1, None], dtype="Int64")),
        ("int", pd.array([1, 2], dtype="uint8")),
        ("int", pd.Categorical([1, 2, 1])),
        ("float", [1, 2]),
        ("float", [1.5, None, math.inf]),
        ("str", ["a", "", None]),
        ("str", pd.Categorical(["a", "b"])),
        ("bool", [True, False]),
        ("bool", pd.array([True, None], dtype="boolean")),
        ("date", [DAY, None]),
        ("date", ["2024-01-31"]),
        ("date", pd.to_datetime(["2024-01-31"])),
        ("date", pd.to_datetime(["2024-01-31"]).tz_localize("Europe/Berlin")),
        ("datetime", [datetime(2024, 1, 31, 6, tzinfo=UTC)]),
        ("datetime", ["2024-01-31T06:00+01:00", "2024-01-31"]),
        ("datetime", pd.to_datetime(["2024-01-31T06:00"]).tz_localize("Europe/Berlin")),
        *((kind, pd.Series([], dtype=object)) for kind in ("int", "str", "bool", "datetime")),
        *((kind, [None, None]) for kind in ("int", "float", "str", "bool", "date")),
    ],
)
def test_a_column_is_of_a_type_by_its_values(broken, kind, good):
    assert broken(column(type=kind), pd.DataFrame({"x": good})) == []


@pytest.mark.parametrize(
    ("kind", "bad", "rows"),
    [
        ("int", [1.0, 1.5], "1 row, at 1: 1.5"),
        ("int", [1.0, math.inf], "1 row, at 1: inf"),
        ("int", [True], "1 row, at 0: True"),
        ("int", ["1"], "1 row, at 0: '1'"),
        ("float", ["1", None], "1 row, at 0: '1'"),
        ("float", [True, False], "2 rows, at 0, 1: True, False"),
        ("str", [1, 2], "2 rows, at 0, 1: 1, 2"),
        ("bool", [0, 1], "2 rows, at 0, 1: 0, 1"),
        ("bool", ["True"], "1 row, at 0: 'True'"),
        ("date", ["2024-01-31", "31.1.2024"], "1 row, at 1: '31.1.2024'"),
        ("date", [20240131], "1 row, at 0: 20240131"),
        ("date", ["2024-01-31T06:00"], "1 row, at 0: '2024-01-31T06:00'"),
        ("datetime", ["2024-02-30"], "1 row, at 0: '2024-02-30'"),
    ],
)
def test_values_of_another_type_are_told(broken, kind, bad, rows):
    assert broken(column(type=kind), pd.DataFrame({"x": bad})) == [
        f"column 'x', rule 'type {kind}': {rows}"
    ]


def test_of_a_column_with_values_of_another_type_no_other_rule_on_values_is_told(broken):
    rules = {"type": "int", "min": 5, "in": [7], "nullable": False}
    assert broken(column(**rules), pd.DataFrame({"x": ["a", None]})) == [
        "column 'x', rule 'type int': 1 row, at 0: 'a'",
        "column 'x', rule 'not null': 1 row, at 1: null",
    ]


def test_bounds_are_for_dates_too(broken):
    rules = {"type": "date", "min": "2024-01-02", "in": ["2024-01-01", "2024-01-03"]}
    frame = pd.DataFrame({"x": ["2024-01-01", "2024-01-03"]})
    assert broken(column(**rules), frame) == [
        "column 'x', rule 'min 2024-01-02': 1 row, at 0: 2024-01-01 00:00:00+00:00"
    ]


def test_times_are_compared_across_time_zones_and_without_one_are_in_utc(broken):
    frame = pd.DataFrame({"x": ["2024-01-01T07:00+02:00", "2024-01-01T07:00"]})
    assert [text[-26:] for text in broken(column(min="2024-01-01T06:00+00:00"), frame)] == [
        " 2024-01-01 05:00:00+00:00"
    ]


# --- formats


def test_one_word_among_the_numbers_of_a_csv_is_the_only_one_told(broken):
    check = column(type="int", max=9)
    assert broken(check, b"x\n1\nabc\n\n3\n", "table.csv") == [
        "column 'x', rule 'type int': 1 row, at 1: 'abc'"
    ]


def test_text_of_a_csv_may_look_like_numbers(broken):
    check = {"columns": {"code": {"type": "str", "matches": "[0-9]{3}"}, "n": {"type": "int"}}}
    assert broken(check, b"code,n\n001,1\n12,\n", "table.csv") == [
        "column 'code', rule 'matches [0-9]{3}': 1 row, at 1: '12'"
    ]


def test_one_word_among_the_flags_of_a_csv_is_the_only_one_told(broken):
    assert broken(column(type="bool"), b"x\nTrue\nno\nfalse\n", "table.csv") == [
        "column 'x', rule 'type bool': 1 row, at 1: 'no'"
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([{"x": 1}, {"x": -1}], ["column 'x', rule 'min 0': 1 row, at 1: -1"]),
        ([{"x": 1}, {}, {"x": -1}], ["column 'x', rule 'min 0': 1 row, at 2: -1.0"]),
        ({"x": -1, "y": [1, 2]}, ["column 'x', rule 'min 0': 1 row, at 0: -1"]),
        ({"x": "1"}, ["column 'x', rule 'type float': 1 row, at 0: '1'"]),
        ({}, ["column 'x', rule 'is there': there is no such column"]),
        ([], ["column 'x', rule 'is there': there is no such column"]),
        ([1, 2], ["column 'x', rule 'is there': there is no such column"]),
    ],
)
def test_json_is_a_table_of_objects(broken, content, told):
    assert broken(column(min=0), content, "table.json") == told


def test_a_json_list_of_values_is_one_column(broken):
    assert broken(column("value", type="int", max=1), [1, 2, None], "table.json") == [
        "column 'value', rule 'max 1': 1 row, at 1: 2"
    ]


def test_numbers_in_json_are_what_they_are_written_as(broken):
    assert broken(column(type="bool"), [{"x": True}, {"x": 1}], "table.json") == [
        "column 'x', rule 'type bool': 1 row, at 1: 1"
    ]


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ({"max": 5, "nullable": False}, ["the values, rule 'not null': 1 value, at (1, 1): null"]),
        ({"min": 1}, ["the values, rule 'min 1': 1 value, at (0, 0): 0.0"]),
        ({"type": "int"}, ["the values, rule 'type int': 1 value, at (0, 1): 1.5"]),
        ({"shape": [None, 2]}, []),
        ({"shape": [None, 64]}, ["the shape, rule '? x 64': it is 2 x 2"]),
        ({"shape": [2]}, ["the shape, rule '2': it is 2 x 2"]),
        ({"rows": {"min": 3}}, ["the rows, rule 'min 3': there are 2"]),
    ],
)
def test_an_array_has_values_and_a_shape(broken, check, told):
    assert broken(check, np.array([[0, 1.5], [3, np.nan]]), "table.npy") == told


def test_the_values_of_a_list_are_counted_by_one_number(broken):
    assert broken({"in": [0, 1]}, np.array([0, 2, 1]), "table.npy") == [
        "the values, rule 'in {0, 1}': 1 value, at 1: 2"
    ]


@pytest.mark.parametrize("content", [np.array(3), np.empty((0, 4))])
def test_an_array_may_be_one_value_or_none(broken, content):
    assert broken({"type": "float", "max": 9}, content, "table.npy") == []


@pytest.mark.parametrize("file", ["table.parquet", "table.csv", "table.json", "table.npy"])
def test_a_file_that_cannot_be_read_fails_the_check(result, file):
    check = {"rows": {"min": 1}} | ({"max": 1} if file.endswith("npy") else {})
    found = result(check, b"", file)
    assert not found.passed
    assert str(found.problems[0]).startswith(f"the file '{file}', rule 'can be checked': ")
    assert "\n" not in str(found.problems[0])


# --- schemas of the project's own


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write the module `schemas_of_the_project`; it is forgotten after the test."""

    def own(source):
        (tmp_path / "schemas_of_the_project.py").write_text(dedent(source), encoding="utf-8")
        return {"schema": "schemas_of_the_project:Table"}

    yield own
    import sys

    sys.modules.pop("schemas_of_the_project", None)


def test_a_schema_of_the_projects_own_is_told_as_the_rules_are(own, broken):
    check = own(
        """
        import pandera.pandas as pa

        Table = pa.DataFrameSchema(
            {
                "x": pa.Column(int, pa.Check.le(9)),
                "y": pa.Column(str, unique=True),
                "z": pa.Column(),
            },
            checks=pa.Check(lambda frame: frame["x"] > 0, name="x_is_positive"),
        )
        """
    )
    frame = pd.DataFrame({"x": [1, 11, 12, 0], "y": ["a", "a", "b", "c"]})
    assert broken(check, frame) == [
        "column 'z', rule 'is there': there is no such column",
        "column 'x', rule 'less_than_or_equal_to(9)': 2 rows, at 1, 2: 11, 12",
        "column 'y', rule 'unique': 2 rows, at 0, 1: 'a', 'a'",
        "columns 'x', 'y', rule 'x_is_positive': 1 row, at 3: 0, 'c'",
    ]


def test_a_model_of_the_projects_own_is_a_schema_too(own, broken):
    check = own(
        """
        import pandera.pandas as pa

        class Table(pa.DataFrameModel):
            x: int = pa.Field(ge=0)
        """
    )
    assert broken(check, pd.DataFrame({"x": [0.5, -1]})) == [
        "column 'x', rule 'type int64': it is float64",
        "column 'x', rule 'greater_than_or_equal_to(0)': 1 row, at 1: -1.0",
    ]


def test_a_schema_of_the_projects_own_sees_json_with_the_types_that_pandas_gives_it(own, broken):
    check = own("import pandera.pandas as pa\nTable = pa.DataFrameSchema({'x': pa.Column(int)})")
    assert broken(check, [{"x": 1}, {"x": 2}], "table.json") == []


def test_the_findings_of_an_own_schema_name_the_index_that_it_sees(own, broken):
    check = own(
        """
        import pandera.pandas as pa

        columns = {"x": pa.Column(int, pa.Check.ge(0))}
        Table = pa.DataFrameSchema(columns, index=pa.Index(str, name="id"))
        """
    )
    frame = pd.DataFrame({"x": [1, -1]}, index=pd.Index(["a", "b"], name="id"))
    assert broken(check, frame) == [
        "column 'x', rule 'greater_than_or_equal_to(0)': 1 row, at 'b': -1"
    ]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("Table = 1", "TypeError: it is no pandera schema, but 1"),
        ("raise ValueError('no\\nway')", "ValueError: no"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_schema_that_cannot_be_used_fails_the_check(own, broken, source, told):
    check = own(source)
    assert broken(check, pd.DataFrame({"x": [1]})) == [
        f"the schema 'schemas_of_the_project:Table', rule 'can be used': {told}"
    ]


# --- what follows from a result

BAD = pd.DataFrame({"x": [1, -1]})
MINIMUM = column(min=0)


def judged(result, blocking):
    """The warnings of a check of `BAD`, which may block."""
    warnings = []
    check = MINIMUM | {"blocking": blocking}
    judge(step_with(check), [result(check, BAD)], warnings.append)
    return warnings


def test_a_failed_check_that_blocks_is_the_message_for_the_user(result):
    with pytest.raises(ChecksFailed) as caught:
        judged(result, blocking=True)
    assert str(caught.value) == (
        "stages/a/b.ipynb\n"
        "  checks.table: 'table.parquet' breaks a rule\n"
        "  column 'x', rule 'min 0': 1 row, at 1: -1\n"
        "  nothing was published: mend what the step writes, or the rule"
    )
    assert [found.out for found in caught.value.results] == ["table"]


def test_a_failed_check_that_does_not_block_is_a_warning(result):
    (warning,) = judged(result, blocking=False)
    assert warning == (
        "stages/a/b.ipynb\n"
        "  warning: checks.table: 'table.parquet' breaks a rule\n"
        "  column 'x', rule 'min 0': 1 row, at 1: -1\n"
        '  it is published all the same; "blocking": True in the check would stop it'
    )


def test_of_many_broken_rules_the_first_twenty_are_told(result):
    check = {"columns": {f"c{i}": {} for i in range(23)}, "blocking": True}
    with pytest.raises(ChecksFailed) as caught:
        judge(step_with(check), [result(check, BAD)], print)
    lines = str(caught.value).split("\n")
    assert lines[1] == "  checks.table: 'table.parquet' breaks 23 rules"
    assert lines[-2] == "  and 3 more"
    assert len(lines) == 1 + 1 + 20 + 1 + 1


def test_the_results_of_instances_are_one_result_that_names_them(result):
    whole = combined({"n_1": result(MINIMUM, BAD), "n_2": result(MINIMUM, BAD[:1])})
    assert [str(p) for p in whole.problems] == ["n_1: column 'x', rule 'min 0': 1 row, at 1: -1"]
    assert (whole.passed, whole.rows, whole.columns) == (False, 3, 1)


def test_a_result_can_be_kept_as_json(result):
    found = result(MINIMUM, BAD)
    assert CheckResult.from_dict(json.loads(json.dumps(asdict(found)))) == found


# --- in Dagster


TABLE = AssetKey(["a", "b", "table"])


def test_a_check_is_declared_to_dagster_with_its_rules():
    (spec,) = check_specs(step_with(MINIMUM | {"blocking": True}))
    assert (spec.asset_key, spec.name, spec.blocking) == (TABLE, "data", True)
    assert spec.description == "column 'x': type float, min 0"


def test_what_came_out_is_shown_as_a_table(result):
    found = result({"columns": {"x": {"min": 0}, "y|z": {}}}, BAD)
    shown = check_result(step_with(MINIMUM), found)
    assert (shown.passed, shown.severity.value) == (False, "WARN")
    assert shown.description == (
        "column 'y|z', rule 'is there': there is no such column; and 1 more"
    )
    assert (shown.metadata["rows"].value, shown.metadata["columns"].value) == (2, 1)
    assert shown.metadata["broken rules"].value == (
        "| of | rule | rows | first | values |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| column 'y\\|z' | is there |  |  | there is no such column |\n"
        "| column 'x' | min 0 | 1 | 1 | -1 |"
    )


def test_a_failed_check_that_blocks_is_an_error(result):
    check = MINIMUM | {"blocking": True}
    assert check_result(step_with(check), result(check, BAD)).severity.value == "ERROR"


def test_the_table_names_the_instances():
    problem = Broken("column 'x'", "min 0", note="no", instance="n_1")
    found = CheckResult("table", blocking=False, problems=(problem,))
    shown = check_result(step_with(MINIMUM), found)
    assert "| n_1: column 'x' | min 0 |" in shown.metadata["broken rules"].value


def test_an_optional_out_that_was_not_written_passes():
    (shown,) = check_results(step_with(MINIMUM), [])
    assert (shown.passed, shown.asset_key, shown.check_name) == (True, TABLE, "data")
    assert shown.description == "the out was not written, so there is nothing to check"


PARTITIONS = StaticPartitionsDefinition(["base", "wide"])


def in_dagster(step, results):
    """A run of an asset with these results of its checks, and of one that depends on it."""

    @multi_asset(
        name="a__b",
        specs=[AssetSpec(TABLE)],
        check_specs=check_specs(step, PARTITIONS),
        partitions_def=PARTITIONS,
    )
    def above():
        if any(found.blocking and not found.passed for found in results):
            yield from (check_result(step, found) for found in results)
            raise Failure("the message")
        yield MaterializeResult(TABLE)
        yield from check_results(step, results)

    @multi_asset(specs=[AssetSpec("below", deps=[TABLE])], partitions_def=PARTITIONS)
    def below():
        yield MaterializeResult("below")

    definitions = Definitions([above, below], jobs=[define_asset_job("all", selection="*")])
    with DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("all").execute_in_process(
            partition_key="wide", instance=instance, raise_on_error=False
        )


def checked(ran):
    """What Dagster has recorded of checks."""
    return [
        event.event_specific_data
        for event in ran.all_events
        if event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION
    ]


def evaluations(ran):
    """Whether the checks passed, and for which partition."""
    return [(event.passed, event.partition) for event in checked(ran)]


def test_a_failed_check_that_blocks_is_recorded_and_stops_what_depends_on_it(result):
    check = MINIMUM | {"blocking": True}
    ran = in_dagster(step_with(check), [result(check, BAD)])
    assert evaluations(ran) == [(False, "wide")]
    assert ran.get_asset_materialization_events() == []
    (failure,) = ran.get_step_failure_events()
    assert failure.event_specific_data.user_failure_data.description == "the message"


def test_a_failed_check_that_does_not_block_is_recorded_and_stops_nothing(result):
    ran = in_dagster(step_with(MINIMUM), [result(MINIMUM, BAD)])
    assert evaluations(ran) == [(False, "wide")]
    assert ran.success
    assert len(ran.get_asset_materialization_events()) == 2


def test_an_op_of_a_graph_can_record_a_check_as_well(result):
    check = MINIMUM | {"blocking": True}
    found = check_evaluation(step_with(check), result(check, BAD), "wide")
    assert (found.passed, found.blocking, found.partition) == (False, True, "wide")
    assert found.asset_check_key == check_specs(step_with(check))[0].key
    assert "min 0" in found.metadata["broken rules"].value


# --- in a run of a project

WRITES = """
import pandas as pd

context.save("table", pd.DataFrame({"x": [context.config.n]}))
"""
READS = 'context.save("count", len(context.load("table")))'


def project_with(root, check, **declared):
    """A step whose table holds its parameter, which is 2, and one that reads the table."""
    above = Step(
        WRITES,
        outs={"table": "table.parquet"},
        parameters="n: int = 2",
        declared={"checks": {"table": check}, **declared},
    )
    below = Step(READS, ins={"table": "a.b.table"}, outs={"count": "count.json"})
    return write_project(root, {"a.b": above, "c.d": below})


BROKEN = "column 'x', rule 'max 1': 1 row, at 0: 2"


def test_a_run_stops_at_a_failed_check_that_blocks_and_publishes_nothing(root):
    ran = execute(project_with(root, column(max=1) | {"blocking": True}))
    where, *told = ran.failure("a.b").split("\n")
    assert where.startswith("stages/a/b.ipynb, cell 2 (op_parameters), line ")
    assert told == [
        "  checks.table: 'table.parquet' breaks a rule",
        f"  {BROKEN}",
        "  nothing was published: mend what the step writes, or the rule",
    ]
    assert evaluations(ran.result) == [(False, "baseline")]
    assert ran.result.get_asset_materialization_events() == []
    assert list((root / "artefacts").rglob("table.parquet")) == []
    assert (ran.attempt("a.b") / "executed.ipynb").is_file()


def test_a_run_goes_on_after_a_failed_check_that_does_not_block(root):
    ran = execute(project_with(root, column(max=1)))
    assert ran.passed
    assert evaluations(ran.result) == [(False, "baseline")]
    assert BROKEN in ran.log
    assert set(manifests_of(root)) == {"a.b", "c.d"}


def test_an_unchanged_step_that_is_not_run_again_has_the_results_that_it_had(root):
    project_with(root, column(max=1), cache=True)
    execute(root)
    again = execute(root)
    assert again.manifest("a.b").cached
    assert evaluations(again.result) == [(False, "baseline")]


def test_a_step_whose_optional_out_is_not_written_passes_its_check(root):
    outs = {"table": {"file": "table.parquet", "optional": True}}
    step = Step("n = 1", outs=outs, declared={"checks": {"table": column(max=1)}})
    ran = execute(write_project(root, {"a.b": step}))
    assert ran.passed
    assert evaluations(ran.result) == [(True, "baseline")]


def write_mapped(root, check):
    """A step that writes a table, mapped over two values, of which the second is 2."""
    step = Step(
        WRITES,
        outs={"table": "table.parquet"},
        parameters="n: int = 1",
        declared={"map": {"n": [1, 2]}, "checks": {"table": check}},
    )
    return write_project(root, {"a.b": step})


def test_a_mapped_step_is_checked_in_each_instance(root):
    ran = execute(write_mapped(root, column(max=1)))
    assert ran.passed
    (event,) = checked(ran.result)
    assert (event.passed, event.description) == (False, f"2: {BROKEN}")


def test_an_instance_of_a_mapped_step_stops_at_a_failed_check_that_blocks(root):
    ran = execute(write_mapped(root, column(max=1) | {"blocking": True}))
    assert BROKEN in ran.failure("a.b.run[2]")
    assert evaluations(ran.result) == [(False, "baseline")]
    assert ran.result.get_asset_materialization_events() == []
