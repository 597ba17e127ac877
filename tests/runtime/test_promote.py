"""Promotion: which model becomes the champion, and that no worse one ever does."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from click.testing import CliRunner

from dsml.cli import promote as command
from dsml.contract.catalog import read_catalog
from dsml.contract.problem import ProjectError
from dsml.evidence.models import promote, restore, versions
from dsml.evidence.models.signatures import incompatible
from dsml.step.models import client_of, registry_of
from dsml.store.manifest import MANIFEST_FILE, InstanceRun

from .logged_models import (
    MODELS,
    Runs,
    copy_database,
    import_mlflow,
    saying,
    write_models_project,
)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """An MLflow without anything in it."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    import_mlflow().MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def project(root, database, monkeypatch):
    """A project without runs, which is the working directory."""
    write_models_project(root)
    copy_database(root, database)
    monkeypatch.chdir(root)
    return Runs(root)


@pytest.fixture
def client(project):
    return client_of(tracking_of(project))


def tracking_of(project):
    return registry_of(project.root, catalog_of(project), "tests")


def catalog_of(project):
    return read_catalog(project.root, [])


def champion(client):
    return int(client.get_model_version_by_alias("small.m", "champion").version)


def dsml_promote(*arguments):
    """Run the command in this process."""
    return CliRunner().invoke(command.promote, arguments)


def told(call, *arguments, **options):
    with pytest.raises(ProjectError) as error:
        call(*arguments, **options)
    return str(error.value)


# --- who becomes the champion ---------------------------------------------------------------------


def test_the_first_model_becomes_the_champion_and_mlflow_loads_it(project, client, monkeypatch):
    project.run("r1", "two")
    decision = promote("m")
    assert (decision.outcome, decision.version, decision.before) == ("promoted", 1, None)
    assert (decision.value, decision.champion_value, decision.logged) == (0.3, None, 0.3)
    assert str(decision) == "m: version 1 is now the champion, the first"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_of(project).uri)
    model = import_mlflow().pyfunc.load_model("models:/small.m@champion")
    assert list(model.predict(saying("two")[1])) == ["two", "two"]
    tags = client.get_model_version("small.m", "1").tags
    told = {name: tags[f"dsml.{name}"] for name in ("run_id", "step", "experiment", "metric")}
    assert told == {
        "run_id": "r1",
        "step": "b.fit",
        "experiment": "baseline",
        "metric": "accuracy",
    }
    assert float(tags["dsml.value"]) == 0.3
    assert tags["dsml.champion_since"].endswith("+00:00")
    assert json.loads(tags["dsml.gate"])["outcome"] == "promoted"


def test_the_best_run_is_chosen_and_takes_over_and_can_be_undone(project, client):
    for run, word in (("r1", "two"), ("r2", "one"), ("r3", "three")):
        project.run(run, word)
    assert promote(run="r1").promoted
    decision = promote()
    assert (decision.run_id, decision.before, decision.champion) == ("r2", 1, 2)
    assert (decision.value, decision.champion_value) == (0.5, 0.3)
    assert str(restore(1)) == "m: version 1 is the champion again; it was version 2"
    assert champion(client) == 1
    assert restore(1).outcome == "unchanged"
    assert "small.m has no version 7\n  known are: 1, 2" in told(restore, 7)


def test_a_model_that_is_worse_is_refused_and_stays_the_challenger(project, client):
    project.run("r1", "one")
    project.run("r2", "two")
    assert promote().promoted
    decision = promote(run="r2")
    assert decision.outcome == "refused"
    assert str(decision) == (
        "m: version 2 is refused, version 1 stays the champion "
        "(accuracy on a.split.test, 10 rows: it is worse)"
    )
    assert champion(client) == 1
    assert client.get_registered_model("small.m").aliases == {"champion": 1, "challenger": 2}
    assert [(v.number, v.value, bool(v.champion_since)) for v in versions()] == [
        (2, 0.3, False),
        (1, 0.5, True),
    ]


def test_an_equal_model_does_not_take_over(project, client):
    project.run("r1", "one")
    project.run("r2", "one")
    promote(run="r1")
    decision = promote(run="r2")
    assert [c.note for c in decision.failed] == ["it is no better, both are equal"]
    assert champion(client) == 1


