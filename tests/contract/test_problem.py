"""How a mistake is told."""

from __future__ import annotations

import pytest

from dsml.contract.problem import Problem, ProjectError, Where, errors, render, suggest


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Where("catalog.yml"), "catalog.yml"),
        (Where("catalog.yml", line=3), "catalog.yml, line 3"),
        (Where("a.ipynb", 2), "a.ipynb, cell 2"),
        (Where("a.ipynb", 2, "parameters", 4), "a.ipynb, cell 2 (parameters), line 4"),
    ],
)
def test_a_place_names_file_cell_and_line_as_far_as_they_are_known(where, text):
    assert str(where) == text


def test_a_mistake_is_one_line_where_one_line_what_and_one_line_how_to_mend_it():
    problem = Problem(Where("a.ipynb", 1), "what", "mend", "wrong-type")
    assert str(problem) == "a.ipynb, cell 1\n  what\n  mend"


def test_what_is_no_error_says_so():
    assert (
        str(Problem(Where("a"), "what", "mend", "wrong-type", "note")) == "a\n  note: what\n  mend"
    )


def test_findings_are_told_in_the_order_of_files_cells_and_lines():
    places = [Where("b"), Where("a", 10, line=1), Where("a", 2, line=9), Where("a", 2, line=3)]
    told = render(Problem(where, "what", "mend", "wrong-type") for where in places)
    assert [part.split("\n")[0] for part in told.split("\n\n")] == [
        "a, cell 2, line 3",
        "a, cell 2, line 9",
        "a, cell 10, line 1",
        "b",
    ]


def test_notes_and_warnings_are_no_errors():
    made = [
        Problem(Where("a"), "what", "mend", "wrong-type", severity)
        for severity in ("error", "warning", "note")
    ]
    assert errors(made) == made[:1]


def test_the_text_of_the_exception_is_the_message():
    assert (
        str(ProjectError([Problem(Where("a"), "what", "mend", "wrong-type")]))
        == "a\n  what\n  mend"
    )


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("trian", ["train", "test"], "did you mean 'train'?"),
        ("zzz", ["b", "a"], "known are: a, b"),
        ("zzz", [], "there is none yet"),
        ("zzz", list("abcdefghij"), "known are: a, b, c, d, e, f, g, h and 2 more"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_or_with_those_there_are(name, known, said):
    assert suggest(name, known) == said


def test_where_no_name_is_near_another_answer_can_be_given():
    assert suggest("zzz", ["a"], "look there") == "look there"
