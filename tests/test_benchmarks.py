"""The benchmarks measure what they say and tell nothing of the machine but its kind."""

from __future__ import annotations

import getpass
import json
import platform

import pytest

from benchmarks import __main__ as command
from benchmarks import check_scale, report
from benchmarks.report import Limit, Result
from dsml.contract.register import check_project

ROWS = [{"notebooks": 10, "median s": 0.5}]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in an empty folder, into which results are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_measured_project_is_valid_and_all_of_it_is_registered(tmp_path):
    root = check_scale.make_project(tmp_path / "project", 12)
    assert check_project(root).problems == []
    document = json.loads((root / "stages/stage_03/notebook_0003.ipynb").read_text("utf-8"))
    assert len(document["cells"]) == check_scale.CELLS
    assert len(check_project(root).steps) == 12


def test_both_sizes_are_measured_in_turn_at_least_five_times(monkeypatch):
    timed = []

    def seconds_of(project, name):
        if name == "check":
            timed.append(project.name)
        return 1.0 if project.name == "2" else 3.0

    monkeypatch.setattr(check_scale, "SIZES", (2, 3))
    monkeypatch.setattr(check_scale, "seconds_of", seconds_of)
    result = check_scale.measure()
    assert timed == ["2", "3"] * check_scale.ROUNDS
    assert check_scale.ROUNDS >= 5
    assert [limit.measured for limit in result.limits] == [1.0, 3.0]
    assert [limit.at_most for limit in result.limits] == [2.0, 4.4]


def test_a_command_that_fails_is_not_measured(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)dsml check: .*has a catalog\.yml"):
        check_scale.seconds_of(tmp_path, "check")


def test_results_are_written_as_a_table_and_as_json(here):
    text = report.write([Result("x", "A title", ROWS, [Limit("seconds", 0.5, 2)])])
    assert "| notebooks | median s |\n| --- | --- |\n| 10 | 0.5 |" in text
    assert "seconds: 0.5, at most 2 (kept)" in text
    assert (here / "build" / "bench" / "results.md").read_text(encoding="utf-8") == f"{text}\n"
    found = json.loads((here / "build" / "bench" / "results.json").read_text(encoding="utf-8"))
    assert found["results"][0]["rows"] == ROWS
    assert found["results"][0]["kept"] is True


def test_the_machine_is_described_without_its_name_and_without_a_path():
    told = json.dumps(report.machine())
    assert platform.python_version() in told
    assert f'"cores": {report.machine()["cores"]}' in told
    assert "/" not in told
    assert platform.node() not in told
    assert f'"{getpass.getuser()}"' not in told


@pytest.mark.parametrize(("measured", "code"), [(2.0, 0), (2.1, 1)])
def test_a_limit_that_is_missed_fails_the_command(measured, code, here, monkeypatch, capsys):
    result = Result("x", "A title", ROWS, [Limit("seconds", measured, 2)])
    monkeypatch.setattr(command, "ALL", {"x": lambda: result})
    assert command.main([]) == code
    assert ("NOT KEPT" in capsys.readouterr().out) == bool(code)


def test_an_unknown_benchmark_is_wrong_usage(capsys):
    assert command.main(["nope"]) == 2
    assert capsys.readouterr().err == "no benchmark 'nope'; known are: check\n"