def test_a_better_metric_in_the_log_is_not_enough(project, client):
    project.run("r1", "one")
    project.run("r2", "two", log=lambda c: c.log_metric("accuracy", 0.99))
    promote(run="r1")
    decision = promote()
    assert (decision.run_id, decision.logged, decision.value) == ("r2", 0.99, 0.3)
    assert (decision.outcome, champion(client)) == ("refused", 1)


def test_the_champion_is_not_registered_once_more(project, client):
    project.run("r1", "one")
    project.run("r2", "one")  # newer, and just as good
    promote(run="r1")
    decision = promote()
    assert (decision.outcome, decision.champion) == ("unchanged", 1)
    assert promote(run="r2").outcome == promote(run="r2").outcome == "refused"
    assert len(client.search_model_versions("name = 'small.m'")) == 2


def test_a_dry_run_registers_nothing(project, client):
    project.run("r1", "one")
    decision = promote(dry_run=True)
    assert (decision.outcome, decision.version, decision.champion) == ("promoted", None, None)
    assert str(decision) == "m: the challenger would become the champion, the first"
    assert list(client.search_registered_models()) == []


# --- the other criteria ---------------------------------------------------------------------------


def test_a_broken_check_of_the_run_refuses_its_model(project):
    project.run("r1", "one", broken=True)
    decision = promote()
    (failed,) = decision.failed
    assert (failed.name, failed.challenger) == ("checks of the run", "1 of 2 passed")
    assert failed.note == "broken: b.fit.done"
    assert decision.champion is None


def test_a_model_that_needs_more_than_the_champion_is_refused(project):
    def wider(context):
        model, example = saying("one", columns="xz")
        context.log_model("m", model, input_example=example)

    project.run("r1", "two")
    project.run("r2", "one", log=wider)
    promote(run="r1")
    decision = promote(run="r2")
    notes = {criterion.name: criterion.note for criterion in decision.failed}
    assert notes["signature"] == "it needs z too"
    assert decision.champion == 1


@pytest.mark.parametrize(
    ("new", "old", "note"),
    [
        (["x: long"], ["x: long"], ""),
        (["x: double"], ["x: integer"], ""),
        (["x: long", "z: long optional"], ["x: long"], ""),
        (["x: long"], ["x: long", "z: long"], ""),
        (["x: integer"], ["x: long"], "it takes x as integer, not long"),
        (["x: string"], ["x: long"], "it takes x as string, not long"),
        (["x: long", "z: long"], ["x: long"], "it needs z too"),
        (["x: long"], ["x: long optional"], "it cannot do without x"),
        (None, ["x: long"], "it has no signature: log it with input_example="),
        (["x: long"], None, ""),
    ],
)
def test_a_signature_fits_where_it_takes_all_that_the_other_takes(new, old, note):
    mlflow = import_mlflow()

    def signature(columns):
        if columns is None:
            return None
        found = []
        for column in columns:
            name, rest = column.split(": ")
            kind, *optional = rest.split(" ")
            found.append(mlflow.types.ColSpec(kind, name, required=not optional))
        made = mlflow.models.infer_signature(saying("one")[1])
        made.inputs = mlflow.types.Schema(found)
        return made

    assert incompatible(signature(new), signature(old)) == note


def test_what_a_champion_has_to_reach_is_asked_of_the_first_one_too(root, database, monkeypatch):
    write_models_project(root, models={"m": {**MODELS["m"], "least": 0.6}})
    copy_database(root, database)
    monkeypatch.chdir(root)
    Runs(root).run("r1", "one")
    decision = promote()
    assert [(c.name, c.note) for c in decision.failed] == [
        ("accuracy >= 0.6", "at least 0.6 is asked for")
    ]
    assert (decision.outcome, decision.champion) == ("refused", None)


def test_a_function_of_the_project_may_score_and_lower_may_be_better(root, database, monkeypatch):
    score = {"metric": "misses", "score": "my_scores:misses", "higher": False, "least": 8}
    write_models_project(root, models={"m": {**MODELS["m"], **score}})
    copy_database(root, database)
    monkeypatch.chdir(root)
    (root / "my_scores.py").write_text("def misses(true, said):\n    return sum(true != said)\n")
    runs = Runs(root)
    for run, word, misses in (("r1", "two", 7), ("r2", "one", 5), ("r3", "three", 8)):
        runs.run(run, word, log=lambda c, misses=misses: c.log_metric("misses", misses))
    assert promote(run="r3").value == 8
    decision = promote()
    assert (decision.run_id, decision.value, decision.champion_value) == ("r2", 5, 8)
    assert promote(run="r1").outcome == "refused"


