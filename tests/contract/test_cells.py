"""Reading notebooks without running them."""

from __future__ import annotations

import ast
import json
import warnings

import pytest

from dsml.contract.literals import NotLiteral, assignments, is_json, read_literal
from dsml.contract.problem import ProjectError
from dsml.contract.source import parse

from .conftest import cell, document

MEND = "\n  restore the file from git, or save it again from Jupyter"


def literal(text):
    return read_literal(ast.parse(text, mode="eval").body)


def no_literal(text):
    with pytest.raises(NotLiteral) as caught:
        literal(text)
    return caught.value


# --- files


def test_cells_are_counted_from_one_and_text_cells_count(read):
    made = read(document(cell("# Title", kind="markdown"), cell("a = 1")))
    assert [(c.number, c.kind, c.source) for c in made.cells] == [
        (1, "markdown", "# Title"),
        (2, "code", "a = 1"),
    ]


def test_a_source_of_many_lines_is_joined(read):
    made = document(cell(""))
    made["cells"][0]["source"] = ["a = 1\n", "b = 2"]
    assert read(made).cells[0].source == "a = 1\nb = 2"


def test_a_notebook_of_nbformat_3_is_read(read):
    code = {"cell_type": "code", "input": ["x = 1"], "metadata": {"tags": ["parameters"]}}
    made = read({"nbformat": 3, "worksheets": [{"cells": [code], "metadata": {}}], "metadata": {}})
    assert [c.source for c in made.tagged("parameters")] == ["x = 1"]


def test_only_code_cells_count_as_tagged(read):
    made = read(document(cell("x", "parameters", kind="markdown"), cell("x = 1", "parameters")))
    assert [c.number for c in made.tagged("parameters")] == [2]


@pytest.mark.parametrize("tags", [None, "parameters", {"parameters": True}, 1])
def test_tags_that_are_no_list_are_no_tags(read, tags):
    made = document(cell("x = 1"))
    made["cells"][0]["metadata"] = {"tags": tags}
    assert read(made).cells[0].tags == frozenset()


@pytest.mark.parametrize("metadata", [None, [], "text"])
def test_metadata_that_are_no_object_are_passed_over(read, metadata):
    made = document(cell("x = 1"))
    made["cells"][0]["metadata"] = metadata
    assert read(made).cells[0].tags == frozenset()


