"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime

import pytest

from dsml.contract.figures import age, counted, duration, moment, number, short_id, size
from dsml.contract.problem import suggest_run

NOW = datetime.fromisoformat("2024-05-06T12:00:00+00:00")
RUNS = ["3f9a1c20-new", "3f9b7777-old", "77aa0000-oldest"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20, "1.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit_that_it_fills(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("then", "text"),
    [
        ("2024-05-06T12:00:00+00:00", "just now"),
        ("2024-05-06T13:00:00+00:00", "just now"),
        ("2024-05-06T11:59:01+00:00", "59 s ago"),
        ("2024-05-06T11:59:00+00:00", "1 min ago"),
        ("2024-05-06T11:00:00+00:00", "1 h ago"),
        ("2024-05-05T12:00:00+00:00", "1 d ago"),
        ("2024-05-06T12:00:00", "2024-05-06T12:00:00"),  # in which time zone?
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_an_age_is_told_in_the_largest_unit_that_has_passed(then, text):
    assert age(then, NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (3725, "1 h 02 min"),
    ],
)
def test_a_span_of_time_is_told_in_two_units(seconds, text):
    assert duration(seconds) == text


def test_a_moment_is_told_in_the_local_time_zone():
    assert moment(None) == ""
    assert moment(NOW.timestamp()) == NOW.astimezone().strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456789, "0.123457"), (1e-9, "1e-09"), (3, "3"), ("nan", "nan")]
)
def test_a_logged_figure_has_six_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs")])
def test_of_one_there_is_no_plural(count, text):
    assert counted(count, "run") == text


def test_of_a_run_the_first_eight_characters_are_enough():
    assert short_id("3f9a1c20-new") == "3f9a1c20"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("3f9b7778", "did you mean '3f9b7777'?"),
        ("3f9a1c20-now", "did you mean '3f9a1c20-new'?"),
        ("latest", "the newest is '3f9a1c20'; dsml runs lists them"),
    ],
)
def test_a_run_that_is_not_there_is_answered_with_the_nearest_or_the_newest(name, text):
    assert suggest_run(name, RUNS, "; dsml runs lists them") == text


def test_before_the_first_run_it_is_said_how_to_make_one():
    assert suggest_run("x", []) == "there are no runs yet: dsml run"
