"""`checks` of `op_parameters`: what outs have to hold, and what is told of a wrong declaration."""

from __future__ import annotations

from textwrap import dedent

import pytest

from dsml.contract.checks import Check, Rows, Values
from dsml.contract.problem import render
from dsml.contract.schema_problems import schema_problems

from .conftest import step_cells

OUTS = '"outs": {"table": "table.parquet", "X": "X.npy", "model": "model.joblib"}'


@pytest.fixture
def read_checks(spec_of):
    """The checks of a step, from the text of their dict, and what is told of them."""

    def read_checks(checks):
        spec, message = spec_of(step_cells(f'{{{OUTS},\n"checks": {checks}}}'))
        return spec and dict(spec.checks), message

    return read_checks


@pytest.fixture
def refused(read_checks):
    """What is told of the check of an out: what is wrong, how to mend it, what else is wrong."""

    def refused(check, out="table"):
        message = read_checks(f'{{"{out}": {check}}}')[1]
        findings = [text.split("\n") for text in message.split("\n\n")]
        assert {where for where, *_ in findings} == {
            "stages/train/fit.ipynb, cell 1 (op_parameters), line 2"
        }
        return [line.strip() for _, *lines in findings for line in lines]

    return refused


# --- what can be declared


def test_a_step_without_checks_has_none(spec_of):
    assert spec_of(step_cells("{}"))[0].checks == {}


def test_a_check_of_a_table_holds_columns_uniqueness_rows_and_a_schema(read_checks):
    checks, message = read_checks(
        """{"table": {
            "columns": {
                "label": {"type": "int", "min": 0, "max": 9, "nullable": False, "in": [1, 2]},
                "code": {"type": "str", "matches": "[a-z]+", "unique": True, "optional": True},
                "other": {},
            },
            "unique": ["id", "date"],
            "rows": {"min": 1, "max": 10},
            "strict": True,
            "schema": "my_package.schemas:Table",
            "blocking": True,
        }}"""
    )
    assert message == ""
    assert checks == {
        "table": Check(
            columns={
                "label": Values("int", nullable=False, min=0, max=9, among=(1, 2)),
                "code": Values("str", matches="[a-z]+", unique=True, optional=True),
                "other": Values(),
            },
            unique=("id", "date"),
            rows=Rows(1, 10),
            strict=True,
            schema="my_package.schemas:Table",
            blocking=True,
        )
    }


def test_a_check_of_an_array_holds_values_and_a_shape(read_checks):
    checks, message = read_checks(
        '{"X": {"type": "float", "min": 0, "nullable": False, "shape": [None, 64]}}'
    )
    assert message == ""
    values = Values("float", nullable=False, min=0)
    assert checks == {"X": Check(values=values, shape=(None, 64))}


def test_a_check_does_not_block_unless_it_says_so(read_checks):
    assert not read_checks('{"table": {"rows": {"min": 1}}}')[0]["table"].blocking


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ('{"min": 0}', "float"),
        ('{"max": "2024-01-31"}', "datetime"),
        ('{"matches": "a+"}', "str"),
        ('{"in": [1, "a"]}', ""),
    ],
)
def test_a_type_that_is_not_declared_follows_from_the_rules(read_checks, rules, kind):
    checks, message = read_checks(f'{{"table": {{"columns": {{"x": {rules}}}}}}}')
    assert (checks["table"].columns["x"].type, message) == (kind, "")


def test_the_rules_are_described_in_words():
    check = Check(
        columns={"x": Values("int", nullable=False, max=9), "y": Values()},
        unique=("x", "y"),
        rows=Rows(min=1),
        strict=True,
        schema="p:T",
    )
    assert check.description == dedent(
        """\
        column 'x': type int, not null, max 9
        column 'y': any value
        unique together: x, y
        rows: min 1
        no other columns
        schema: p:T"""
    )
    assert (
        Check(values=Values(min=0), shape=(None, 64)).description == "values: min 0\nshape: ? x 64"
    )


# --- what is wrong with a declaration


@pytest.mark.parametrize("value", ["[1]", "'table'", "True"])
def test_checks_are_a_dict(read_checks, value):
    assert "is no dict of checks" in read_checks(value)[1]


def test_a_check_of_an_out_that_there_is_not_is_told(refused):
    assert refused('{"rows": {"min": 1}}', "tabel") == [
        "checks.tabel: there is no out 'tabel'",
        "did you mean 'table'?",
    ]


def test_a_check_in_a_step_without_outs_is_told(spec_of):
    message = spec_of(step_cells('{"checks": {"table": {"rows": {"min": 1}}}}'))[1]
    assert message.split("\n")[1:] == [
        "  checks.table: there is no out 'table'",
        "  the step declares no outs",
    ]