def test_stored_outputs_are_noticed(read):
    made = document(cell("1"), cell("2"))
    made["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "2"}]
    assert [c.has_outputs for c in read(made).cells] == [False, True]


def test_a_byte_order_mark_does_not_matter(read):
    text = b"\xef\xbb\xbf" + json.dumps(document(cell("ä = 'ü'"))).encode()
    assert read(text).cells[0].source == "ä = 'ü'"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ", line 1\n  the notebook is no JSON: Expecting value"),
        (b'{\n"cells": [,]}', ", line 2\n  the notebook is no JSON: Expecting value"),
        (b"print('no notebook')", ", line 1\n  the notebook is no JSON: Expecting value"),
        (b"<<<<<<< HEAD\n{}", ", line 1\n  the notebook is no JSON: Expecting value"),
        ('{"cells": ["ä"]}'.encode("latin-1"), "\n  the notebook is no UTF-8 text"),
        ('{"cells": []}'.encode("utf-16"), "\n  the notebook is no UTF-8 text"),
        (b"[" * 100_000, "\n  the notebook is nested too deeply to be a notebook"),
        (b'{"a": ' + b"1" * 5000 + b"}", "\n  the notebook holds a number that is too long"),
        (b"[]", "\n  the notebook has no list of cells"),
        (b"null", "\n  the notebook has no list of cells"),
        (b'{"metadata": {}}', "\n  the notebook has no list of cells"),
        (b'{"cells": {}}', "\n  the notebook has no list of cells"),
        (b'{"worksheets": []}', "\n  the notebook has no list of cells"),
        (b'{"cells": [{}, 1]}', "\n  the notebook has a cell that is no object (cell 2)"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused(read, content, message):
    with pytest.raises(ProjectError) as caught:
        read(content)
    assert str(caught.value) == f"stages/train/fit.ipynb{message}{MEND}"


def test_a_folder_with_the_name_of_a_notebook_is_refused(make):
    (make.root / "stages/train/fit.ipynb").mkdir(parents=True)
    assert make.messages == (
        f"stages/train/fit.ipynb\n  the notebook cannot be read: Is a directory{MEND}"
    )


# --- sources


@pytest.mark.parametrize(
    "source",
    [
        "%matplotlib inline\nx = 1",
        "%%time\nx = 1",
        "!pip install pandas\nx = 1",
        "!pip install \\\n    pandas \\\n  numpy\nx = 1",
        "files = !ls\nx = 1",
        "files = %sx ls\nx = 1",
        "print?\nx = 1",
        "pandas.DataFrame??\nx = 1",
        "if True:\n    %time f()\nx = 1",
        "%time f()\r\nx = 1",
    ],
)
def test_magics_and_shell_lines_do_not_hinder_reading(source):
    found = [item for item in assignments(source) if item.name == "x"]
    assert [item.literal.value for item in found] == [1]


def test_taking_out_magics_keeps_the_numbers_of_lines():
    (found,) = assignments("!pip install \\\n  pandas\n%matplotlib inline\nx = 1")
    assert found.literal.line == 4


def test_a_remainder_that_starts_a_line_is_no_magic():
    (found,) = assignments("text = '''\n%s of\n! all'''  # the words")
    assert (found.literal.value, found.comment) == ("\n%s of\n! all", "the words")


@pytest.mark.parametrize("source", ["x = (", "x = 1\n  y = 2", "x = 'a\n", "x = \0", "(" * 10_000])
def test_a_source_that_is_no_python_is_a_syntax_error(source):
    with pytest.raises(SyntaxError):
        parse(source)


def test_python_does_not_warn_of_a_source_that_is_only_read():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = assignments(r"path = 'C:\data'")
    assert found.literal.value == r"C:\data"


def test_nothing_of_a_source_is_run():
    source = "import no_such_module\n1 / 0\nraise SystemExit\nprint(undefined)\nx = 1"
    (found,) = assignments(source)
    assert (found.name, found.literal.value) == ("x", 1)


def test_assignments_to_anything_but_a_name_are_passed_over():
    found = assignments("a.b = 1\na[0] = 2\nc, d = 3, 4\ne = f = 5\ng: int\nh += 1\nx = 6")
    assert [item.name for item in found] == ["x"]


# --- literals


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1", -1),
        ("+1.5", 1.5),
        ("1e-3", 0.001),
        ("True", True),
        ("None", None),
        ("'a' 'b'", "ab"),
        ("[1, 'a', None]", [1, "a", None]),
        ("(1, 2)", [1, 2]),
        ("{'a': {'b': [1]}}", {"a": {"b": [1]}}),
        ("{}", {}),
    ],
)
def test_json_literals_are_read(text, value):
    assert literal(text).value == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x", "`x` is no literal"),
        ("f(1)", "`f(1)` is no literal"),
        ("1 / 0", "`1 / 0` is no literal"),
        ("1 + 2j", "`1 + 2j` is no literal"),
        ("b'x'", "`b'x'` is no literal"),
        ("...", "`...` is no literal"),
        ("{1, 2}", "`{1, 2}` is no literal"),
        ("f'{x}'", "`f'{x}'` is no literal"),
        ("1e999", "`1e309` is no literal"),
        ("-True", "`-True` is no literal"),
        ("[x for x in y]", "`[x for x in y]` is no literal"),
        ("{1: 2}", "the key `1` is no string literal"),
        ("{x: 2}", "the key `x` is no string literal"),
        ("{**x}", "`**x` is no literal"),
        ("{'a': 1, 'a': 2}", "the key 'a' stands twice"),
        ("f(" + "1, " * 40 + ")", "`f(" + "1, " * 19 + "…` is no literal"),
    ],
)
def test_what_is_no_json_literal_is_named(text, what):
    assert no_literal(text).what == what


def test_everything_that_is_no_literal_is_named_with_its_place_and_line():
    error = no_literal("{\n'a': f(),\n'b': {'c': x},\n'd': [1,\ny, z]}")
    found = [(part.keys, part.line, part.what) for part in (error, *error.others)]
    assert found == [
        (("a",), 2, "`f()` is no literal"),
        (("b", "c"), 3, "`x` is no literal"),
        (("d", "1"), 5, "`y` is no literal"),
        (("d", "2"), 5, "`z` is no literal"),
    ]


def test_what_can_be_read_beside_it_is_kept():
    assert no_literal("{'a': f(), 'b': 1, 'c': {'d': x, 'e': 2}}").partial.value == {
        "b": 1,
        "c": {"e": 2},
    }


def test_the_line_of_every_key_and_item_is_known():
    found = literal("{\n'a': [\n1,\n2],\n'b':\n{'c': 3}}")
    assert [found.line_of(*keys) for keys in (("a",), ("a", "1"), ("b",), ("b", "c"))] == [
        2,
        4,
        5,
        6,
    ]


def test_a_key_that_is_not_there_has_the_line_of_what_it_would_stand_in():
    found = literal("{\n'a': {}}")
    assert (found.line_of("a", "x", "y"), found.line_of("z")) == (2, 1)


def test_a_list_that_holds_itself_is_nothing_that_json_can_hold():
    endless: list[object] = []
    endless.append(endless)
    assert not is_json(endless)
