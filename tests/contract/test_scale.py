"""What keeps the check linear: with thousands of notebooks, and with a mistake in each of them."""

from __future__ import annotations

import difflib

import pytest

from dsml.contract import source
from dsml.contract.problem import suggest
from dsml.contract.register import check_project

THOUSANDS = frozenset(f"stage_{n % 20:02}.notebook_{n:04}.table" for n in range(4000))


@pytest.fixture
def compared(monkeypatch):
    """How many names are compared closely, in the order of the calls."""
    counts = []
    close_matches = difflib.get_close_matches

    def counted(word, possibilities, *args, **kwargs):
        counts.append(len(possibilities))
        return close_matches(word, possibilities, *args, **kwargs)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    return counts


@pytest.mark.parametrize(
    "mistyped",
    [
        "stag_07.notebook_1007.table",
        "stage_07.notebok_1007.table",
        "stage_07.notebook_1007.tabel",
        "Stage_07.notebook_1007.table",
        "tage_07.notebook_1007.table",
    ],
)
def test_the_nearest_of_thousands_of_names_is_found_among_a_few(mistyped, compared):
    assert suggest(mistyped, THOUSANDS) == "did you mean 'stage_07.notebook_1007.table'?"
    assert 20 <= compared[0] <= 40


def test_of_few_names_all_are_compared(compared):
    assert suggest("predict", ["split", "predictor", "a"]) == "did you mean 'predictor'?"
    assert compared == [3]


def test_a_clean_notebook_is_parsed_no_more_than_its_two_tagged_cells_ask_for(make, monkeypatch):
    make.step("a.b", '{"outs": {"x": "x.json"}}', "n: int = 1\nm: int = 2")
    notebook = make.root / "stages" / "a" / "b.ipynb"
    more = '"cells": [' + ", ".join(['{"cell_type": "code", "source": "y = 1"}'] * 50) + ", "
    notebook.write_text(notebook.read_text().replace('"cells": [', more, 1))
    notebook.write_text(
        notebook.read_text().replace(
            "context = get_context(op_parameters)",
            "context = get_context(op_parameters)\\ncontext.save('x', 1)",
        )
    )
    parsed = []
    quiet_parse = source._quiet_parse
    monkeypatch.setattr(
        source, "_quiet_parse", lambda text: parsed.append(text) or quiet_parse(text)
    )
    assert [p.name for p in check_project(make.root).problems] == ["draft"]
    assert "y = 1" not in parsed
    assert len(parsed) <= 4
