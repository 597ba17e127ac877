"""What is set arrives in the notebook under its name, and what is not set keeps its default."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import execute
from .projects import Step, write_notebook, write_project

DEFAULTS = {"n": 1, "name": "a", "model": {"depth": 3, "lr": 0.1}}
GIVEN: dict[str, dict[str, Any]] = {
    "none": {},
    "some": {"n": 5},
    "all": {"n": 5, "name": "b", "model": {"depth": 9, "lr": 0.5}},
    "nested": {"model": {"depth": 9}},
}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "wide": {"name": "wide", "model": {"lr": 0.9}},
}
PARAMETERS = 'n: int = 1\nname: str = "a"'
SCHEMA = '"config_schema": {"model": {"depth": Field(int, default_value=3), "lr": 0.1}},'
WORK = [
    'seen = {"n": n, "name": name, "model": model}',
    'context.save("seen", {"variables": seen, "config": dict(context.config)})',
]


def overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The weaker values under the stronger ones, key by key."""
    laid = {
        key: overlaid(below[key], value) if isinstance(value, dict) else value
        for key, value in above.items()
    }
    return {**below, **laid}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A step that declares parameters in both ways and publishes what it was given."""
    root = tmp_path_factory.mktemp("parameters") / "a project"
    write_project(root, {}, experiments={name: {} for name in EXPERIMENTS})
    file = write_notebook(
        root, "a.b", Step(WORK, outs={"seen": "seen.json"}, parameters=PARAMETERS)
    )
    document = json.loads(file.read_text(encoding="utf-8"))
    declaration = document["cells"][1]
    source = "".join(declaration["source"])
    declaration["source"] = "from dsml import Field\n\n" + source[:-1] + f"    {SCHEMA}\n}}"
    file.write_text(json.dumps(document), encoding="utf-8")
    catalog = root / "catalog.yml"
    experiments = {name: {"config": {"a.b": values}} for name, values in EXPERIMENTS.items()}
    text = catalog.read_text(encoding="utf-8")
    shown = f"experiments: {json.dumps(experiments)}\n"
    catalog.write_text(
        text.replace("experiments:\n  baseline: {}\n  wide: {}\n", shown), encoding="utf-8"
    )
    from dsml.contract.register import write_register

    write_register(root)
    return root


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("given", GIVEN)
def test_what_is_given_is_set_and_the_rest_is_kept(project, given, experiment):
    config = GIVEN[given]
    run_config = {"ops": {"a__b": {"config": config}}} if config else {}
    ran = execute(project, experiment=experiment, run_config=run_config)
    assert ran.passed
    (file,) = project.glob(f"artefacts/{experiment}/a/b/{ran.run_id}/seen.json")
    expected = overlaid(overlaid(DEFAULTS, EXPERIMENTS[experiment]), config)
    assert json.loads(file.read_text()) == {"variables": expected, "config": expected}


@pytest.mark.parametrize(
    "config",
    [{"n": "many"}, {"model": {"depth": "deep"}}, {"model": {"width": 1}}, {"nn": 1}],
    ids=["a type", "a nested type", "a nested name", "a name"],
)
def test_what_does_not_fit_is_refused_before_the_launch(project, config):
    from dagster import DagsterInvalidConfigError

    with pytest.raises(DagsterInvalidConfigError):
        execute(project, run_config={"ops": {"a__b": {"config": config}}})
