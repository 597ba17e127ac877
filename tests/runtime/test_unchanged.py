"""Skipping the unchanged: content, not time, decides what is run again."""

from __future__ import annotations

import json

import pytest
from dagster import MetadataValue

from dsml.contract.register import write_register

from .conftest import execute
from .projects import Step, manifests_of, start, write_notebook, write_project

COUNT = "from pathlib import Path\nPath('ran.txt').open('a').write('{name} ')\n"
LOAD = COUNT.format(name="load") + "context.save('n', value)\ncontext.log_metric('value', value)"
DOUBLE = COUNT.format(name="double") + "context.save('n', 2 * (context.load('n') // 2))"
LAST = (
    COUNT.format(name="last") + "context.save('n', context.load('n'))\ncontext.log_metric('m', 5)"
)
OUT = {"n": "n.json"}


def steps(**changed):
    return {
        "a.load": Step(LOAD, outs=OUT, parameters="value: int = 4"),
        "a.double": Step(DOUBLE, ins={"n": "a.load.n"}, outs=OUT, **changed),
        "a.last": Step(LAST, ins={"n": "a.double.n"}, outs=OUT),
    }


@pytest.fixture
def project(root):
    return write_project(root, steps(), experiments={"baseline": {}, "other": {}})


def ran_steps(root):
    """The steps whose notebooks have run since the last look."""
    file = root / "stages" / "a" / "ran.txt"
    found = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def run_again(root, value=None, **arguments):
    config = {} if value is None else {"ops": {"a__load": {"config": {"value": value}}}}
    ran = execute(root, run_config=config, **arguments)
    assert ran.passed
    return ran, ran_steps(root)


def published(root, step):
    """The content of what a step has published last."""
    manifest = manifests_of(root)[step]
    return root.joinpath(
        "artefacts/baseline", *step.split("."), manifest.run_id, "n.json"
    ).read_text()


def change(root, name, **changed):
    write_notebook(root, name, steps(**changed)[name])


def test_what_has_not_changed_is_not_run_again(project):
    assert run_again(project)[1] == ["load", "double", "last"]
    assert run_again(project)[1] == ["load"]  # a source is asked anew: its data may have changed


def test_what_is_taken_over_is_materialised_once_more_marked_and_with_its_metrics(project):
    first, _ = run_again(project)
    second, _ = run_again(project)
    found = {
        ".".join(m.asset_key.path): m.materialization
        for m in second.result.get_asset_materialization_events()
    }
    told = found["a.last"].metadata
    assert told["cached"] == MetadataValue.text(f"unchanged since run {first.run_id[:8]}")
    assert told["m"] == MetadataValue.float(5.0)
    assert f"/{first.run_id}/" in found["a.last.n"].metadata["path"].value
    before = {
        ".".join(m.asset_key.path): m.materialization.tags["dagster/data_version"]
        for m in first.result.get_asset_materialization_events()
    }
    assert {name: m.tags["dagster/data_version"] for name, m in found.items()} == before


def test_the_manifest_says_which_run_has_the_files(project):
    first, _ = run_again(project)
    second, _ = run_again(project)
    manifest = manifests_of(project)["a.last"]
    assert (manifest.run_id, manifest.cached) == (second.run_id, first.run_id)
    assert not list(project.glob(f"artefacts/*/a/last/{second.run_id}/n.json"))
    third, _ = run_again(project)
    assert manifests_of(project)["a.last"].cached == first.run_id
    assert third.run_id != second.run_id


def test_a_changed_parameter_runs_the_step_and_what_gets_other_content(project):
    run_again(project, 4)
    assert run_again(project, 6)[1] == ["load", "double", "last"]


def test_consumers_of_outputs_that_came_out_the_same_are_not_run(project):
    run_again(project, 4)
    assert run_again(project, 5)[1] == ["load", "double"]


def test_what_has_been_made_before_is_found_again(project):
    first, _ = run_again(project, 4)
    run_again(project, 6)
    third, steps_run = run_again(project, 4)
    assert steps_run == ["load"]
    assert manifests_of(project)["a.last"].cached == first.run_id
    assert manifests_of(project)["a.last"].run_id == third.run_id


def test_an_edited_cell_runs_its_step_again(project):
    run_again(project)
    work = DOUBLE.replace("2 * (", "2 + 2 * (")
    write_notebook(project, "a.double", Step(work, ins={"n": "a.load.n"}, outs=OUT))
    assert run_again(project)[1] == ["load", "double", "last"]


def test_an_edited_cell_that_gives_the_same_leaves_its_consumers_alone(project):
    run_again(project)
    work = DOUBLE.replace("2 * (", "0 + 2 * (")
    write_notebook(project, "a.double", Step(work, ins={"n": "a.load.n"}, outs=OUT))
    assert run_again(project)[1] == ["load", "double"]


def test_a_comment_or_a_text_is_no_change(project):
    run_again(project)
    work = "# why this is so\n" + DOUBLE + "  # and this\n"
    file = write_notebook(project, "a.double", Step(work, ins={"n": "a.load.n"}, outs=OUT))
    document = json.loads(file.read_text())
    document["cells"][0]["source"] = ["# Another heading\n", "and a sentence."]
    file.write_text(json.dumps(document))
    assert run_again(project)[1] == ["load"]


def test_a_changed_module_of_the_project_is_a_change(project):
    (project / "tools.py").write_text("def double(n):\n    return 2 * (n // 2)\n")
    work = "from tools import double\n" + DOUBLE.replace("2 * (context", "0 + (context")
    write_notebook(project, "a.double", Step(work, ins={"n": "a.load.n"}, outs=OUT))
    write_register(project)
    run_again(project)
    (project / "tools.py").write_text("def double(n):\n    return 4 * (n // 2)\n")
    assert "double" in run_again(project)[1]