def test_of_an_out_that_is_wrong_only_that_is_told(spec_of):
    declared = '{"outs": {"table": "a/b.csv"}, "checks": {"table": {"rows": {"min": 1}}}}'
    message = spec_of(step_cells(declared))[1]
    assert "outs.table: 'a/b.csv' is no file name" in message
    assert "checks" not in message


def test_a_file_that_is_no_table_and_no_array_cannot_be_checked(refused):
    assert refused('{"rows": {"min": 1}}', "model") == [
        "checks.model: 'model.joblib' cannot be checked",
        "there are checks for .parquet, .csv, .json, .npy; write what is to be checked as one",
    ]


@pytest.mark.parametrize("check", ["{}", '{"blocking": True}', '{"columns": {}}', '{"rows": None}'])
def test_a_check_that_checks_nothing_is_told(refused, check):
    assert refused(check) == [
        "checks.table: nothing is checked",
        "write some of columns, unique, rows, schema, or leave it out",
    ]


@pytest.mark.parametrize(
    ("check", "what", "fix"),
    [
        (
            "[1]",
            ": [1] is no dict of rules",
            "write a dict with some of columns, unique, rows, schema, strict, blocking",
        ),
        ('{"column": {}}', ".column: no such key", "did you mean 'columns'?"),
        (
            '{"columns": ["x"]}',
            ".columns: ['x'] is no mapping",
            "write it as {key: value}",
        ),
        ('{"rows": 10}', ".rows: 10 is no dict of bounds", 'write "rows": {"min": 1, "max": 1000}'),
        ('{"rows": {"min": -1}}', ".rows.min: -1 is no number of rows", "write 0 or more"),
        ('{"rows": {"least": 1}}', ".rows.least: no such key", "known are: max, min"),
        (
            '{"rows": {"min": 3, "max": 2}}',
            ".rows.min: 3 is more than max, which is 2",
            "exchange the two",
        ),
        ('{"unique": 1}', ".unique: 1 is no list of names", "write unique: [a, b]"),
        (
            '{"rows": {"min": 1}, "strict": True}',
            ".strict: no columns are declared",
            'name those that there may be: "columns": {"column": {}}',
        ),
        (
            '{"rows": {"min": 1}, "blocking": 1}',
            ".blocking: 1 is neither true nor false",
            "write true or false",
        ),
        (
            '{"schema": "schemas.Table"}',
            ".schema: 'schemas.Table' names no schema",
            'write "module:name", such as "my_package.schemas:Table"',
        ),
        (
            '{"schema": "../schemas:Table"}',
            ".schema: '../schemas:Table' names no schema",
            'write "module:name", such as "my_package.schemas:Table"',
        ),
    ],
)
def test_a_wrong_rule_of_a_table_is_told(refused, check, what, fix):
    assert refused(check) == [f"checks.table{what}", fix]


@pytest.mark.parametrize(
    ("rules", "what", "fix"),
    [
        ("3", ": 3 is no mapping", "write it as {key: value}"),
        ('{"minimum": 0}', ".minimum: no such key", "did you mean 'min'?"),
        (
            '{"type": "category"}',
            ".type: there is no type 'category'",
            "known are: bool, date, datetime, float, int, str",
        ),
        ('{"type": "flaot"}', ".type: there is no type 'flaot'", "did you mean 'float'?"),
        ('{"nullable": "no"}', ".nullable: 'no' is neither true nor false", "write true or false"),
        ('{"min": 3, "max": 2}', ".min: 3 is more than max, which is 2", "exchange the two"),
        (
            '{"min": "2024-02-01", "max": "2024-01-31T00:00+01:00"}',
            ".min: 2024-02-01 is more than max, which is 2024-01-31T00:00+01:00",
            "exchange the two",
        ),
        (
            '{"type": "int", "min": "a"}',
            ".min: 'a' is no bound for values of type int",
            "write a number",
        ),
        ('{"min": True}', ".min: True is no bound for values of type float", "write a number"),
        (
            '{"type": "date", "max": "tomorrow"}',
            ".max: 'tomorrow' is no bound for values of type date",
            'write a date in quotes, such as "2024-01-31"',
        ),
        (
            '{"max": "tomorrow"}',
            ".max: 'tomorrow' is no bound for values of type datetime",
            'write a time in quotes, such as "2024-01-31T06:00"',
        ),
        (
            '{"type": "str", "min": 1}',
            ".min: values of type str have no min",
            "min is for columns of type int, float, date, datetime",
        ),
        (
            '{"in": "ab"}',
            ".in: 'ab' is no list of values",
            'write the values that there may be: "in": ["a", "b"]',
        ),
        (
            '{"in": []}',
            ".in: [] is no list of values",
            'write the values that there may be: "in": ["a", "b"]',
        ),
        ('{"type": "int", "in": [1, "2"]}', ".in.1: '2' is no int", "write a whole number"),
        ('{"in": [[1]]}', ".in.0: [1] is no single value", "write numbers, texts, True or False"),
        (
            '{"in": [None]}',
            ".in.0: null is no value",
            "leave it out: whether there may be nulls is said by nullable",
        ),
        (
            '{"matches": "("}',
            (
                ".matches: '(' is no regular expression: "
                "missing ), unterminated subpattern at position 0"
            ),
            "write one as Python's re reads it",
        ),
        (
            '{"type": "int", "matches": "1"}',
            ".matches: values of type int have no pattern",
            'matches is for columns of type "str"',
        ),
    ],
)
def test_a_wrong_rule_of_a_column_is_told(refused, rules, what, fix):
    assert refused(f'{{"columns": {{"x": {rules}}}}}') == [f"checks.table.columns.x{what}", fix]


