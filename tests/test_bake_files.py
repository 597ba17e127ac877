"""Which files a project consists of, and that each of them can be read, whatever was answered."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import chain

import pytest
import yaml
from conftest import PROJECT_FOLDER, TEMPLATE, files_of
from readable import unreadable

QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = {
    key: value for key, value in QUESTIONS.items() if isinstance(value, list) and key[0] != "_"
}

SHELL = {
    ".dagster/dagster.yaml",
    ".devcontainer/devcontainer.json",
    ".editorconfig",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Makefile",
    "README.md",
    "catalog.yml",
    "dag.py",
    "pyproject.toml",
    "tests/conftest.py",
    "tests/test_project.py",
}
PAGES = (
    "branches",
    "checks",
    "compare",
    "concurrency",
    "dagster",
    "doctor",
    "executors",
    "experiments",
    "fan_out",
    "faults_in_production",
    "logging",
    "notebooks",
    "notification",
    "partitions",
    "python_steps",
    "report",
    "reproducing",
    "resuming",
    "retention",
    "retries",
    "scale",
    "schedules",
    "security",
    "sensors",
    "storage",
    "trace",
    "unchanged",
    "updating",
)
SHELL |= {f"docs/{page}.md" for page in PAGES}
PACKAGE = {"__init__.py", "py.typed"}
DIGITS = {
    "data/README.md",
    "data/incoming/.gitignore",
    "data/sample.csv",
    "digits_demo/digits.py",
    "digits_demo/faults.py",
    "digits_demo/figures.py",
    "digits_demo/models.py",
    "docs/faults.md",
    "docs/ready_pipelines.md",
    "stages/evaluate/accuracy.ipynb",
    "stages/explore/figures.ipynb",
    "stages/load/digits.ipynb",
    "stages/predict/batch.ipynb",
    "stages/predict/counts.py",
    "stages/prepare/split.ipynb",
    "stages/release/gate.ipynb",
    "stages/release/model_card.ipynb",
    "stages/summary/report.ipynb",
    "stages/train/fit.ipynb",
    "tests/test_digits.py",
}
GITHUB = {".github/dependabot.yml", ".github/workflows/ci.yml", "docs/ci.md"}
GITLAB = {".gitlab-ci.yml", "docs/ci.md"}
TRACKING = {"docs/models.md", "docs/tracking.md"}
DEPLOY = {
    ".dockerignore",
    "docs/deploy.md",
    "deploy/Dockerfile",
    "deploy/compose.per-run.yaml",
    "deploy/compose.yaml",
    "deploy/dagster.yaml",
    "deploy/launcher.per-run.yaml",
    "deploy/launcher.yaml",
    "deploy/make_env.py",
    "deploy/mlflow.sql",
    "deploy/workspace.yaml",
}
DASHBOARD = {".streamlit/config.toml", "dashboard/app.py", "docs/dashboard.md"}
STARTERS = {f"stages/{stage}/main.ipynb" for stage in ("load", "prepare", "train", "evaluate")}

HOSTILE = [
    'with "double" quotes',
    "with 'single' quotes and it's",
    "back\\slash \\n \\u1234 \\",
    "$(touch pwned) `touch pwned` $HOME ${HOME} %PATH%",
    "emoji 🎉 and 👩🏽‍🔬",
    "שלום עולם",
    "Ünïcödé 数据科学",
    "# not a comment: [a, b] {c: d} & * ! | > ' \" % @",
    "-- --flag; rm -rf /; && || | < >",
    "'''triple''' \"\"\"quotes\"\"\"",
    "} } % } # }",
    "<b>html</b> &amp; [link](x)",
]


def runtime_files():
    return {
        name
        for name in files_of(PROJECT_FOLDER)
        if name.startswith("dsml/") and name.endswith((".py", ".typed"))
    }


def read(project, name):
    return (project / name).read_text(encoding="utf-8")


def test_the_digits_example_has_exactly_these_files(digits):
    package = {f"digits_demo/{name}" for name in PACKAGE}
    own = {name for name in files_of(digits) if not name.startswith("dsml/")}
    assert own == SHELL | GITHUB | TRACKING | package | DIGITS | {"LICENSE"}


def test_the_empty_example_has_exactly_these_files(empty):
    package = {f"empty_demo/{name}" for name in PACKAGE}
    own = {name for name in files_of(empty) if not name.startswith("dsml/")}
    assert own == SHELL | GITHUB | TRACKING | package | STARTERS | {"LICENSE"}
    assert not (empty / "data").exists()


@pytest.mark.parametrize(("ci", "files"), [("gitlab", GITLAB), ("none", set())])
def test_what_runs_elsewhere_has_its_own_files_and_none_of_github(ci, files, digits, bake):
    project = bake(ci=ci)
    assert files_of(project) - files_of(digits) == files - GITHUB
    assert files_of(digits) - files_of(project) == GITHUB - files
    assert not (project / ".github").exists()


def test_a_dashboard_adds_exactly_these_files(digits, dashboard):
    assert files_of(dashboard) - files_of(digits) == DASHBOARD


def test_services_add_exactly_these_files(digits, deployed):
    assert files_of(deployed) - files_of(digits) == DEPLOY


def test_without_tracking_nothing_is_installed_or_configured_for_it(untracked):
    metadata = tomllib.loads(read(untracked, "pyproject.toml"))
    assert "mlflow" not in str(metadata["project"])
    assert yaml.safe_load(read(untracked, "catalog.yml"))["environments"] == {
        "dev": {"storage": "artefacts"},
        "test": {"storage": "build/test"},
    }


def test_with_tracking_its_folder_is_hidden_from_git_and_from_updates(digits):
    environments = yaml.safe_load(read(digits, "catalog.yml"))["environments"]
    assert environments["dev"] == {"storage": "artefacts", "mlflow": ".mlflow"}
    assert "/.mlflow/" in read(digits, ".gitignore").splitlines()
    metadata = tomllib.loads(read(digits, "pyproject.toml"))
    assert ".mlflow" in metadata["tool"]["cruft"]["skip"]
    assert any(name.startswith("mlflow>=") for name in metadata["project"]["dependencies"])


def test_the_runtime_is_copied_whole_and_byte_for_byte(digits):
    copied = {name for name in files_of(digits) if name.startswith("dsml/")}
    assert copied >= runtime_files()
    assert all(
        (digits / name).read_bytes() == (PROJECT_FOLDER / name).read_bytes()
        for name in runtime_files()
    )


@pytest.mark.parametrize("key", [key for key in QUESTIONS if not key.startswith("_")])
def test_every_question_has_a_label_and_every_choice_too(key):
    label = QUESTIONS["__prompts__"][key]
    if key in CHOICES:
        assert set(label) == {"__prompt__", *CHOICES[key]}
    else:
        assert label


@pytest.mark.parametrize(
    ("licence", "heading", "ending"),
    [
        ("MIT", "MIT License", "OTHER DEALINGS IN THE\nSOFTWARE.\n"),
        ("BSD-3-Clause", "BSD 3-Clause License", "POSSIBILITY OF SUCH DAMAGE.\n"),
        ("Apache-2.0", "Apache License\n", "limitations under the License.\n"),
    ],
)
def test_a_licence_is_written_in_full_with_its_holder(licence, heading, ending, bake):
    project = bake(license=licence, author_name="Ada Lovelace")
    text = read(project, "LICENSE")
    assert text.lstrip().startswith(heading)
    assert text.endswith(ending)
    assert re.search(r"Copyright (\(c\) )?20\d\d Ada Lovelace\n", text)
    assert tomllib.loads(read(project, "pyproject.toml"))["project"]["license"] == licence


def test_every_licence_that_can_be_chosen_has_its_text():
    texts = {path.stem for path in (TEMPLATE / "templates" / "licenses").iterdir()}
    assert texts == {*CHOICES["license"]} - {"proprietary"}


def test_a_proprietary_project_has_no_licence_file_and_cannot_be_uploaded(bake):
    project = bake(license="proprietary")
    assert not list(project.glob("LICENSE*"))
    metadata = tomllib.loads(read(project, "pyproject.toml"))["project"]
    assert "Private :: Do Not Upload" in metadata["classifiers"]
    assert "## Licence" not in read(project, "README.md")


@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_answers_arrive_unchanged_in_files_that_can_be_read(answer, bake):
    project = bake(
        project_name=answer, description=answer, author_name=answer, project_slug="hostile"
    )
    assert unreadable(project) == []
    metadata = tomllib.loads(read(project, "pyproject.toml"))["project"]
    assert metadata["description"] == answer
    assert metadata["authors"] == [{"name": answer}]
    assert read(project, "README.md").startswith(f"# {answer}\n")
    assert not (project / "pwned").exists()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("2024 sales", "project_2024_sales"),
        ("🎉", "ml_project"),
        ("Søren's   Übung!", "soren_s_ubung"),
    ],
)
def test_a_slug_is_derived_from_any_name(name, slug, bake):
    assert bake(project_name=name).name == slug


def test_a_slug_with_hyphens_gives_a_package_with_underscores(bake):
    project = bake(project_slug="Sales-Model")
    assert project.name == "Sales-Model"
    assert (project / "sales_model" / "__init__.py").exists()
    assert yaml.safe_load(read(project, "catalog.yml"))["project"] == "sales_model"


@pytest.mark.parametrize("slug", ["true", "null", "on", "y", "e1"])
def test_a_slug_that_yaml_would_take_for_something_else_stays_text(slug, bake):
    project = bake(project_slug=slug, package_name="mine")
    assert yaml.safe_load(read(project, "catalog.yml"))["project"] == slug


def test_author_and_address_reach_the_metadata(bake):
    project = bake(author_name="Ada", author_email="ada@example.org")
    authors = tomllib.loads(read(project, "pyproject.toml"))["project"]["authors"]
    assert authors == [{"name": "Ada", "email": "ada@example.org"}]


def test_the_oldest_python_reaches_every_tool(bake):
    project = tomllib.loads(read(bake(python_version="3.12"), "pyproject.toml"))
    assert project["project"]["requires-python"] == ">=3.12"  # which ruff reads as well
    assert project["tool"]["mypy"]["python_version"] == "3.12"


def test_only_the_digits_example_needs_scikit_learn(digits, empty):
    assert "scikit-learn" in read(digits, "pyproject.toml")
    assert "scikit-learn" not in read(empty, "pyproject.toml")


@pytest.mark.parametrize("where", ["template", "digits", "empty"])
def test_every_file_name_is_legal_on_windows(where, request):
    names = files_of(request.getfixturevalue(where))
    parts = set(chain.from_iterable(name.split("/") for name in names))
    reserved = re.compile(r"(aux|con|nul|prn|com\d|lpt\d)(\..*)?", re.IGNORECASE)
    bad = [
        part for part in parts if re.search(r'[<>:"|?*\\]|[. ]$', part) or reserved.fullmatch(part)
    ]
    assert bad == []
    assert len({name.lower() for name in names}) == len(names)


def test_dagster_tells_nobody_of_its_use(digits, deployed):
    for file in (digits / ".dagster/dagster.yaml", deployed / "deploy/dagster.yaml"):
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert settings["telemetry"]["enabled"] is False


def test_a_text_has_the_same_bytes_on_every_system_and_a_picture_is_left_alone(digits, run):
    def attribute(name, file):
        return run("git", "check-attr", name, file, cwd=digits).stdout.split()[-1]

    assert [attribute("eol", file) for file in ("a.py", "a.ipynb", "a.csv")] == ["lf"] * 3
    assert [attribute("text", file) for file in ("a.png", "a.joblib")] == ["unset"] * 2


def test_no_file_names_an_index_a_machine_or_a_home(template, digits):
    names = [name for name in files_of(template) if not name.endswith(".png")]
    for name in names:
        text = (template / name).read_text(encoding="utf-8", errors="ignore")
        assert not re.search(r"extra-index-url|/home/\w+/|/Users/\w+/|/root/", text), name
