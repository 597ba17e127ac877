"""`op_parameters`: what a notebook declares about itself."""

from __future__ import annotations

from textwrap import dedent

import pytest

from dsml.contract.names import is_identifier, to_identifier

from .conftest import CONTEXT, cell, document, step_cells

HERE = "stages/train/fit.ipynb, cell 1 (op_parameters), line 1"


@pytest.fixture
def refused(spec_of):
    """The message for the value of one key: what is wrong, and how to mend it."""

    def refused(key, value):
        message = spec_of(step_cells(f"{{{key!r}: {value}}}"))[1]
        where, *rest = message.split("\n")
        assert where == HERE
        return [line.strip() for line in rest]

    return refused


def test_a_notebook_declares_description_ins_outs_order_and_tags(spec_of):
    spec, message = spec_of(
        step_cells(
            """{
            "description": "Fit one forest.",
            "ins": {"train": "prepare.split.train"},
            "outs": {"model": "model.joblib"},
            "after": ["load.audit"],
            "tags": {"owner": "us", "team/part": "a b"},
            }""",
            "n: int = 1",
        )
    )
    assert message == ""
    assert (spec.name, spec.path, spec.description) == (
        "train.fit",
        "stages/train/fit.ipynb",
        "Fit one forest.",
    )
    assert spec.ins == {"train": "prepare.split.train"}
    assert spec.outs == {"model": "model.joblib"}
    assert spec.artefacts == {"train.fit.model": "model"}
    assert spec.upstream == {"prepare.split", "load.audit"}
    assert spec.tags == {"owner": "us", "team/part": "a b"}
    assert list(spec.parameters) == ["n"]


def test_an_empty_declaration_is_a_step(spec_of):
    spec, message = spec_of(step_cells("{}"))
    assert (spec.ins, spec.outs, spec.after, message) == ({}, {}, (), "")


def test_a_declaration_may_be_annotated_and_stand_among_other_statements(spec_of):
    source = "%time\nimport os\nop_parameters: dict = {'outs': {}}\nprint(1 / 0)"
    assert spec_of(document(cell(source, "op_parameters")))[1] == ""


def test_the_fingerprint_of_the_code_changes_with_code_cells_only(spec_of):
    plain = spec_of(step_cells("{}"))[0].code
    assert spec_of(step_cells("{}", "", cell("# text", kind="markdown")))[0].code == plain
    assert spec_of(step_cells("{}", "", cell("x = 1")))[0].code != plain


# --- the cell


def test_a_notebook_without_the_cell_is_refused(spec_of):
    assert spec_of(document(cell("x = 1"))) == (
        None,
        (
            "stages/train/fit.ipynb\n"
            "  no cell is tagged 'op_parameters'\n"
            "  add a cell with op_parameters = {...} and tag it (in JupyterLab: property inspector)"
        ),
    )


def test_a_cell_that_lacks_only_its_tag_is_pointed_at(spec_of):
    made = document(cell("# Title", kind="markdown"), cell("op_parameters = {}"))
    assert spec_of(made) == (
        None,
        (
            "stages/train/fit.ipynb, cell 2\n"
            "  the cell assigns op_parameters, but is not tagged 'op_parameters'\n"
            "  add the tag (in JupyterLab: property inspector, cell tags)"
        ),
    )


def test_a_second_tagged_cell_is_refused(spec_of):
    made = document(*(cell("op_parameters = {}", "op_parameters") for _ in range(3)))
    assert spec_of(made)[1] == dedent("""\
        stages/train/fit.ipynb, cell 2 (op_parameters)
          a second cell is tagged 'op_parameters'; the first is cell 1
          keep one of the two

        stages/train/fit.ipynb, cell 3 (op_parameters)
          a second cell is tagged 'op_parameters'; the first is cell 1
          keep one of the two""")


def test_two_assignments_in_one_cell_are_refused(spec_of):
    made = document(cell("op_parameters = {}\n\nop_parameters = {'ins': x}", "op_parameters"))
    assert spec_of(made)[1] == dedent("""\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 3
          op_parameters is assigned twice
          keep one of the two""")


def test_a_tagged_cell_that_assigns_something_else_is_refused(spec_of):
    assert spec_of(document(cell("op_params = {}", "op_parameters")))[1] == dedent("""\
        stages/train/fit.ipynb, cell 1 (op_parameters)
          the cell assigns no op_parameters
          assign one literal dict: op_parameters = {...}""")


