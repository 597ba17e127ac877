"""Dagster's `dg`: on a project as it is, and on a project of dg that takes notebooks in."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click import ClickException
from conftest import free_port, graphql, run_command
from dagster import AssetKey, DagsterInstance, DagsterRun
from dagster._core.instance.ref import InstanceRef
from dagster.components.testing import create_defs_folder_sandbox
from servers import serving

from dsml.contract.problem import ProjectError
from dsml.contract.project import load_project
from dsml.orchestrate.component import NotebookProject
from dsml.orchestrate.notify import _is_of

from .projects import PROJECT_FOLDER, Step, manifests_of, write_project

PAGE = PROJECT_FOLDER / "docs" / "dagster.md"
TYPE = "dsml.orchestrate.component.NotebookProject"
FILE = "src/warehouse/defs/notebooks/defs.yaml"
NAMES = '''\
"""A step of Python that imports the package of its project."""

from digits_demo.digits import PIXELS

op_parameters = {"description": "Names.", "outs": {"names": "names.json"}}


def step_fn() -> list[str]:
    """The names of the pixels."""
    return list(PIXELS)
'''
OWN = '''\
"""An asset of the host's own, after those of the notebooks."""

from dagster import AssetKey, AssetSelection, Definitions, asset, define_asset_job

NAMES, MODEL = AssetKey(["load", "names", "names"]), AssetKey(["train", "fit", "model"])


@asset(deps=[NAMES, MODEL])
def card() -> None:
    """Nothing to be done."""


