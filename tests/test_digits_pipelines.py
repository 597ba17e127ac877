"""The pipelines of the digits example, run for real, and the faults that can be switched on."""

from __future__ import annotations

import json
import sys

import pandas as pd
import pytest
from conftest import run_command

from dsml.contract.project import load_project
from dsml.contract.selection import steps_of
from dsml.store import Attempt, Manifest

TRAINING = {
    "load.digits",
    "explore.figures",
    "prepare.split",
    "train.fit",
    "evaluate.accuracy",
    "summary.report",
}
RELEASE = {"release.gate", "release.model_card"}
INFERENCE = {"predict.batch", "predict.counts"}
DEADLINE = 15  # seconds that the step which hangs is given here; in the example it is a minute
CHECK_FAILED = """\
stages/load/digits.ipynb, cell 2 (op_parameters), line 5
  checks.digits: 'digits.parquet' breaks a rule
  column 'digit', rule 'max 9': 1 row, at {row}: {value}
  nothing was published: mend what the step writes, or the rule"""


@pytest.fixture
def project(trained, copy_of):
    return copy_of(trained)


def dsml_run(project, *arguments, check=True, **environment):
    """Run a pipeline on `small` and return its report."""
    command = ("-m", "dsml", "run", *arguments, "--experiment", "small", "--json")
    done = run_command(sys.executable, *command, cwd=project, check=check, **environment)
    report = json.loads(done.stdout)
    assert (done.returncode == 0) == (report["status"] == "success")
    return report


def published(project, report, step):
    """The folder and the manifest of what a run has published of a step."""
    (folder,) = project.glob(f"artefacts/small/{step.replace('.', '/')}/{report['run_id']}")
    return folder, Manifest.from_json((folder / "manifest.json").read_bytes())


def attempts(project, report, step="load.digits"):
    """The records of a run's attempts at a step, in order."""
    (folder,) = project.glob(f"artefacts/small/{step.replace('.', '/')}/{report['run_id']}")
    files = folder.glob("attempts/*/attempt.json")
    return sorted(
        (Attempt.from_json(file.read_bytes()) for file in files), key=lambda found: found.number
    )


def incoming(project, name, **changes):
    """Put the sample where the sensor looks, with other values in its first row; its path."""
    images = pd.read_csv(project / "data" / "sample.csv")
    for column, value in changes.items():
        images.loc[0, column] = value
    images.to_csv(project / "data" / "incoming" / name, index=False)
    return f"data/incoming/{name}"


# --- what the catalog says ------------------------------------------------------------------------


def test_training_comes_first_and_has_every_step_but_those_of_inference_and_release(digits):
    project = load_project(digits)
    steps = {
        name: set(steps_of(pipeline, project.registered))
        for name, pipeline in project.catalog.pipelines.items()
    }
    assert project.catalog.default_pipeline == "training"
    assert steps == {
        "training": TRAINING,
        "weekly": TRAINING | RELEASE,
        "new_data": TRAINING | RELEASE,
        "inference": INFERENCE,
        "release": RELEASE,
    }
    assert set(project.registered) == TRAINING | INFERENCE | RELEASE


def test_without_tracking_there_is_nothing_to_release(untracked):
    project = load_project(untracked)
    assert set(project.registered) == TRAINING | INFERENCE
    assert list(project.catalog.pipelines) == ["training", "weekly", "new_data", "inference"]
    assert project.catalog.models == {}
    notebook = (untracked / "stages" / "evaluate" / "accuracy.ipynb").read_text(encoding="utf-8")
    assert "log_model" not in notebook


def test_retraining_is_scheduled_for_monday_morning_and_new_files_start_a_run(digits):
    pipelines = load_project(digits).catalog.pipelines
    schedule, sensor = pipelines["weekly"].schedule, pipelines["new_data"].sensor
    assert (schedule.cron, schedule.timezone) == ("0 6 * * 1", "Europe/Berlin")
    assert (sensor.watch, sensor.parameter) == ("data/incoming/*.csv", "load.digits.source")
    started_by_nothing = [pipelines[name] for name in ("training", "inference")]
    assert [(p.schedule, p.sensor) for p in started_by_nothing] == [(None, None)] * 2