@pytest.mark.parametrize(
    ("check", "what", "fix"),
    [
        ('{"columns": {"x": {}}, "max": 1}', ".columns: no such key", None),
        ("{}", ": nothing is checked", None),
        (
            '{"shape": [64, -1]}',
            ".shape: [64, -1] is no shape",
            "write the length of each dimension, None for any: [None, 64]",
        ),
        ('{"min": 3, "max": 2}', ".min: 3 is more than max, which is 2", "exchange the two"),
    ],
)
def test_a_wrong_rule_of_an_array_is_told(refused, check, what, fix):
    found = refused(check, "X")
    assert found[0] == f"checks.X{what}"
    assert fix in (None, found[1])


def test_all_that_is_wrong_is_told(refused):
    found = refused('{"columns": {"x": {"type": "integer"}, "y": {"min": True}}, "rows": 1}')
    assert [line.partition(": ")[0] for line in found[::2]] == [
        "checks.table.columns.x.type",
        "checks.table.columns.y.min",
        "checks.table.rows",
    ]


# --- schemas of the project's own


@pytest.fixture
def schema_message(make, spec_of):
    """What is told of the schema that a check names, in the project in ``make``."""

    def schema_message(schema="lib.schemas:Table"):
        checks = f'{{"table": {{"schema": "{schema}"}}}}'
        spec, message = spec_of(step_cells(f'{{{OUTS},\n"checks": {checks}}}'))
        assert message == ""
        return render(schema_problems(make.root, spec)).split("\n")[1:]

    return schema_message


@pytest.mark.parametrize(
    "source",
    [
        "Table = pa.DataFrameSchema({})",
        "Table: object = None",
        "class Table(pa.DataFrameModel): pass",
        "from other import Table",
        "from other import *",
        "if 1:\n    Table = 1",
        "with open('x') as Table:\n    pass",
        "for Table in (1,):\n    pass",
        "if (Table := 1):\n    pass",
        "match 1:\n    case 1:\n        Table = 1",
        "Table = '\\d'",
        "\ufeffTable = 1",
    ],
)
def test_a_schema_is_found_without_running_its_module(make, schema_message, source):
    make.file("lib/schemas.py", f"{source}\nraise SystemExit\n")
    assert schema_message() == []


def test_a_package_can_hold_schemas_itself(make, schema_message):
    make.file("lib/schemas/__init__.py", "Table = 1")
    assert schema_message() == []


def test_a_schema_of_a_module_that_is_not_there_is_told(schema_message):
    assert schema_message() == [
        "  checks.table.schema: the project has no module 'lib.schemas'",
        "  write lib/schemas.py, or correct the name",
    ]


def test_a_schema_that_a_module_does_not_assign_is_told(make, schema_message):
    used = "def f():\n    Table = 1\nprint(Table)\n"
    make.file("lib/schemas.py", f"import pandera.pandas as pa\nTabel = 1\n{used}")
    assert schema_message() == [
        "  checks.table.schema: lib/schemas.py assigns no 'Table'",
        "  did you mean 'Tabel'?",
    ]


def test_a_schema_in_an_empty_module_is_told(make, schema_message):
    make.file("lib/schemas.py", "")
    assert schema_message()[1] == "  assign it there: Table = pa.DataFrameSchema(...)"


@pytest.mark.parametrize("source", [b"Table = (", b"\xff\xfe", b"\0"])
def test_a_module_of_schemas_that_cannot_be_read_is_told(make, schema_message, source):
    make.file("lib/schemas.py", source)
    what, fix = schema_message()
    assert what.startswith("  checks.table.schema: lib/schemas.py cannot be read: ")
    assert fix == "  mend the file"
