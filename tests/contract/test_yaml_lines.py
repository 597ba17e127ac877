"""YAML with the line of every key."""

from __future__ import annotations

import pytest
import yaml

from dsml.contract.yaml_lines import load_yaml


def test_the_line_of_every_key_and_item_is_known():
    found = load_yaml("# first\na:\n  b: 1\n  c: [x,\n      y]\nd: {e: 2}\n")
    places = [("a",), ("a", "b"), ("a", "c", "1"), ("d", "e")]
    assert [found.line_of(*keys) for keys in places] == [2, 3, 5, 6]


def test_a_key_that_is_not_there_has_the_line_of_what_it_would_stand_in():
    found = load_yaml("\na:\n  b: 1\n")
    assert (found.line_of("a", "x", "y"), found.line_of("z")) == (2, 2)


def test_an_empty_text_has_no_value_and_one_line():
    found = load_yaml("# nothing\n")
    assert (found.value, found.line_of("a")) == (None, 1)


def test_keys_that_stand_twice_are_named_with_the_line_of_the_second():
    found = load_yaml("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n")
    assert found.duplicates == [("b", "c"), ("a",)]
    assert [found.line_of(*keys) for keys in found.duplicates] == [4, 5]


def test_a_key_that_overrides_a_merged_one_does_not_stand_twice():
    found = load_yaml("a: &a {x: 1}\nb: {<<: *a, x: 2}\n")
    assert (found.value["b"], found.duplicates) == ({"x": 2}, [])


def test_keys_that_are_no_text_have_lines_too():
    assert load_yaml("x: 1\n2024: {1: a}\n").line_of("2024", "1") == 2


def test_an_alias_to_what_it_stands_in_is_read():
    found = load_yaml("a: &a\n  b: *a\n")
    assert found.value["a"]["b"] is found.value["a"]


def test_aliases_of_aliases_take_no_time():
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert load_yaml("\n".join(["a0: &a0 x", *lines])).line_of("a11") == 12


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: b: c", "\ta: 1", "a: *b", "a: !x 1", "a: !!timestamp x", "a: !!bool x", "[a]: 1"],
)
def test_what_is_no_plain_yaml_is_an_error_of_yaml(text):
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)
