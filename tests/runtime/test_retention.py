"""The plan of what goes: whatever there is, nothing that stays refers to anything that goes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsml.evidence.retention.plan import Part, Rule, Run, There, make_plan
from dsml.store import StepRun

STEPS = ("load.data", "train.fit", "evaluate.score")
INSTANCES = (None, "100", "400")


def at(number):
    """A moment; the larger the number the later it is."""
    return f"2024-05-{1 + number // 24:02d}T{number % 24:02d}:00:00.000000+00:00"


def part(step, run, number, *, refers=(), **about):
    address = StepRun(step, "baseline", run)
    about = {"published": True} | about
    return Part(address, moment=at(number), refers=frozenset(refers), **about)


def there(*parts, runs=(), **about):
    known = {p.address.run_id: Run(p.address.run_id, p.moment, p.moment) for p in parts}
    known |= {run.run_id: run for run in runs}
    return There({p.address: p for p in parts}, known, **about)


def gone(found, rule):
    return {(address.label, address.run_id) for address in make_plan(found, rule).gone}


@st.composite
def graphs(draw):
    """Runs that began one after the other; each part refers to others of any run, or to none."""
    count = draw(st.integers(1, 7))
    ids = [f"run-{number}" for number in range(count)]
    places = [
        StepRun(step, experiment, run_id, None, instance)
        for run_id in ids
        for step in STEPS
        for experiment in ("baseline", "wide")
        for instance in INSTANCES
    ]
    chosen = draw(st.lists(st.sampled_from(places), unique=True, max_size=16))
    parts = {}
    for address in chosen:
        refers = st.lists(st.sampled_from(places), max_size=3)
        published = draw(st.booleans())
        parts[address] = Part(
            address,
            published=published,
            moment=at(ids.index(address.run_id) * 3 + draw(st.integers(0, 2))),
            refers=frozenset(draw(refers)),
            made_of=frozenset(draw(refers)) if published else frozenset(),
            withdrawn=not published and draw(st.booleans()),
        )
    runs = {
        run_id: Run(
            run_id,
            at(number * 3 + 2),
            at(number * 3),
            under_way=draw(st.integers(0, 5)) == 0,
            recorded=draw(st.booleans()),
            parent=draw(st.sampled_from(["", *ids])),
        )
        for number, run_id in enumerate(ids)
    }
    pins = draw(st.lists(st.sampled_from(places), max_size=2))
    pinned = {(address.run_id, address.label): "champion" for address in pins}
    pointed = frozenset(draw(st.lists(st.sampled_from(places), max_size=2)))
    return There(parts, runs, pinned, pointed)


# Graphs take a while to draw; the seven properties have hundreds of them between them.
some = settings(max_examples=60, deadline=None)
RULES = st.builds(Rule, st.integers(1, 3), st.sampled_from(["", at(4), at(9)]))


@some
@given(graphs(), RULES)
def test_nothing_that_stays_refers_to_anything_that_goes(found, rule):
    plan = make_plan(found, rule)
    for address in plan.kept:
        needed = found.parts[address].refers | found.parts[address].made_of
        assert needed & found.parts.keys() <= plan.kept.keys()


@some
@given(graphs(), RULES)
def test_all_that_is_there_either_stays_or_goes(found, rule):
    plan = make_plan(found, rule)
    assert plan.kept.keys() | plan.gone == found.parts.keys()
    assert not plan.kept.keys() & plan.gone
    assert plan.kept_runs.keys() | plan.gone_runs == found.runs.keys()
    assert not plan.kept_runs.keys() & plan.gone_runs


@some
@given(graphs(), RULES)
def test_what_models_runs_under_way_and_pointers_refer_to_stays(found, rule):
    plan = make_plan(found, rule)
    going = {run.run_id for run in found.runs.values() if run.under_way}
    for address in found.parts:
        named = (address.run_id, address.label) in found.pinned or address in found.pointed
        if named or address.run_id in going:
            assert address in plan.kept


@some
@given(graphs(), RULES)
def test_of_each_step_the_newest_that_can_be_read_stay(found, rule):
    plan = make_plan(found, rule)
    readable = [
        p
        for p in found.parts.values()
        if p.published
        and p.address.instance is None
        and all(a in found.parts and found.parts[a].published for a in p.made_of)
    ]
    for p in readable:
        newer = [o for o in readable if o.series == p.series and o.moment > p.moment]
        if len(newer) < rule.keep and sum(o.moment == p.moment for o in readable) == 1:
            assert p.address in plan.kept


@some
@given(graphs(), RULES)
def test_a_run_stays_as_long_as_anything_of_it_does(found, rule):
    plan = make_plan(found, rule)
    assert {address.run_id for address in plan.kept} <= plan.kept_runs.keys()


@some
@given(graphs(), RULES)
def test_whoever_cleans_up_again_finds_nothing_more(found, rule):
    plan = make_plan(found, rule)
    left = replace(
        found,
        parts={a: p for a, p in found.parts.items() if a in plan.kept},
        runs={i: run for i, run in found.runs.items() if i in plan.kept_runs},
    )
    again = make_plan(left, rule)
    assert again.gone == frozenset()
    assert again.gone_runs == frozenset()


def test_a_run_that_stays_for_a_champion_takes_no_place_of_an_empty_one():
    champion = part("train.fit", "old", 0, withdrawn=True, published=False)
    empty = [Run(f"empty-{number}", at(number), at(number)) for number in (2, 3)]
    found = there(champion, runs=empty, pinned={("old", "evaluate.score"): "champion"})
    assert make_plan(found, Rule(1)).kept_runs.keys() == {"old", "empty-3"}
    left = replace(found, parts={}, runs={i: found.runs[i] for i in ("old", "empty-3")})
    assert make_plan(left, Rule(1)).gone_runs == frozenset()


def test_a_run_that_left_nothing_stays_while_the_one_that_carries_it_on_needs_those_before_it():
    first = part("train.fit", "first", 0, published=False)
    between = Run("between", at(5), at(5), parent="first")
    last = Run("last", at(7), at(7), under_way=True, parent="between")
    others = [Run(f"empty-{number}", at(number), at(number)) for number in (8, 9)]
    newer = part("train.fit", "newer", 6, published=False)
    found = there(first, newer, runs=[between, last, *others])
    plan = make_plan(found, Rule(1))
    assert plan.kept_runs["between"] == "carried on by run last"
    left = replace(found, runs={i: found.runs[i] for i in plan.kept_runs})
    assert first.address in make_plan(left, Rule(1)).kept


@some
@given(graphs(), RULES)
def test_whoever_keeps_more_loses_nothing_more(found, rule):
    more = replace(rule, keep=rule.keep + 1)
    assert make_plan(found, more).gone <= make_plan(found, rule).gone


def test_the_newest_runs_of_a_step_stay_and_those_that_failed_are_counted_apart():
    passed = [part("train.fit", f"passed-{n}", n) for n in range(4)]
    failed = [part("train.fit", f"failed-{n}", 10 + n, published=False) for n in range(4)]
    found = there(*passed, *failed)
    assert gone(found, Rule(2)) == {
        ("train.fit", run) for run in ("passed-0", "passed-1", "failed-0", "failed-1")
    }


def test_what_a_kept_step_was_made_from_stays_and_what_that_was_made_from():
    old, middle = part("load.data", "r1", 1), StepRun("load.data", "baseline", "r1")
    split = part("prepare.split", "r1", 2, refers=[middle])
    fit = part("train.fit", "r2", 3, refers=[split.address])
    newer = [part(step, "r3", 4) for step in ("load.data", "prepare.split")]
    plan = make_plan(there(old, split, fit, *newer), Rule(1))
    assert plan.gone == frozenset()
    assert plan.kept[split.address] == "needed by train.fit of run r2"
    assert plan.kept[old.address] == "needed by prepare.split of run r1"


def test_age_keeps_what_the_number_would_let_go():
    found = there(*(part("train.fit", f"r{n}", n) for n in range(6)))
    assert gone(found, Rule(2)) == {("train.fit", f"r{n}") for n in range(4)}
    assert gone(found, Rule(2, at(2))) == {("train.fit", "r0"), ("train.fit", "r1")}


def test_a_result_whose_files_were_deleted_does_not_count_as_the_newest():
    whole = part("train.fit", "r1", 1)
    broken = part("train.fit", "r2", 2, made_of=frozenset([whole.address.of_run("deleted")]))
    assert gone(there(whole, broken), Rule(1)) == set()


def test_what_was_the_newest_when_a_run_began_stays_until_it_has_ended():
    parts = [part("train.fit", f"r{n}", 10 * n) for n in range(5)]
    reader = Run("reader", at(25), at(25), under_way=True)
    assert gone(there(*parts, runs=[reader]), Rule(1)) == {("train.fit", "r0"), ("train.fit", "r1")}
    over = replace(reader, under_way=False)
    assert len(gone(there(*parts, runs=[over]), Rule(1))) == 4


def test_a_run_that_failed_keeps_what_it_has_published_so_that_it_can_be_carried_on():
    first = part("load.data", "r1", 1)
    failed = part("train.fit", "r1", 2, published=False)
    later = part("load.data", "r2", 3)
    assert gone(there(first, failed, later), Rule(1)) == set()
    passed = replace(failed, published=True)
    assert gone(there(first, passed, later), Rule(1)) == {("load.data", "r1")}


def test_instances_stay_with_their_step_and_alone_where_another_run_has_taken_them_over():
    def of(run, key=None):
        return StepRun("train.fit", "baseline", run, None, key)

    first = [Part(of("r1", k), published=True, moment=at(1)) for k in (None, "a", "b")]
    second = [
        Part(
            of("r2"),
            published=True,
            moment=at(2),
            made_of=frozenset([of("r1", "a"), of("r2", "b")]),
        ),
        Part(of("r2", "b"), published=True, moment=at(2)),
    ]
    assert gone(there(*first, *second), Rule(1)) == {("train.fit", "r1"), ("train.fit[b]", "r1")}


def test_of_runs_that_were_over_before_any_step_the_newest_stay():
    runs = [Run(f"r{n}", at(n), at(n), pipeline="training") for n in range(4)]
    assert make_plan(there(runs=runs), Rule(2)).gone_runs == {"r0", "r1"}


def test_what_is_left_of_a_run_whose_record_is_gone_goes():
    run = Run("r1", at(1), at(1), recorded=False)
    assert make_plan(there(runs=[run]), Rule(5)).gone_runs == {"r1"}


def test_at_least_one_run_is_kept():
    with pytest.raises(ValueError, match="the newest run of each step is kept"):
        Rule(0)