def test_a_tagged_cell_that_is_no_python_is_refused(spec_of):
    assert spec_of(document(cell("op_parameters = (\n= 1)", "op_parameters")))[1] == dedent(
        """\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 2
          the cell is no Python: invalid syntax
          mend the line, so that the cell can be read without being run"""
    )


@pytest.mark.parametrize(("value", "shown"), [("[]", "[]"), ("None", "None"), ("'a'", "'a'")])
def test_a_declaration_that_is_no_dict_is_refused(spec_of, value, shown):
    assert spec_of(step_cells(value))[1] == (
        f"{HERE}\n  op_parameters is no dict but {shown}\n  assign one literal dict"
    )


def test_a_declaration_that_is_computed_is_refused(spec_of):
    assert spec_of(step_cells("dict(ins={})"))[1] == (
        f"{HERE}\n  op_parameters: `dict(ins={{}})` is no literal\n"
        "  write the value out; the cell is read without being run"
    )


def test_every_value_that_is_no_literal_is_told_beside_the_other_mistakes(spec_of):
    spec, message = spec_of(
        step_cells("""{
            "description": f"Fit {n}.",
            "outs": {"model": name + ".joblib", "class": "a.txt"},
            "inns": {},
            "ins": {"a": "x.y.z", "a": "x.y.w"},
        }""")
    )
    assert spec is None
    assert message == dedent("""\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 2
          description: `f'Fit {n}.'` is no literal
          write the value out; the cell is read without being run

        stages/train/fit.ipynb, cell 1 (op_parameters), line 3
          outs.model: `name + '.joblib'` is no literal
          write the value out; the cell is read without being run

        stages/train/fit.ipynb, cell 1 (op_parameters), line 3
          outs.class: the name is no identifier
          name it 'class_'

        stages/train/fit.ipynb, cell 1 (op_parameters), line 4
          inns: op_parameters has no such key
          did you mean 'ins'?

        stages/train/fit.ipynb, cell 1 (op_parameters), line 5
          ins: the key 'a' stands twice
          keep one of the two""")


def test_the_parameters_are_checked_even_where_the_declaration_is_missing(spec_of):
    assert (
        "x: the default 1.5 is no int" in spec_of(document(cell("x: int = 1.5", "parameters")))[1]
    )


def test_a_step_with_ins_or_outs_has_to_ask_for_its_context(spec_of):
    made = document(cell("op_parameters = {'outs': {'a': 'a.txt'}}", "op_parameters"))
    assert spec_of(made)[1] == dedent("""\
        stages/train/fit.ipynb, cell 1 (op_parameters)
          no cell calls get_context(op_parameters), so the step has no ins and outs
          add a cell: context = get_context(op_parameters)""")


@pytest.mark.parametrize("call", [CONTEXT, "context = dsml.get_context (op_parameters)"])
def test_any_call_of_get_context_will_do(spec_of, call):
    made = document(cell("op_parameters = {'outs': {'a': 'a.txt'}}", "op_parameters"), cell(call))
    assert spec_of(made)[1] == ""


# --- the keys


KNOWN = "known are: after, cache, checks, config_schema, description, ins, map, needs and 6 more"


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("input", KNOWN),
        ("out", "did you mean 'outs'?"),
        ("descripton", "did you mean 'description'?"),
        ("", KNOWN),
    ],
)
def test_an_unknown_key_is_refused(refused, key, fix):
    assert refused(key, "1") == [f"{key}: op_parameters has no such key", fix]


@pytest.mark.parametrize("key", ["ins", "outs", "tags"])
@pytest.mark.parametrize(("value", "shown"), [("[]", "[]"), ("'a'", "'a'"), ("None", "None")])
def test_ins_outs_and_tags_are_dicts(refused, key, value, shown):
    assert refused(key, value) == [
        f"{key}: {shown} is no dict of names",
        f'write "{key}": {{"name": "..."}}',
    ]


@pytest.mark.parametrize("key", ["ins", "outs", "tags"])
@pytest.mark.parametrize(("value", "shown"), [("1", "1"), ("['b']", "['b']"), ("None", "None")])
def test_the_values_of_ins_outs_and_tags_are_text(refused, key, value, shown):
    assert refused(key, f"{{'a': {value}}}") == [
        f"{key}.a: {shown} is no text",
        "write it as text",
    ]


