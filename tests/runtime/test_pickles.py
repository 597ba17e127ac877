"""Pickles run code when they are read: the catalog says which may be."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import run_command

from dsml.contract.pickles import is_allowed
from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project, read_project

from .conftest import execute
from .projects import Step, write_project

MAKE = 'context.save("model", {"weights": {1, 2}})'
READ = 'context.save("n", len(context.load("model")["weights"]))'


def project(root, *allowed, file="model.joblib", read=READ):
    """A step that publishes a pickle, and one that reads it; the catalog allows some."""
    steps = {
        "train.fit": Step(MAKE, outs={"model": file}),
        "use.it": Step(read, ins={"model": "train.fit.model"}, outs={"n": "n.json"}),
    }
    # it can be registered only where it is allowed, so what is allowed is changed afterwards
    write_project(root, steps, pickles=["*"])
    catalog = root / "catalog.yml"
    listed = f"pickles: {json.dumps(allowed)}\n"
    catalog.write_text(catalog.read_text().replace("pickles:\n- '*'\n", listed))
    return root


@pytest.mark.parametrize("file", ["model.joblib", "model.pkl", "MODEL.PICKLE"])
def test_a_pickle_that_a_step_reads_and_nobody_allows_is_found_before_anything_runs(root, file):
    project(root, file=file)
    with pytest.raises(ProjectError) as refused:
        load_project(root)
    assert str(refused.value).splitlines()[1:] == [
        "  ins.model: 'train.fit.model' is a pickle, which runs code when it is read",
        "  allow it in catalog.yml: pickles: [train.fit.model]",
    ]


@pytest.mark.parametrize("allowed", ["train.fit.model", "train.*", "*.model", "*"])
def test_it_is_read_where_a_path_or_a_pattern_allows_it(root, allowed):
    assert not read_project(project(root, allowed)).problems
    assert is_allowed("train.fit.model", [allowed])


@pytest.mark.parametrize("allowed", ["train.fit", "use.*", "fit.model", "train.fit.model2", ""])
def test_other_paths_and_patterns_do_not_allow_it(allowed):
    assert not is_allowed("train.fit.model", [allowed])


@pytest.mark.parametrize("file", ["model.joblib", "model.pkl", "model.pickle"])
def test_a_pickle_that_is_allowed_goes_from_one_step_to_the_next(root, file):
    ran = execute(project(root, "train.fit.model", file=file))
    assert ran.passed
    (out,) = root.glob("artefacts/baseline/use/it/*/n.json")
    assert out.read_text() == "2\n"


def test_a_file_that_somebody_puts_in_the_place_of_a_table_is_not_unpickled(root):
    """The storage says what file an in is, and may have been written to by others."""
    steps = {
        "train.fit": Step('context.save("model", [1])', outs={"model": "model.json"}),
        "use.it": Step('context.load("model")', ins={"model": "train.fit.model"}),
    }
    write_project(root, steps)
    assert execute(root).passed
    (manifest,) = root.glob("artefacts/baseline/train/fit/*/manifest.json")
    manifest.with_name("model.json").rename(manifest.with_name("model.pkl"))
    manifest.write_text(manifest.read_text().replace("model.json", "model.pkl"))
    done = run_command(
        *(sys.executable, "-m", "dsml", "run", "--select", "use.it", "--force"),
        cwd=root,
        check=False,
    )
    assert done.returncode == 1
    assert "'train.fit.model' is a pickle, which runs code when it is read" in done.stderr


def test_by_hand_the_same_rule_holds(root):
    project(root, "train.fit.model", read='context.load("model")')
    execute(root)
    catalog = root / "catalog.yml"
    catalog.write_text(catalog.read_text().replace('"train.fit.model"', '"train.other.*"'))
    done = run_command(
        *(sys.executable, "-m", "jupyter", "execute", "stages/use/it.ipynb"), cwd=root, check=False
    )
    assert "allow it in catalog.yml: pickles: [train.fit.model]" in done.stderr


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("train.fit.modle", "pickles: no step publishes 'train.fit.modle'"),
        ("train/fit", "pickles: 'train/fit' is no catalog path"),
    ],
)
def test_a_pattern_that_means_nothing_is_a_finding(root, pattern, told):
    problems = [str(problem) for problem in read_project(project(root, "*", pattern)).problems]
    assert any(told in problem for problem in problems)


def test_a_pickle_that_no_step_reads_needs_no_leave(root):
    write_project(root, {"train.fit": Step(MAKE, outs={"model": "model.joblib"})})
    assert execute(root).passed
