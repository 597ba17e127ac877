"""The mutation score is measured as it says, and the quick part of it holds."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import TEMPLATE

from mutation.packages import PACKAGES, RUNTIME
from mutation.place import prepare
from mutation.sample import draw, interval

MUTANTS = {
    "large.py": [f"large_{number}" for number in range(70)],
    "small.py": [f"small_{number}" for number in range(25)],
    "tiny.py": [f"tiny_{number}" for number in range(5)],
}


@pytest.mark.parametrize(("size", "counts"), [(20, (14, 5, 1)), (10, (7, 3, 0)), (3, (2, 1, 0))])
def test_of_each_file_as_many_mutants_are_drawn_as_its_share(size, counts):
    drawn = draw(MUTANTS, size, seed=1)
    assert tuple(len(set(drawn) & set(names)) for names in MUTANTS.values()) == counts
    assert len(set(drawn)) == len(drawn) == size


def test_a_seed_draws_the_same_mutants_each_time_and_another_one_others():
    turned = {file: names[::-1] for file, names in reversed(MUTANTS.items())}
    assert draw(MUTANTS, 20, seed=1) == draw(turned, 20, seed=1) != draw(MUTANTS, 20, seed=2)


def test_no_more_are_drawn_than_there_are():
    assert len(draw(MUTANTS, 1000, seed=1)) == 100


# From Wilson's formula as statsmodels computes it: proportion_confint(..., method="wilson").
@pytest.mark.parametrize(
    ("noticed", "drawn", "low", "high"),
    [(80, 100, 0.7111, 0.8667), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_is_wilsons(noticed, drawn, low, high):
    assert interval(noticed, drawn) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_modules_and_tests(name):
    package = PACKAGES[name]
    there = {path.stem for path in (RUNTIME / name).glob("*.py")}
    assert there - set(package.modules) == set(package.left_out)
    assert [test for test in package.tests if not (TEMPLATE / test).exists()] == []


def test_the_place_has_the_runtime_the_tests_and_all_else_of_the_repository(tmp_path):
    package = PACKAGES["store"]
    prepare(tmp_path / "place", package, ["paths"], ["tests/runtime/test_store.py"])
    place = tmp_path / "place"
    assert (place / "dsml" / "store" / "paths.py").samefile(RUNTIME / "store" / "paths.py")
    assert (place / "tests" / "conftest.py").is_file()
    assert {path.name for path in (place / "mutants").iterdir()} >= {"hooks", "cookiecutter.json"}
    assert not (place / "mutants" / "tests").exists()  # mutmut copies them


# Modules whose own tests are quick. The score of the packages is that of `make mutate`.
QUICK = ("cron", "graph", "selection", "triggers", "yaml_lines")


@pytest.mark.slow(minutes=1)
def test_of_forty_mutants_of_a_few_modules_their_own_tests_notice_most(tmp_path):
    tests = [f"tests/contract/test_{module}.py" for module in (*QUICK, "fanout")]
    options = ("--modules", *QUICK, "--tests", *tests, "--sample", "40", "--least", "85")
    done = subprocess.run(
        [sys.executable, "-m", "mutation", "contract", "--folder", tmp_path / "place", *options],
        cwd=TEMPLATE,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert "mutants noticed, drawn from" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout
