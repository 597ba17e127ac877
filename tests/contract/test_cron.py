"""Cron: of one mind with the parser that Dagster reads it with, and told in words."""

from __future__ import annotations

import pytest
from dagster._utils.schedules import is_valid_cron_string
from hypothesis import given, settings
from hypothesis import strategies as st

from dsml.contract.cron import FORM, cron_finding, in_words

NAMES = ["sun", "MON", "tue", "Sat", "jan", "Feb", "dec", "l", "?", "*", "r", "h", "x", "٣"]
LIMITS = [0, 1, 5, 6, 7, 8, 12, 13, 23, 24, 28, 29, 30, 31, 32, 59, 60, 99]
ATOM = st.one_of(st.sampled_from(LIMITS).map(str), st.sampled_from(NAMES))
ITEM = st.one_of(
    ATOM,
    ATOM,
    st.tuples(ATOM, ATOM).map("-".join),
    st.tuples(ATOM, ATOM).map("/".join),
    st.tuples(ATOM, ATOM, ATOM).map(lambda t: f"{t[0]}-{t[1]}/{t[2]}"),
    st.tuples(ATOM, ATOM).map("#".join),
    ATOM.map("l{}".format),
    st.text("0123456789*/,-#l? a", max_size=4),
)
FIELD = st.lists(ITEM, min_size=1, max_size=2).map(",".join)
CRON = st.lists(FIELD, min_size=5, max_size=5).map(" ".join) | st.lists(FIELD).map(" ".join)


@given(CRON)
@settings(max_examples=300)
def test_what_is_taken_dagster_takes(cron):
    if cron_finding(cron) is None:
        assert is_valid_cron_string(cron), cron


def plain_field(low, high, names=()):
    """A field as people write it, most often a right one: values, ranges, steps, lists."""
    value = st.integers(low, high + 2).map(str)  # Dagster takes 0 for a day, in ranges alone
    value = value | st.sampled_from(names) if names else value
    # Dagster takes a step beyond the field, which then means something else
    step = st.integers(0, high - low).map(str)
    item = st.one_of(
        st.just("*"),
        value,
        st.tuples(value, value).map("-".join),
        st.tuples(st.just("*") | value, step).map("/".join),
        st.tuples(value, value, step).map(lambda t: f"{t[0]}-{t[1]}/{t[2]}"),
    )
    return st.lists(item, min_size=1, max_size=3).map(",".join)


DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat", "MON"]
MONTHS = ["jan", "feb", "jun", "dec", "DEC", "mo"]
PLAIN = st.tuples(
    plain_field(0, 59),
    plain_field(0, 23),
    plain_field(1, 28) | st.sampled_from(["?", "l", "l,15"]),  # each month has these days
    plain_field(1, 12, MONTHS),
    plain_field(0, 7, DAYS) | st.sampled_from(["?", "mon#2", "5#5", "5#6", "l5", "l7", "mon#1,l2"]),
).map(" ".join)


@given(PLAIN)
@settings(max_examples=300)
def test_what_dagster_takes_of_the_usual_syntax_is_taken(cron):
    assert (cron_finding(cron) is None) == is_valid_cron_string(cron), cron


@pytest.mark.parametrize(
    "cron",
    ["@daily", "@Hourly", "@weekly", "@monthly", "@yearly", "@annually", "@midnight", " @daily "],
)
def test_a_named_cron_is_taken(cron):
    assert cron_finding(cron) is None
    assert is_valid_cron_string(cron.strip())


@pytest.mark.parametrize(
    ("cron", "what"),
    [
        ("60 * * * *", "minute 60 is not between 0 and 59"),
        ("0 24 * * *", "hour 24 is not between 0 and 23"),
        ("0 0 0 * *", "day of the month 0 is not between 1 and 31"),
        ("0 0 1 13 *", "month 13 is not between 1 and 12"),
        ("0 0 * * 8", "day of the week 8 is not between 0 and 7"),
        ("x * * * *", "minute 'x' is no number"),
        ("0 0 * * mo", "day of the week 'mo' is no number, nor a name such as mon"),
        ("0 0 1 jam *", "month 'jam' is no number, nor a name such as feb"),
        ("*/90 * * * *", "the step of minute, '90', is not between 1 and 59"),
        ("*/0 * * * *", "the step of minute, '0', is not between 1 and 59"),
        ("0 0 * * mon#6", "day of the week 'mon#6' is neither a value, a range nor a step"),
        ("0 0 * * mon#2,5", "day of the week mixes 'mon#2' with other days"),
        ("1,,2 * * * *", "minute '' is neither a value, a range nor a step"),
        ("*-5 * * * *", "minute '*-5' is neither a value, a range nor a step"),
        ("0 0 31 4,6 *", "no month that it names has a day 31"),
        ("0 0 30 feb *", "no month that it names has a day 30"),
        ("r * * * *", "minute 'r' is no number"),
    ],
)
def test_it_is_told_which_field_is_wrong(cron, what):
    assert cron_finding(cron) == (f"{cron!r} is no cron: {what}", FORM)


@pytest.mark.parametrize(
    ("cron", "fields"), [("", "0 fields"), ("6", "1 field"), ("0 0 6 * * 1", "6 fields")]
)
def test_a_cron_has_five_fields(cron, fields):
    assert cron_finding(cron) == (f"{cron!r} has {fields}, and a cron has 5", FORM)


def test_an_unknown_name_is_told_with_those_there_are():
    what, fix = cron_finding("@dayly")
    assert what == "'@dayly' is unknown"
    assert fix.startswith("known are: @hourly, @daily, ")


def test_the_29th_of_february_comes_in_some_years():
    assert cron_finding("0 0 29 2 *") is None


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 6 * * 1", "Monday at 06:00"),
        ("30 18 * * fri,SUN", "Friday, Sunday at 18:30"),
        ("0 6 * * 7", "Sunday at 06:00"),
        ("0 6 * * 2,wed,4,6", "Tuesday, Wednesday, Thursday, Saturday at 06:00"),
        ("0 6 * * 1,3-4", "0 6 * * 1,3-4"),
        ("0 6 * * 1-5", "Monday to Friday at 06:00"),
        ("5 0 * * *", "daily at 00:05"),
        ("@daily", "daily at 00:00"),
        ("@weekly", "Sunday at 00:00"),
        ("0 6 1 * *", "monthly on day 1 at 06:00"),
        ("15 * * * *", "hourly at minute 15"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0 6 1 1 *", "0 6 1 1 *"),
        ("0 6 l * *", "0 6 l * *"),
        ("0 6 * * mon#2", "0 6 * * mon#2"),
        ("0 6 1 * 1", "0 6 1 * 1"),
        ("0 */6 * * *", "0 */6 * * *"),
        ("0,30 * * * *", "0,30 * * * *"),
    ],
)
def test_a_simple_cron_is_told_in_words(cron, words):
    assert in_words(cron) == words