def test_the_experiments_are_what_their_descriptions_say(digits):
    project = load_project(digits)
    found = {name: each.config for name, each in project.catalog.experiments.items()}
    assert list(found) == ["baseline", "wide", "small"]
    assert found["baseline"] == {}
    fit, wide = project.registered["train.fit"].parameters, found["wide"]["train.fit"]
    assert wide["gamma"] < fit["gamma"].default
    assert wide["penalty"] > fit["penalty"].default
    images = project.registered["load.digits"].parameters["n_images"].default
    assert found["small"]["load.digits"]["n_images"] == pytest.approx(images / 3, rel=0.01)
    assert max(found["small"]["train.fit"]["n_train"]) < 600


# --- what the pipelines do ------------------------------------------------------------------------


@pytest.mark.slow
def test_training_fits_a_model_for_each_size_and_passes_the_best_one_on(trained):
    (fit,) = trained.glob("artefacts/small/train/fit/*")
    assert {folder.name for folder in (fit / "instances").iterdir()} == {"50", "150", "450"}
    models = {folder.name: folder / "model.joblib" for folder in (fit / "instances").iterdir()}
    (accuracy,) = trained.glob("artefacts/small/evaluate/accuracy/*")
    (report,) = trained.glob("artefacts/small/summary/report/*")
    scores = json.loads((accuracy / "accuracy.json").read_text())
    assert [found["n_train"] for found in scores] == [50, 150, 450]
    best = json.loads((report / "best.json").read_text())
    assert best["accuracy"] == max(found["accuracy"] for found in scores) >= 0.95
    assert (accuracy / "best.joblib").read_bytes() == models[best["model"]].read_bytes()


@pytest.mark.slow
def test_inference_names_the_digits_of_the_sample(trained):
    (file,) = trained.glob("artefacts/small/predict/batch/*/predictions.csv")
    predictions, images = pd.read_csv(file), pd.read_csv(trained / "data" / "sample.csv")
    assert list(predictions["image"]) == list(range(20))
    assert (predictions["digit"] == images["digit"]).sum() >= 15
    (counted,) = trained.glob("artefacts/small/predict/counts/*/counts.csv")
    counts = pd.read_csv(counted).set_index("digit")["images"]
    assert list(counts) == [(predictions["digit"] == digit).sum() for digit in range(10)]


@pytest.mark.slow
def test_inference_reads_its_file_each_time(project):
    images = pd.read_csv(project / "data" / "sample.csv").drop(columns="digit")
    for count in (3, 2):
        images.head(count).to_csv(project / "data" / "today.csv", index=False)
        report = dsml_run(project, "inference", "--set", "predict.batch.source=data/today.csv")
        folder, _ = published(project, report, "predict.batch")
        assert len(pd.read_csv(folder / "predictions.csv")) == count


@pytest.mark.slow
def test_new_data_trains_with_the_images_of_a_file_too(project):
    source = incoming(project, "monday.csv")
    report = dsml_run(project, "new_data", "--set", f"load.digits.source={source}")
    assert {step["step"] for step in report["steps"]} >= TRAINING
    folder, loaded = published(project, report, "load.digits")
    assert json.loads((folder / "source.json").read_text())["added_from"] == source
    assert loaded.metrics["images"] == 620
    _, split = published(project, report, "prepare.split")
    assert split.metrics["train_rows"] + split.metrics["test_rows"] == 620
    assert published(project, report, "summary.report")


@pytest.mark.slow
def test_new_data_with_a_wrong_label_is_stopped_before_anything_is_trained_on_it(project):
    source = incoming(project, "monday.csv", digit=12)
    settings = (f"load.digits.source={source}", "load.digits.n_images=300")
    arguments = [word for setting in settings for word in ("--set", setting)]
    report = dsml_run(project, "new_data", *arguments, check=False)
    assert report["steps"][0]["error"] == CHECK_FAILED.format(row=300, value=12)
    assert set(report["not_run"]) == (TRAINING | RELEASE) - {"load.digits"}
    assert not list(project.glob(f"artefacts/small/*/*/{report['run_id']}/manifest.json"))


