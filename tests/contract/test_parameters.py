"""The `parameters` cell: types, defaults, descriptions, and values given as text."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from dsml.contract.parameters import read_parameters
from dsml.contract.problem import render
from dsml.contract.types import read_type

from .conftest import cell, document


@pytest.fixture
def declared(read):
    """The parameters of a cell, and what is wrong with them as the user sees it."""

    def declared(*sources):
        problems = []
        made = read(document(*(cell(source, "parameters") for source in sources)))
        return read_parameters(made, problems), render(problems)

    return declared


@pytest.fixture
def kinds(declared):
    """The types of the parameters of a cell that is right."""

    def kinds(source):
        found, message = declared(source)
        assert message == ""
        return {name: str(parameter.type) for name, parameter in found.items()}

    return kinds


# --- types


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("x: int = 1", "int"),
        ("x: float = 1", "float"),
        ("x: float = -1.5e-3", "float"),
        ("x: str = 'a'", "str"),
        ("x: bool = True", "bool"),
        ("x: list = [1, 'a']", "list"),
        ("x: dict = {'a': 1}", "dict"),
        ("x: 'int' = 1", "int"),
        ("x: Any = [1]", "any"),
        ("x: object = None", "any"),
        ("x: list[int] = []", "list[int]"),
        ("x: List[float] = [1, 2.5]", "list[float]"),
        ("x: Sequence[str] = ['a']", "list[str]"),
        ("x: tuple[int, ...] = (1, 2)", "list[int]"),
        ("x: tuple[int, str] = (1, 'a')", "list"),
        ("x: dict[str, int] = {'a': 1}", "dict[str, int]"),
        ("x: Mapping[str, list[int]] = {'a': [1]}", "dict[str, list[int]]"),
        ("x: int | None = None", "int or None"),
        ("x: None | int = 1", "int or None"),
        ("x: 'int | None' = None", "int or None"),
        ("x: Optional[int] = None", "int or None"),
        ("x: typing.Optional[list[int]] = [1]", "list[int] or None"),
        ("x: Union[int, None] = None", "int or None"),
        ("x: Union[int, str] = 'a'", "any"),
        ("x: int | str = 1", "any"),
        ("x: Literal['a', 'b'] = 'a'", "one of 'a', 'b'"),
        ("x: Literal[-1, 0, 1] = -1", "one of -1, 0, 1"),
        ("x: Literal['a', None] = None", "one of 'a' or None"),
        ("x: Optional[Literal['a']] = None", "one of 'a' or None"),
        ("x: list[Literal['a', 'b']] = ['b']", "list[one of 'a', 'b']"),
    ],
)
def test_the_types_of_python_and_typing_are_read(kinds, line, kind):
    assert kinds(line) == {"x": kind}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("x = 1", "int"),
        ("x = 1.0", "float"),
        ("x = 'a'", "str"),
        ("x = False", "bool"),
        ("x = []", "list"),
        ("x = {}", "dict"),
        ("x = None", "any"),
    ],
)
def test_without_an_annotation_the_type_is_that_of_the_default(kinds, line, kind):
    assert kinds(line) == {"x": kind}


@pytest.mark.parametrize(
    ("line", "default", "kind", "inferred"),
    [
        ("x: int = 1.5", "1.5", "int", "float"),
        ("x: int = True", "True", "int", "bool"),
        ("x: float = True", "True", "float", "bool"),
        ("x: bool = 1", "1", "bool", "int"),
        ("x: str = 1", "1", "str", "int"),
        ("x: int = '1'", "'1'", "int", "str"),
        ("x: int = None", "None", "int", "any"),
        ("x: Optional[int] = 1.5", "1.5", "int or None", "float"),
        ("x: list = {}", "{}", "list", "dict"),
        ("x: list[int] = [1, 'a']", "[1, 'a']", "list[int]", "list"),
        ("x: list[int] = [True]", "[True]", "list[int]", "list"),
        ("x: dict[str, int] = {'a': 'b'}", "{'a': 'b'}", "dict[str, int]", "dict"),
        ("x: Literal['a', 'b'] = 'c'", "'c'", "one of 'a', 'b'", "str"),
        ("x: Literal[1, 2] = True", "True", "one of 1, 2", "bool"),
    ],
)
def test_a_default_that_does_not_fit_its_type_is_refused(declared, line, default, kind, inferred):
    assert declared(line)[1] == (
        "stages/train/fit.ipynb, cell 1 (parameters), line 1\n"
        f"  x: the default {default} is no {kind}\n"
        f"  change the default, or the type to {inferred}"
    )


@pytest.mark.parametrize(
    ("annotation", "what"),
    [
        ("itn", "the type `itn` is not known here; did you mean 'int'?"),
        ("np.int64", "the type `np.int64` is not known here; known are: bool, d"),
        ("set[int]", "the type `set[int]` is not known here"),
        ("dict[str]", "the type `dict[str]` is not known here"),
        ("'int ='", "the type 'int =' is not known here"),
        ("Literal[x]", "`Literal[x]` lists something that is no literal"),
        ("Optional[itn]", "the type `itn` is not known here; did you mean 'int'?"),
    ],
)
def test_a_type_that_has_no_place_here_is_refused(declared, annotation, what):
    message = declared(f"x: {annotation} = 1")[1].split("\n")
    assert message[0] == "stages/train/fit.ipynb, cell 1 (parameters), line 1"
    assert message[1].startswith(f"  x: {what}")
    assert message[2] == (
        "  use int, float, str, bool, list, dict, date, Secret, Optional[...] or Literal[...]"
    )


# --- defaults


def test_the_default_and_the_line_are_kept(declared):
    found = declared("# first\n\nx: int = 7\ny = 'a'")[0]
    assert [(p.name, p.default, p.line) for p in found.values()] == [("x", 7, 3), ("y", "a", 4)]


def test_statements_that_assign_nothing_are_passed_over(declared):
    found, message = declared("import os\nprint(1 / 0)\nx = 1\n%time\n")
    assert (list(found), message) == (["x"], "")


def test_each_default_that_is_no_literal_is_told_with_its_line(declared):
    assert declared("x: int = 1 + y\n\nz = {'a': f(),\n     'b': g()}")[1] == dedent("""\
        stages/train/fit.ipynb, cell 1 (parameters), line 1
          x: `1 + y` is no literal
          give a literal default, and compute from it in a later cell

        stages/train/fit.ipynb, cell 1 (parameters), line 3
          z: `f()` is no literal
          give a literal default, and compute from it in a later cell

        stages/train/fit.ipynb, cell 1 (parameters), line 4
          z: `g()` is no literal
          give a literal default, and compute from it in a later cell""")


def test_a_parameter_that_is_assigned_twice_is_refused(declared):
    assert declared("x = 1\nx = 2")[1] == dedent("""\
        stages/train/fit.ipynb, cell 1 (parameters), line 2
          x: the parameter is assigned twice
          keep one of the two""")


def test_a_second_parameters_cell_is_refused(declared):
    found, message = declared("x = 1", "y = 2")
    assert list(found) == ["x"]
    assert message == dedent("""\
        stages/train/fit.ipynb, cell 2 (parameters)
          a second cell is tagged 'parameters'; the first is cell 1
          merge the two cells""")


def test_a_parameters_cell_that_is_no_python_is_refused(declared):
    assert declared("x = 1\ny = = 2")[1] == dedent("""\
        stages/train/fit.ipynb, cell 1 (parameters), line 2
          the cell is no Python: invalid syntax
          mend the line, so that the cell can be read without being run""")


# --- descriptions


@pytest.mark.parametrize(
    ("source", "description"),
    [
        ("x = 1  # how many", "how many"),
        ("x = 1  ## how many", "how many"),
        ("# how many\nx = 1", "how many"),
        ("# how many\n# there are\nx = 1", "how many there are"),
        ("# above\nx = 1  # behind", "behind"),
        ("# far above\n\nx = 1", ""),
        ("y = 1  # of y\nx = 1", ""),
        ("x = 1", ""),
        ("x = '# no comment'", ""),
        ("x = [\n    1,\n]  # how many", "how many"),
        ("%time\nx = 1  # how many", "how many"),
        ("x = 1  # wie viele, größer als 0 → gut", "wie viele, größer als 0 → gut"),
    ],
)
def test_the_comment_behind_or_above_is_the_description(declared, source, description):
    found, message = declared(source)
    assert (found["x"].description, message) == (description, "")


# --- values given as text


def of_type(annotation):
    return read_type(ast.parse(annotation, mode="eval").body)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("int", "5", 5),
        ("int", " -5 ", -5),
        ("float", "5", 5),
        ("float", "1e-3", 0.001),
        ("bool", "true", True),
        ("bool", "False", False),
        ("str", "plain text", "plain text"),
        ("str", "5", "5"),
        ("str", "true", "true"),
        ("str", "null", "null"),
        ("str", "", ""),
        ("str", "'quoted'", "'quoted'"),
        ("str", "a=b", "a=b"),
        ("str", r"C:\data", r"C:\data"),
        ("str | None", "null", None),
        ("str | None", "None", None),
        ("str | None", "5", "5"),
        ("int | None", "none", None),
        ("list[int]", "[1, 2]", [1, 2]),
        ("list[int]", "1, 2", [1, 2]),
        ("dict", "{'a': 1}", {"a": 1}),
        ("dict[str, bool]", '{"a": True}', {"a": True}),
        ("Literal['a', 'b']", "a", "a"),
        ("Literal['1', '2']", "1", "1"),
        ("Literal[1, 2]", "1", 1),
        ("Any", "[1]", [1]),
        ("Any", "x y", "x y"),
        ("Any", "%time", "%time"),
        ("Any", "a = 1", "a = 1"),
    ],
)
def test_text_becomes_a_value_of_the_type(annotation, text, value):
    parsed = of_type(annotation).parse(text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        ("int", "1.5", "'1.5' is no int"),
        ("int", "", "'' is no int"),
        ("int", "abc", "'abc' is no int"),
        ("int", "true", "'true' is no int"),
        ("int", "null", "'null' is no int"),
        ("int", "__import__('os')", "\"__import__('os')\" is no int"),
        ("float", "1e999", "'1e999' is no float"),
        ("bool", "1", "'1' is no bool"),
        ("bool", "yes", "'yes' is no bool"),
        ("list[int]", "[1, a]", "'[1, a]' is no list[int]"),
        ("Literal['a', 'b']", "c", "'c' is no one of 'a', 'b'"),
    ],
)
def test_text_that_is_no_value_of_the_type_is_refused(annotation, text, message):
    with pytest.raises(ValueError, match=r" is no ") as caught:
        of_type(annotation).parse(text)
    assert str(caught.value) == message