@pytest.mark.parametrize("key", ["ins", "outs"])
@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("my-data", "my_data"),
        ("2nd", "_2nd"),
        ("class", "class_"),
        ("a b", "a_b"),
        ("größe", "gr_e"),
        ("", "name"),
        ("数", "name"),
    ],
)
def test_a_name_that_is_no_identifier_is_refused(refused, key, name, fixed):
    assert refused(key, f"{{{name!r}: 'a.b.c'}}") == [
        f"{key}.{name}: the name is no identifier",
        f"name it '{fixed}'",
    ]


@pytest.mark.parametrize("path", ["train", "a.b", "a.b.c.d", "a..c", "", ".b.c"])
def test_an_in_is_the_path_of_an_artefact(refused, path):
    assert refused("ins", f"{{'x': {path!r}}}") == [
        f"ins.x: '{path}' is no catalog path of an artefact",
        "write it as 'stage.notebook.artefact'",
    ]


@pytest.mark.parametrize(
    "file", ["a/b.txt", "../b.txt", "", ".", "..", ".hidden", "a b.txt", "C:\\x", "a:b", "*.csv"]
)
def test_an_out_is_a_plain_file_name(refused, file):
    assert refused("outs", f"{{'x': {file!r}}}") == [
        f"outs.x: '{file}' is no file name",
        "give a plain file name with a suffix, such as 'model.joblib'",
    ]


@pytest.mark.parametrize("file", ["manifest.json", "Manifest.JSON", "attempts"])
def test_the_names_that_the_store_uses_are_taken(refused, file):
    assert refused("outs", f"{{'x': {file!r}}}") == [
        f"outs.x: '{file}' is a name of the store's own",
        "give a plain file name with a suffix, such as 'model.joblib'",
    ]


def test_two_outs_in_one_file_are_refused(refused):
    assert refused("outs", "{'x': 'data.csv', 'y': 'Data.csv'}") == [
        "outs.y: 'Data.csv' is also the file of outs.x",
        "give each out a file of its own",
    ]


@pytest.mark.parametrize(
    ("key", "value", "what", "fix"),
    [
        ("description", "1", "description: 1 is no text", 'write "description": "..."'),
        ("description", "None", "description: None is no text", 'write "description": "..."'),
        ("after", "'a.b'", "after: 'a.b' is no list of steps", 'write "after": ["stage.notebook"]'),
        ("after", "{}", "after: {} is no list of steps", 'write "after": ["stage.notebook"]'),
        (
            "after",
            "['a.b', 'a.b.c']",
            "after.1: 'a.b.c' is no catalog path of a step",
            "write it as 'stage.notebook'",
        ),
        (
            "after",
            "[1]",
            "after.0: 1 is no catalog path of a step",
            "write it as 'stage.notebook'",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(refused, key, value, what, fix):
    assert refused(key, value) == [what, fix]


def test_each_mistake_has_the_line_of_its_own_key(spec_of):
    message = spec_of(
        step_cells("""{
            "ins": {
                "good": "a.b.c",
                "bad": "a",
            },
            "outs": {"x": "/"},
            "after": [
                "a.b",
                "a",
            ],
        }""")
    )[1]
    assert [part.split("\n")[:2] for part in message.split("\n\n")] == [
        [HERE.replace("line 1", "line 4"), "  ins.bad: 'a' is no catalog path of an artefact"],
        [HERE.replace("line 1", "line 6"), "  outs.x: '/' is no file name"],
        [HERE.replace("line 1", "line 9"), "  after.1: 'a' is no catalog path of a step"],
    ]


# --- names


@pytest.mark.parametrize("name", ["a", "_a", "a1", "A_b"])
def test_ascii_identifiers_are_names(name):
    assert is_identifier(name)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a.b", "a b", "ä", "if", "None", "a\n"])
def test_anything_else_is_no_name(name):
    assert not is_identifier(name)


@pytest.mark.parametrize("name", ["a-b", "1", "if", "Ä", "", "--", "Import"])
def test_what_is_proposed_instead_is_a_name(name):
    assert is_identifier(to_identifier(name))
