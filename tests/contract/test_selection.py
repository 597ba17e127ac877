"""Selecting steps by stage, by name, and by what is above or below them."""

from __future__ import annotations

import pytest

from dsml.contract.selection import is_plain, select, split
from dsml.contract.spec import StepSpec

#   load.data → prepare.split → train.small → summary.report
#                             → train.large ↗
NEEDS = {
    "load.data": (),
    "prepare.split": ("load.data",),
    "train.small": ("prepare.split",),
    "train.large": ("prepare.split",),
    "summary.report": ("train.small", "train.large"),
}
STEPS = {
    name: StepSpec(*name.split("."), f"stages/{name}", after=after) for name, after in NEEDS.items()
}


@pytest.mark.parametrize(
    ("tokens", "chosen"),
    [
        (["*"], set(STEPS)),
        (["train"], {"train.small", "train.large"}),
        (["train.small"], {"train.small"}),
        (["load", "summary"], {"load.data", "summary.report"}),
        (["+train.small"], {"load.data", "prepare.split", "train.small"}),
        (["train.small+"], {"train.small", "summary.report"}),
        (["+prepare+"], set(STEPS)),
        (["+train"], set(STEPS) - {"summary.report"}),
        ([" train.small "], {"train.small"}),
        ([], set()),
    ],
)
def test_tokens_select_the_union_of_what_each_means(tokens, chosen):
    found = select(tokens, STEPS)
    assert (found.steps, found.unknown) == (chosen, ())


@pytest.mark.parametrize("token", ["tarin", "train.smal", "+nothing+", "train.small.model", ""])
def test_names_that_mean_nothing_are_given_back(token):
    assert select([token, "load"], STEPS).unknown == (token,)


def test_all_of_nothing_is_nothing_and_no_mistake():
    assert select(["*"], {}) == select([], {})


@pytest.mark.parametrize("token", ["*", "a", "a.b", "+a.b", "a+", "+a+", " a "])
def test_stages_steps_and_plus_signs_are_plain(token):
    assert is_plain(token)


@pytest.mark.parametrize("token", ['group:"a"', "a*", "++a", "a.b.c", "not a", "a/b", "a-b", "ä"])
def test_anything_else_is_left_to_dagster(token):
    assert not is_plain(token)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("train", ["train"]),
        ("train, evaluate+", ["train", "evaluate+"]),
        ("train evaluate", ["train", "evaluate"]),
        (" train ,, evaluate ", ["train", "evaluate"]),
        ("", []),
        ('group:"a" and kind:"b"', ['group:"a" and kind:"b"']),
    ],
)
def test_a_selection_of_a_command_line_is_split_at_commas_and_blanks(text, tokens):
    assert split(text) == tokens