upstream = AssetSelection.assets(card).upstream().required_multi_asset_neighbors()
defs = Definitions(assets=[card], jobs=[define_asset_job("cards", upstream)])
'''
LOADED = """
{ workspaceOrError { ... on Workspace { locationEntries {
  name
  locationOrLoadError { ... on RepositoryLocation { repositories { jobs { name } } } }
} } } }
"""


def install(project: Path, folder: Path) -> str:
    """Write what an installed project leaves for others to find it by, and return its folder."""
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{metadata['name']}-{metadata['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {metadata['name']}\nVersion: {metadata['version']}\n"
    )
    lines = [
        line
        for group, points in metadata["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return str(folder)


# --- a project as it is ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(digits, tmp_path_factory):
    """The default project as it is generated, and how dg is run in it."""
    folder = tmp_path_factory.mktemp("dg")
    project = folder / "a b" / digits.name
    shutil.copytree(digits, project)
    path = f"{project}:{install(project, folder / 'site')}"
    environment = {"PYTHONPATH": path, "DAGSTER_HOME": str(project / ".dagster")}
    return SimpleNamespace(
        root=project,
        environment=environment,
        dg=lambda *words: run_command("dg", *words, cwd=project, **environment),
    )


@pytest.mark.slow
def test_a_fresh_project_passes_dg_check_defs(fresh):
    done = fresh.dg("check", "defs")
    assert "All definitions loaded successfully." in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_dg_lists_the_steps_and_pipelines_of_a_fresh_project(fresh):
    found = json.loads(fresh.dg("list", "defs", "--json").stdout)
    project = load_project(fresh.root)
    keys = {tuple(each["asset_key_parts"]) for each in found["assets"]}
    assert {tuple(name.split(".")) for name in project.registered} <= keys
    assert {each["name"] for each in found["jobs"]} == project.catalog.pipelines.keys()


@pytest.mark.slow
def test_dg_dev_serves_a_fresh_project_under_the_name_that_its_runs_have(fresh, tmp_path):
    port = free_port()

    def locations():
        entries = graphql(f"http://127.0.0.1:{port}", LOADED)["workspaceOrError"]["locationEntries"]
        return [each for each in entries if each["locationOrLoadError"]]

    command = ("dg", "dev", "--host", "127.0.0.1", "--port", str(port))
    with serving(
        command, locations, cwd=fresh.root, log=tmp_path / "log", **fresh.environment
    ) as loaded:
        (found,) = loaded
    assert found["name"] == "dag"
    (repository,) = found["locationOrLoadError"]["repositories"]
    assert "training" in {job["name"] for job in repository["jobs"]}


# --- a project of dg that takes notebooks in ------------------------------------------------------


@pytest.fixture(scope="module")
def warehouse(digits, tmp_path_factory):
    """A project made by create-dagster beside the digits, which dg has taken in.

    The commands are those of the page; installing is left to `install`.
    """
    folder = tmp_path_factory.mktemp("others") / "a b"
    project = folder / digits.name
    shutil.copytree(digits, project)
    (project / "stages" / "load" / "names.py").write_text(NAMES, encoding="utf-8")
    run_command(sys.executable, "-m", "dsml", "register", cwd=project)
    home = folder / "home"
    home.mkdir()
    shutil.copy(project / ".dagster" / "dagster.yaml", home)
    root = folder / "warehouse"
    path = f"{root / 'src'}:{project}:{install(project, folder / 'site')}"
    environment = {
        "PYTHONPATH": path,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0",  # it would ask PyPI
    }
    run_command(
        *("create-dagster", "project", "warehouse", "--no-uv-sync"), cwd=folder, **environment
    )

    def dg(*words, check=True):
        return run_command("dg", *words, cwd=root, check=check, **environment)

    (scaffold,) = (line for line in commands() if line[:2] == ["scaffold", "defs"])
    dg(*scaffold)
    (root / "src" / "warehouse" / "defs" / "card.py").write_text(OWN, encoding="utf-8")
    return SimpleNamespace(root=root, project=project, home=home, dg=dg)


def commands():
    """The words of the commands of dg on the page, for a project that takes notebooks in."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("## In a project of `dg`")
    block = rest.partition("```text\n")[2].partition("```")[0]
    return [line.split()[1:] for line in block.splitlines() if line.startswith("dg ")]


@pytest.mark.slow
def test_the_file_that_dg_writes_is_the_one_on_the_page(warehouse):
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("The file is `")
    shown = yaml.safe_load(rest.partition("```yml\n")[2].partition("```")[0])
    written = yaml.safe_load((warehouse.root / FILE).read_text(encoding="utf-8"))
    optional = {key: shown["attributes"].pop(key) for key in ("after", "executor")}
    assert NotebookProject(project=".", **optional).executor is True
    assert written == shown


@pytest.mark.slow
def test_dg_lists_the_component_where_the_project_is_installed(warehouse):
    found = json.loads(warehouse.dg("list", "components", "--package", "dsml", "--json").stdout)
    (component,) = found["items"]
    assert component["key"] == TYPE
    assert "stage folders" in component["summary"]


@pytest.mark.slow
def test_attributes_that_are_not_known_or_missing_are_told_by_dg_check_yaml(warehouse):
    file = warehouse.root / FILE
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace("project:", "projekt:"), encoding="utf-8")
    try:
        done = warehouse.dg("check", "yaml", check=False)
    finally:
        file.write_text(good, encoding="utf-8")
    assert done.returncode == 1
    assert "attributes.projekt Additional properties are not allowed" in done.stdout
    assert "'project' is a required property" in done.stdout


@pytest.mark.slow
def test_notebooks_and_assets_of_the_hosts_own_are_materialised_in_one_run(warehouse):
    warehouse.dg("launch", "--job", "cards", "--partition", "small")
    with DagsterInstance.from_ref(InstanceRef.from_dir(str(warehouse.home))) as instance:
        (run,) = instance.get_runs()
        card = instance.get_latest_materialization_event(AssetKey("card"))
        split = instance.get_latest_materialization_event(AssetKey(["prepare", "split"]))
    assert run.is_success
    assert card.run_id == run.run_id
    made = manifests_of(warehouse.project)
    assert {name: made[name].run_id for name in ("load.names", "train.fit")} == {
        "load.names": run.run_id,
        "train.fit": run.run_id,
    }
    # the run leaves its record, as those of `dsml run` do, and the UI of the host has the notebook
    assert (warehouse.project / "artefacts" / ".runs" / run.run_id / "trace.json").is_file()
    link = split.asset_materialization.metadata["executed notebook"].value
    assert link.endswith("repoLocName=warehouse")


# --- the component by itself ----------------------------------------------------------------------

# Dagster warns of what it does itself with whatever a YAML file defines.
quiet = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@pytest.fixture
def host(monkeypatch, tmp_path_factory):
    """A folder for components, as Dagster has it in its own tests; none is beside it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("host")))
    with create_defs_folder_sandbox() as sandbox:
        yield sandbox


def hosted(host, **attributes):
    """The definitions of a host, in which a file names a project."""
    folder = host.defs_folder_path / "notebooks"
    folder.mkdir()
    content = {"type": TYPE, "attributes": attributes}
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with host.build_all_defs() as definitions:
        return definitions


def told(host, **attributes):
    """What is said instead."""
    with pytest.raises(Exception, match="Error while building definitions") as raised:
        hosted(host, **attributes)
    cause = raised.value.__cause__
    assert isinstance(cause, ProjectError)
    return str(cause)


def steps(root):
    return write_project(root, {"load.a": Step("context.save('x', 1)", outs={"x": "x.json"})})


@quiet
def test_a_project_inside_of_the_host_is_named_from_the_file(host):
    steps(host.project_root / "notebooks")
    definitions = hosted(host, project="../../../../notebooks")
    assert AssetKey(["load", "a", "x"]) in definitions.resolve_all_asset_keys()
    assert definitions.resolve_job_def("all").name == "all"


@quiet
def test_a_project_may_be_named_from_the_root_of_the_host(host):
    steps(host.project_root / "notebooks")
    definitions = hosted(host, project="{{ context.project_root }}/notebooks")
    assert AssetKey(["load", "a"]) in definitions.resolve_all_asset_keys()


@quiet
@pytest.mark.parametrize("given", [True, False])
def test_the_host_decides_whether_it_takes_the_executor_too(given, host, root):
    definitions = hosted(host, project=str(steps(root)), executor=given)
    assert (definitions.executor is not None) is given


@quiet
def test_a_step_waits_for_an_asset_of_the_host(host, root):
    definitions = hosted(host, project=str(steps(root)), after={"load.a": ["raw/images"]})
    graph = definitions.resolve_asset_graph()
    assert graph.get(AssetKey(["load", "a", "x"])).parent_keys == {AssetKey(["raw", "images"])}


def test_a_step_that_is_to_wait_and_is_not_there_is_told_with_the_one_that_is_meant(host, root):
    assert told(host, project=str(steps(root)), after={"load.b": ["raw/images"]}) == (
        f"src/{host.project_name}/defs/notebooks/defs.yaml\n"
        "  after: there is no step 'load.b'\n  did you mean 'load.a'?"
    )


def test_a_folder_without_a_project_is_told_with_the_one_that_is_meant(host):
    steps(host.project_root / "notebooks")
    assert told(host, project="../../../../notebook") == (
        f"src/{host.project_name}/defs/notebooks/defs.yaml\n"
        "  attributes.project: there is no catalog.yml in '../../../../notebook'\n"
        "  did you mean '../../../../notebooks'?"
    )


def test_mistakes_of_a_hosted_project_are_told_with_paths_from_the_host(host):
    root = steps(host.project_root / "notebooks")
    (root / "stages" / "load" / "a.ipynb").write_text("{", encoding="utf-8")
    said = told(host, project=str(root)).splitlines()
    assert said[0] == "notebooks/stages/load/a.ipynb, line 1"
    assert said[1].startswith("  the notebook is no JSON")


def test_dg_scaffold_writes_the_way_from_the_file_to_the_project(host, monkeypatch):
    steps(host.project_root / "notebooks")
    monkeypatch.chdir(host.project_root)
    folder = host.scaffold_component(
        NotebookProject, "here", scaffold_params={"project": "notebooks"}
    )
    written = yaml.safe_load((folder / "defs.yaml").read_text(encoding="utf-8"))
    assert written == {"type": TYPE, "attributes": {"project": "../../../../notebooks"}}


def test_dg_scaffold_leaves_nothing_where_there_is_no_project(host, monkeypatch):
    monkeypatch.chdir(host.project_root)
    with pytest.raises(ClickException) as raised:
        host.scaffold_component(NotebookProject, "here", scaffold_params={"project": "nowhere"})
    assert raised.value.message == (
        "--project\n  there is no catalog.yml in 'nowhere'\n"
        "  name the folder of a project of notebooks"
    )
    assert not (host.defs_folder_path / "here").exists()


@pytest.mark.parametrize(
    ("folder", "job", "assets", "is_told"),
    [
        ("host/src", "all", None, True),
        ("host/src", "of the host", {AssetKey(["load", "a"])}, True),
        ("host/src", "of the host", {AssetKey("table")}, False),
        ("elsewhere", "all", None, False),
    ],
)
def test_of_the_runs_of_a_host_those_are_told_that_run_steps(
    folder, job, assets, is_told, root, tmp_path
):
    project = load_project(steps(root))
    pointer = SimpleNamespace(working_directory=str(tmp_path / folder))
    origin = SimpleNamespace(repository_origin=SimpleNamespace(code_pointer=pointer))
    run = DagsterRun(job, asset_selection=assets and frozenset(assets))
    run = SimpleNamespace(job_name=job, asset_selection=run.asset_selection, job_code_origin=origin)
    assert _is_of(project, run, tmp_path / "host") is is_told