def test_what_is_edited_while_a_run_is_under_way_counts_as_it_was_executed(root):
    edit = """
file = Path("double.ipynb")
if Path("edit").exists():
    Path("edit").unlink()
    file.write_text(file.read_text().replace("// 2", "// 3"))
"""
    made = steps()
    made["a.load"] = Step(LOAD + edit, outs=OUT, parameters="value: int = 4")
    root = write_project(root, made)
    file = root / "stages" / "a" / "double.ipynb"
    before = file.read_text()
    file.with_name("edit").touch()
    run_again(root, 7)
    assert json.loads(published(root, "a.double")) == 4
    file.write_text(before)
    assert "double" in run_again(root, 7)[1]


def test_force_runs_everything(project):
    run_again(project)
    assert run_again(project, tags={"dsml/force": "true"})[1] == ["load", "double", "last"]


@pytest.mark.parametrize(
    ("name", "cache", "expected"),
    [("a.double", False, ["load", "double"]), ("a.load", True, [])],
)
def test_a_step_says_itself_whether_it_may_be_left_out(root, name, cache, expected):
    made = steps()
    declared = made[name]
    made[name] = Step(
        declared.work, declared.ins, declared.outs, declared.parameters, declared={"cache": cache}
    )
    root = write_project(root, made)
    run_again(root)
    assert run_again(root)[1] == expected


def test_an_experiment_has_results_of_its_own(project):
    run_again(project)
    assert run_again(project, experiment="other")[1] == ["load", "double", "last"]


def test_where_the_files_are_gone_the_step_runs_again(project):
    first, _ = run_again(project)
    (file,) = project.glob(f"artefacts/*/a/last/{first.run_id}/n.json")
    file.unlink()
    assert run_again(project)[1] == ["load", "last"]


def test_only_the_instances_that_are_new_are_run(root):
    work = (
        "from pathlib import Path\nPath('ran.txt').open('a').write(f'{n} ')\ncontext.save('n', n)"
    )
    made = {
        "a.load": Step("context.save('n', 1)", outs=OUT),
        "a.fit": Step(
            work,
            ins={"x": "a.load.n"},
            outs=OUT,
            parameters="n: int = 0",
            declared={"map": {"n": [1, 2]}},
        ),
        "a.use": Step("context.save('n', context.load('n'))", ins={"n": "a.fit.n"}, outs=OUT),
    }
    root = write_project(root, made)
    assert run_again(root)[1] == ["1", "2"]
    ran = execute(root, run_config={"ops": {"a__fit": {"config": {"n": [2, 3]}}}})
    assert (ran.passed, ran_steps(root)) == (True, ["3"])
    (file,) = root.glob(f"artefacts/baseline/a/use/{ran.run_id}/n.json")
    assert json.loads(file.read_text()) == {"2": 2, "3": 3}


def test_a_file_of_the_project_that_a_parameter_names_counts_by_its_content(root):
    work = "from pathlib import Path\nPath('ran.txt').open('a').write('load ')"
    step = Step(work, parameters='source: str = "data/in.csv"', declared={"cache": True})
    root = write_project(root, {"a.load": step})
    (root / "data").mkdir()
    file = root / "data" / "in.csv"
    expected = {"a": ["load"], "a again": [], "b": ["load"]}
    for name, runs in expected.items():
        file.write_text(name[0])
        assert run_again(root)[1] == runs


def test_a_step_that_is_left_out_has_not_written_its_optional_out_once_more(root):
    made = {
        "a.choose": Step(
            COUNT.format(name="choose"),
            outs={"n": {"file": "n.json", "optional": True}},
            declared={"cache": True},
        ),
        "a.use": Step(COUNT.format(name="use"), ins={"n": "a.choose.n"}),
    }
    root = write_project(root, made)
    for expected in (["choose"], []):
        ran, steps_run = run_again(root)
        assert steps_run == expected
        assert [e.step_key for e in ran.result.all_events if e.is_step_skipped] == ["a__use"]


def test_the_order_of_a_map_is_content_to_those_who_read_it(root):
    made = {
        "a.fit": Step(
            "context.save('n', n)",
            outs=OUT,
            parameters="n: int = 0",
            declared={"map": {"n": [1, 2]}, "cache": True},
        ),
        "a.use": Step("context.save('n', list(context.ins.n))", ins={"n": "a.fit.n"}, outs=OUT),
    }
    root = write_project(root, made)
    for order in ([1, 2], [2, 1]):
        ran = execute(root, run_config={"ops": {"a__fit": {"config": {"n": order}}}})
        (file,) = root.glob(f"artefacts/baseline/a/use/{ran.run_id}/n.json")
        assert json.loads(file.read_text()) == [str(n) for n in order]


@pytest.mark.slow
def test_a_second_run_with_nothing_changed_starts_no_kernel(root):
    made = steps()
    made["a.load"] = Step(LOAD, outs=OUT, parameters="value: int = 4", declared={"cache": True})
    root = write_project(root, made)
    ended = [start(root, "run", "--json").communicate(timeout=120)[0] for _ in range(2)]
    assert ran_steps(root) == ["load", "double", "last"]
    reports = [json.loads(out) for out in ended]
    assert [report["status"] for report in reports] == ["success", "success"]
    assert {step["status"] for step in reports[1]["steps"]} == {"unchanged"}