# --- where the model and its metric come from -----------------------------------------------------


def test_the_metric_may_be_that_of_the_one_other_step_of_the_run(project):
    def log(context):
        model, example = saying("one")
        context.log_model("m", model, input_example=example)

    project.run("r1", log=log, look=lambda c: c.log_metric("accuracy", 0.5))
    assert promote().logged == 0.5


def rewrite(store, manifest):
    """Put a manifest in the place of what the same step of the same run has published."""
    store.write(store.path(manifest.address, MANIFEST_FILE), manifest.to_json())


def test_it_is_told_where_it_is_unclear_whose_metric_is_meant(project):
    def log(context):
        model, example = saying("one")
        context.log_model("m", model, input_example=example)

    project.run("r1", log=log, look=lambda c: c.log_metric("accuracy", 0.5))
    store = project.store
    (manifest,) = store.published("a.split")
    rewrite(store, replace(manifest, metrics={"accuracy": 0.4}))
    assert told(promote) == (
        "dsml promote\n  run r1: a.split, c.look logged 'accuracy': it is unclear which is meant\n"
        "  log it where the model is logged, in b.fit"
    )


def test_the_best_instance_of_a_mapped_step_is_taken(project):
    run = project.run("r1")
    store = project.store
    (whole,) = store.published("b.fit")
    instances = {}
    for key, word, accuracy in (("10", "two", 0.3), ("20", "one", 0.5)):

        def fit(context, word=word, accuracy=accuracy):
            model, example = saying(word)
            context.log_model("m", model, input_example=example)
            context.log_metric("accuracy", accuracy)

        project.publish(run, "b.fit", fit, instance=key)
        instances[key] = InstanceRun(run, {"n": int(key)})
    rewrite(store, replace(whole, instances=instances))
    decision = promote()
    assert (decision.step, decision.value) == ("b.fit[20]", 0.5)


def test_a_step_that_was_unchanged_stands_for_the_run_that_made_it(project):
    project.run("r1", "one")
    store = project.store
    (manifest,) = store.published("b.fit")
    store.record(replace(manifest, run_id="r2", cached="r1"))
    project.run("r3", "two")
    (project.root / "artefacts" / ".runs" / "r2").mkdir()
    decision = promote(run="r2")
    assert (decision.run_id, decision.outcome) == ("r1", "promoted")
    assert promote(run="r1").outcome == promote(run="r2").outcome == "unchanged"


def test_only_runs_of_an_experiment_are_looked_at_where_one_is_named(root, database, monkeypatch):
    write_models_project(root, experiments={"baseline": {}, "wide": {}})
    copy_database(root, database)
    monkeypatch.chdir(root)
    Runs(root).run("r1", "one")
    Runs(root).run("r2", "two", experiment="wide")
    assert promote(experiment="wide", dry_run=True).run_id == "r2"
    assert "there is no experiment 'wid'\n  did you mean 'wide'?" in told(promote, experiment="wid")


def test_models_in_a_remote_storage_are_fetched(root, database, monkeypatch):
    write_models_project(root, storage=f"memory://{root.parent.name}/store")
    copy_database(root, database)
    monkeypatch.chdir(root)
    Runs(root).run("r1", "one")
    decision = promote()
    assert (decision.outcome, decision.value) == ("promoted", 0.5)
    assert promote().outcome == "unchanged"


# --- several at once ------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_promotions_at_the_same_time_the_best_wins(project, client):
    words = {"r1": "three", "r2": "one", "r3": "two"}
    for run, word in words.items():
        project.run(run, word)
    with ThreadPoolExecutor() as pool:
        decisions = list(pool.map(lambda run: promote(run=run), words))
    final = client.get_model_version("small.m", str(champion(client)))
    assert final.tags["dsml.run_id"] == "r2"
    won = sorted((d for d in decisions if d.promoted), key=lambda d: d.value)
    assert won[-1].run_id == "r2"


