"""`map`, `retries`, `timeout` and optional outs: what can be declared, and which mistakes told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsml.contract.fanout import grid_finding, instances
from dsml.contract.policies import Retries

from .conftest import step_cells

MAPPED = "n: int = 1\nkind: str = 'a'\nnames: list[str] = []"


@pytest.fixture
def told(spec_of):
    """What is told of a declaration, without the lines that say where."""

    def told(op_parameters, parameters=MAPPED):
        message = spec_of(step_cells(op_parameters, parameters))[1]
        return [line.strip() for line in message.split("\n") if line.startswith("  ")]

    return told


@pytest.fixture
def spec(spec_of):
    """What is read of a declaration that has no mistakes."""

    def spec(op_parameters, parameters=MAPPED):
        found, message = spec_of(step_cells(op_parameters, parameters))
        assert message == ""
        return found

    return spec


# --- map ------------------------------------------------------------------------------------------


def test_a_map_holds_lists_or_the_artefact_that_lists_the_values(spec):
    found = spec('{"map": {"n": [1, 2], "kind": "load.kinds.names"}}')
    assert found.map == {"n": (1, 2), "kind": "load.kinds.names"}
    assert found.sources == ["load.kinds.names"]
    assert found.upstream == {"load.kinds"}


def test_what_is_set_of_a_mapped_parameter_is_a_list_of_its_values(spec):
    settings = spec('{"map": {"n": [1, 2]}}').settings
    assert {name: str(kind) for name, kind in settings.items()} == {
        "n": "list[int]",
        "kind": "str",
        "names": "list[str]",
    }


@pytest.mark.parametrize(
    ("declared", "what", "fix"),
    [
        ("3", "map: 3 is no dict of lists", 'write "map": {"parameter": [1, 2]}'),
        ("{}", "map: {} is no dict of lists", 'write "map": {"parameter": [1, 2]}'),
        ("{'m': [1]}", "map.m: there is no parameter 'm'", "known are: kind, n, names"),
        ("{'n': 3}", "map.n: 3 is no list", "write a list, or the catalog path of a JSON list"),
        ("{'n': 'sizes'}", "map.n: 'sizes' is no list", "write a list, or the catalog path"),
        ("{'n': [1, 'x']}", "map.n.1: 'x' is no int", "give values of type int"),
        ("{'n': [1, 2, 1]}", "map.n: 1 stands twice in the list", "keep one of the two"),
    ],
)
def test_a_map_that_is_none_is_refused(told, declared, what, fix):
    first, second = told(f'{{"map": {declared}}}')
    assert first == what
    assert second.startswith(fix)


def test_a_map_over_a_parameter_of_a_notebook_without_any_is_refused(told):
    assert told('{"map": {"n": [1]}}', "") == [
        "map.n: there is no parameter 'n'",
        "declare it in a cell tagged 'parameters'",
    ]


def test_an_empty_list_is_a_list(spec):
    assert spec('{"map": {"n": []}}').map == {"n": ()}


def test_a_map_over_an_artefact_that_nobody_publishes_is_refused(make):
    make.step("load.sizes", '{"outs": {"sizes": "sizes.json"}}')
    make.step("train.fit", '{"map": {"n": "load.sizes.size"}}', "n: int = 1")
    assert "map.n: no step publishes 'load.sizes.size'\n  did you mean 'load.sizes.sizes'?" in (
        make.messages
    )


def test_a_map_over_a_file_that_is_no_json_is_refused(make):
    make.step("load.sizes", '{"outs": {"sizes": "sizes.csv"}}')
    make.step("train.fit", '{"map": {"n": "load.sizes.sizes"}}', "n: int = 1")
    assert "map.n: 'load.sizes.sizes' is no JSON file, but 'sizes.csv'" in make.messages
    assert "publish the list of values as a .json file" in make.messages


def test_a_circle_through_a_map_is_told(make):
    outs = '"outs": {"sizes": "sizes.json"}'
    make.step("a.a", f'{{{outs}, "map": {{"n": "a.b.sizes"}}}}', "n: int = 1")
    make.step("a.b", f'{{{outs}, "ins": {{"x": "a.a.sizes"}}}}')
    assert "map.n: the steps run in a circle: a.a → a.b → a.a" in make.messages


def test_an_experiment_sets_a_list_of_a_mapped_parameter(make):
    make.step("train.fit", '{"map": {"n": [1, 2]}}', "n: int = 1")
    make.catalog("version: 1\nexperiments:\n  wide: {config: {train.fit: {n: 3}}}\n")
    assert "experiments.wide.config.train.fit.n: 3 is no list[int]" in make.messages
    make.catalog("version: 1\nexperiments:\n  wide: {config: {train.fit: {n: [3]}}}\n").register()
    assert make.messages == ""


# --- instances ------------------------------------------------------------------------------------


def keys(grid):
    return [instance.key for instance in instances(grid)]


def test_the_key_of_an_instance_is_made_of_its_values():
    assert keys({"n": [1, -2, 0.5], "kind": ["a b"]}) == ["1__a_b", "_2__a_b", "0_5__a_b"]


def test_values_that_would_have_the_same_key_are_told_apart():
    first, second, third = keys({"kind": ["a b", "a_b", "c"]})
    assert (first[:4], second[:4], third) == ("a_b_", "a_b_", "c")
    assert first != second


VALUES = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=80), st.booleans())


@given(st.lists(VALUES, unique_by=lambda value: (type(value), value), max_size=8))
def test_every_instance_has_a_key_of_its_own_that_is_a_name(values):
    found = keys({"x": values})
    assert len({key.casefold() for key in found}) == len(values)  # each is the name of a folder
    assert all(key.isascii() and key.replace("_", "a").isalnum() and len(key) < 80 for key in found)


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ([1, 2], None),
        ([], None),
        ({"a": 1}, "holds a dict, and no list"),
        ([1, True], None),
        ([[1], [1]], "holds [1] twice"),
    ],
)
def test_what_is_wrong_with_a_published_list_is_said(values, finding):
    assert grid_finding(values) == finding


# --- retries, deadline, optional outs -------------------------------------------------------------


def test_a_number_of_retries_may_stand_alone(spec):
    assert spec('{"retries": 3}').retries == Retries(3)


def test_retries_have_a_delay_a_backoff_and_jitter(spec):
    declared = '{"retries": {"max": 2, "delay": 5, "backoff": "exponential", "jitter": "full"}}'
    assert spec(declared).retries == Retries(2, 5.0, "exponential", "full")


def test_without_a_word_the_defaults_hold(spec):
    found = spec("{}")
    assert (found.retries, found.timeout, found.cache, found.optional) == (
        None,
        None,
        None,
        frozenset(),
    )


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        ('"retries": -1', "retries: -1 is no number of retries"),
        ('"retries": "2"', "retries: '2' is no number of retries"),
        ('"retries": {"delay": 1}', "retries: max is missing"),
        ('"retries": {"max": 1.5}', "retries.max: 1.5 is no number of retries"),
        ('"retries": {"max": 1, "delay": -1}', "retries.delay: -1 is no number of seconds"),
        ('"retries": {"max": 1, "wait": 1}', "retries.wait: no such key"),
        ('"retries": {"max": 1, "backoff": "expo"}', "retries.backoff: there is no backoff 'expo'"),
        ('"timeout": 0', "timeout: 0 is no number of seconds, such as 600"),
        ('"timeout": "10m"', "timeout: '10m' is no number of seconds, such as 600"),
        ('"cache": 1', "cache: 1 is neither true nor false"),
        ('"pool": 1', "pool: 1 is no text"),
        ('"outs": {"a": {"optional": True}}', "outs.a: None is no text"),
        ('"outs": {"a": {"file": "a.csv", "optionl": True}}', "outs.a.optionl: no such key"),
        (
            '"outs": {"a": {"file": "a.csv", "optional": "no"}}',
            "outs.a.optional: 'no' is neither true nor false",
        ),
    ],
)
def test_what_cannot_be_is_refused(told, declared, what):
    assert told(f"{{{declared}}}")[0] == what


def test_an_out_may_be_optional(spec):
    found = spec('{"outs": {"a": {"file": "a.csv", "optional": True}, "b": {"file": "b.csv"}}}')
    assert (found.outs, found.optional) == ({"a": "a.csv", "b": "b.csv"}, frozenset({"a"}))


def test_a_step_with_ins_is_left_out_when_nothing_has_changed_and_a_source_is_not(spec):
    assert spec('{"ins": {"a": "b.c.d"}}').is_cached
    assert not spec("{}").is_cached
    assert spec('{"cache": True}').is_cached
    assert not spec('{"ins": {"a": "b.c.d"}, "cache": False}').is_cached


def test_the_defaults_of_the_catalog_are_read_and_checked(make):
    make.catalog("version: 1\ndefaults: {retries: {max: 1, delay: 2}, timeout: 60}\n")
    defaults = make.project.catalog.defaults
    assert (defaults.retries, defaults.timeout) == (Retries(1, 2.0), 60.0)
    make.catalog("version: 1\ndefaults: {retries: many, timout: 60}\n")
    assert make.messages.splitlines() == [
        "catalog.yml, line 2",
        "  defaults.timout: no such key",
        "  did you mean 'timeout'?",
        "",
        "catalog.yml, line 2",
        "  defaults.retries: 'many' is no number of retries",
        '  write a number, or {"max": 2, "delay": 5, "backoff": "exponential"}',
    ]