@pytest.mark.slow
def test_weekly_retraining_on_the_same_data_trains_nothing_and_worse_models_are_refused(project):
    first = dsml_run(project, "weekly")
    steps = TRAINING | RELEASE
    assert {step for step in steps if published(project, first, step)} == steps
    executed = project.glob(f"artefacts/small/*/*/{first['run_id']}/**/executed.ipynb")
    assert {".".join(path.parts[-6:-4]) for path in executed} == RELEASE
    assert {step["status"] for step in first["steps"]} <= {"passed", "unchanged"}
    folder, gate = published(project, first, "release.gate")
    assert json.loads((folder / "decision.json").read_text())["outcome"] == "promoted"
    accuracy = gate.metrics["held_out_accuracy"]
    _, evaluated = published(project, first, "evaluate.accuracy")
    assert accuracy == evaluated.metrics["accuracy"]
    few = ("--set", "train.fit.n_train=[40]")
    again = dsml_run(project, "weekly", *few)  # it is refused, and that fails no run
    folder, gate = published(project, again, "release.gate")
    decision = json.loads((folder / "decision.json").read_text())
    assert (decision["outcome"], gate.logged["decision"]) == ("refused", "refused")
    assert (decision["version"], decision["champion"]) == (2, 1)
    assert decision["value"] < decision["champion_value"] == accuracy
    _, card = published(project, again, "release.model_card")
    assert (card.logged["champion"], card.metrics["champion_accuracy"]) == (1, accuracy)


# --- faults ---------------------------------------------------------------------------------------


def shorten_the_deadline(project):
    file = project / "stages" / "load" / "digits.ipynb"
    text = file.read_text(encoding="utf-8")
    assert text.count('\\"timeout\\": 60,') == 1
    text = text.replace('\\"timeout\\": 60,', f'\\"timeout\\": {DEADLINE},')
    file.write_text(text, encoding="utf-8")


def first_lines(project, report):
    """What the attempts at the load say of themselves: the line below the place."""
    return [found.error.splitlines()[1].strip() for found in attempts(project, report)]


@pytest.mark.slow
def test_all_faults_show_in_one_run_that_the_check_stops(project):
    shorten_the_deadline(project)
    report = dsml_run(project, check=False, DSML_FAULTS="1")
    no_answer = "ConnectionError: the source of the images does not answer (DSML_FAULTS)"
    assert first_lines(project, report) == [
        no_answer,
        no_answer,
        f"the deadline of {DEADLINE} s has passed",
        "checks.digits: 'digits.parquet' breaks a rule",
    ]
    (load,) = report["steps"]
    assert load["error"] == CHECK_FAILED.format(row=0, value=10)
    assert set(report["not_run"]) == TRAINING - {"load.digits"}


@pytest.mark.slow
def test_a_load_that_fails_twice_and_a_step_that_hangs_cost_attempts_and_nothing_else(project):
    (before,) = project.glob("artefacts/small/load/digits/*/manifest.json")
    without = Manifest.from_json(before.read_bytes())
    shorten_the_deadline(project)
    report = dsml_run(project, "--select", "load", DSML_FAULTS="load,hang")
    made = attempts(project, report)
    assert [found.status for found in made] == ["failed", "failed", "failed", "passed"]
    folder, manifest = published(project, report, "load.digits")
    hung = (folder / "attempts" / "3" / "executed.ipynb").read_text(encoding="utf-8")
    assert f"the deadline of {DEADLINE} s has passed" in hung
    assert manifest.outputs == without.outputs


# --- elsewhere ------------------------------------------------------------------------------------


def sums(project, run_id):
    """The sha256 of every artefact that a run has published, those of instances among them."""
    found = {}
    for file in project.glob(f"artefacts/small/*/*/{run_id}/**/manifest.json"):
        manifest = Manifest.from_json(file.read_bytes())
        part = file.parent.name if "instances" in file.parts else ""
        for name, output in manifest.outputs.items():
            found[manifest.step, part, name] = output.sha256
    return found


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["dask", "ray"])
def test_training_gives_the_same_artefacts_on_the_workers_of_a_cluster(executor, project):
    manifests = project.glob("artefacts/small/train/fit/*/manifest.json")
    before = sums(project, min(manifests, key=lambda file: file.stat().st_mtime).parent.name)
    report = dsml_run(project, "training", "--executor", executor, "--workers", "2", "--force")
    assert len(before) > len(TRAINING)
    assert sums(project, report["run_id"]) == before