def test_a_champion_that_comes_meanwhile_is_compared_with_as_well(root, database, monkeypatch):
    """As it is with two machines: no lock keeps the other one away."""
    write_models_project(root, models={"m": {**MODELS["m"], "score": "meddling:score"}})
    copy_database(root, database)
    monkeypatch.chdir(root)
    runs = Runs(root)
    (root / "meddling.py").write_text(
        "from sklearn.metrics import accuracy_score as score  # noqa: F401\n"
    )
    for run, word in (("r1", "three"), ("r2", "one"), ("r3", "two")):
        runs.run(run, word)
    assert [promote(run=run).champion for run in ("r1", "r2")] == [1, 2]
    restore(1)
    tracking = tracking_of(runs)
    (root / "meddling.py").write_text(
        "from mlflow import MlflowClient\n"
        "from sklearn.metrics import accuracy_score\n"
        "def score(true, said):\n"
        f"    client = MlflowClient({tracking.uri!r})\n"
        "    client.set_registered_model_alias('small.m', 'champion', '2')\n"
        "    return accuracy_score(true, said)\n"
    )
    monkeypatch.delitem(sys.modules, "meddling")
    decision = promote(run="r3")
    assert (decision.outcome, decision.champion) == ("refused", 2)
    assert champion(client_of(tracking)) == 2


# --- what is told ---------------------------------------------------------------------------------


def test_it_is_told_when_there_is_nothing_to_promote(project):
    assert told(promote) == (
        "dsml promote\n  no run has logged a model 'm'\n"
        '  log it in a step: context.log_model("m", model, input_example=...)'
    )
    project.run("r1", log=lambda c: c.log_model("m", saying("one")[0]))
    assert "no metric 'accuracy' was logged for the model 'm'" in told(promote)
    project.run("r2", log=lambda c: c.log_metric("acuracy", 1))
    assert "run r2 has logged no model 'm'" in told(promote, run="r2")
    assert told(promote, run="r9").startswith("dsml promote\n  no run 'r9' has left anything in ")
    assert "did you mean 'm'?" in told(promote, "mm")
    assert "--metric acuracy" in told(promote, metric="acuracy")
    assert "accuracy is better when it is higher" in told(promote, higher=False)


def test_a_run_without_a_record_is_told(project):
    project.run("r1", "one", record=False)
    assert "run r1 has left no record" in told(promote)


def test_a_project_that_tracks_nothing_is_told_what_to_write(project, monkeypatch):
    file = project.root / "catalog.yml"
    file.write_text(file.read_text().replace("    mlflow: .mlflow\n", ""))
    assert told(promote).endswith("has none\n  write mlflow: .mlflow, in environments.dev")


def test_a_server_that_is_down_is_told_and_so_is_a_run_that_began_without_it(project, monkeypatch):
    project.run("r1", "one")
    offline = tracking_of(project).offline().uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", offline)
    assert "dsml sync, then dsml promote" in told(promote)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    message = told(promote)
    assert message.startswith("dsml promote\n  MLflow: ")
    assert message.endswith("mlflow in catalog.yml")


# --- the command ----------------------------------------------------------------------------------


def test_the_command_shows_each_criterion_with_both_values_and_how_to_undo(project):
    project.run("r1", "two")
    project.run("r2", "one")
    assert dsml_promote("--run", "r1").exit_code == 0
    done = dsml_promote("m", "--metric", "accuracy", "--higher")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert lines == [
        "challenger: b.fit in run r2 (baseline, logged 0.5)",
        "criterion challenger champion",
        "accuracy on a.split.test, 10 rows 0.5 0.3 passed",
        "checks of the run 2 of 2 passed passed",
        "signature 1 inputs 1 inputs passed",
        "m: version 2 is now the champion; it was version 1",
        "to undo it: dsml promote m --to 1",
    ]


def test_the_command_ends_with_1_when_the_model_is_refused(project):
    project.run("r1", "one")
    project.run("r2", "two")
    dsml_promote()
    done = dsml_promote("--run", "r2", "--json")
    found = json.loads(done.output)
    assert (done.exit_code, found["outcome"], found["champion"]) == (1, "refused", 1)
    assert [criterion["passed"] for criterion in found["criteria"]] == [False, True, True]
    undone = dsml_promote("--to", "2")
    assert (undone.exit_code, undone.output) == (
        0,
        "m: version 2 is the champion again; it was version 1\n",
    )


def test_going_back_goes_with_no_other_option(project):
    done = dsml_promote("--to", "1", "--dry-run")
    assert done.exit_code == 2
    assert "--to goes with no other option" in done.output
