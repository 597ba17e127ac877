"""The scripts of the jobs of continuous integration, run as GitHub and GitLab would run them.

What is not a script is done as they would do it: a cache brings files from one run of the jobs to
the next, and variables are those that they document.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from conftest import BIN, published, run_command
from test_digits_pipelines import TRAINING

EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
URL = "https://ci.example.org"


def parsed(project: Path, file: str):
    return yaml.safe_load((project / file).read_text(encoding="utf-8"))


def page_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


@dataclass
class Checkout:
    """A fresh checkout for each run of the jobs; `cache` lies outside, as those of CI do."""

    project: Path
    cache: Path
    commands: list[str] = field(default_factory=list)

    def run(self, shell, script, check=True, **environment):
        """Run a script in one of the ways of CI."""
        self.commands += script.splitlines()
        return run_command(
            *shell, script, cwd=self.project, check=check, timeout=600, CI="true", **environment
        )

    def restore(self, paths):
        for path in paths:
            if (self.cache / path).exists():
                shutil.copytree(self.cache / path, self.project / path, dirs_exist_ok=True)

    def save(self, paths):
        for path in paths:
            if (self.project / path).exists():
                shutil.copytree(self.project / path, self.cache / path, dirs_exist_ok=True)

    def clean(self):
        """What a new machine has."""
        for path in (
            "artefacts",
            "site",
            "build",
            "public",
            ".dagster/history",
            ".dagster/storage",
        ):
            shutil.rmtree(self.project / path, ignore_errors=True)


# --- GitHub ---------------------------------------------------------------------------------------


class GitHub(Checkout):
    """Runs the steps of jobs on GitHub; `ref` is the branch."""

    def job(self, name, *, ref="main", event="push", experiment="", pages=True, fails=()):
        """Run a job; return the page of its run and the commands that failed."""
        workflow = parsed(self.project, ".github/workflows/ci.yml")
        job, run_id = workflow["jobs"][name], str(uuid.uuid4().int)[:8]
        summary = self.project / "build" / "page.md"
        known = {
            "inputs.experiment": experiment,
            "github.ref": f"refs/heads/{ref}",
            "vars.PAGES": str(pages).lower(),
            "matrix.python": "3.11",
        }
        failed, outcomes = [], {}
        for step in job["steps"]:
            outcome = "skipped"
            if is_met(step.get("if", "success()"), known, failed):
                outcome = "success"
                if "run" in step:
                    environment = {
                        key: evaluated(str(value), known)
                        for key, value in {**job.get("env", {}), **step.get("env", {})}.items()
                    }
                    summary.parent.mkdir(exist_ok=True)
                    done = self.run(
                        ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"),
                        step["run"],
                        check=step.get("id") not in fails,
                        GITHUB_ACTIONS="true",
                        GITHUB_RUN_ID=run_id,
                        GITHUB_REF_NAME=ref,
                        GITHUB_EVENT_NAME=event,
                        GITHUB_STEP_SUMMARY=str(summary),
                        **environment,
                    )
                    if done.returncode:
                        outcome = "failure"
                        failed.append(step["run"])
                else:
                    self._uses(step, known)
            if "id" in step:
                known[f"steps.{step['id']}.outcome"] = outcome
            outcomes[step.get("name", step.get("uses", step.get("run")))] = outcome
        return page_of(summary), failed, outcomes

    def _uses(self, step, known):
        action, given = step["uses"].partition("@")[0], step.get("with", {})
        if action == "actions/cache/restore":
            self.restore(given["path"].split())
        elif action == "actions/cache/save":
            self.save(given["path"].split())
        elif action == "actions/upload-artifact":
            if (self.project / given["path"]).exists():  # else it warns, and there is no address
                known[f"steps.{step['id']}.outputs.artifact-url"] = f"{URL}/{given['name']}"
        elif action == "actions/upload-pages-artifact":
            assert (self.project / given["path"] / "index.html").exists()
        elif action == "actions/deploy-pages":
            known["steps.deploy.outputs.page_url"] = f"{URL}/pages"
        else:
            assert action in ("actions/checkout", "actions/setup-python")


def evaluated(text, known):
    """A text with its expressions replaced: names, and `name || 'otherwise'`."""

    def value(found):
        name, _, otherwise = found[1].partition(" || ")
        return known.get(name, "") or otherwise.strip("'")

    return EXPRESSION.sub(value, text)


def is_met(condition, known, failed):
    """Whether a step runs: `!cancelled()` or, without it, only while nothing has failed."""
    terms = EXPRESSION.sub(r"\1", condition).split(" && ")
    if "!cancelled()" not in terms and failed:
        return False
    for term in terms:
        if term not in ("!cancelled()", "success()"):
            name, sign, wanted = re.fullmatch(r"(\S+) (==|!=) '(.*)'", term).groups()
            if (known.get(name, "") == wanted) != (sign == "=="):
                return False
    return True


@pytest.fixture
def github(digits, installed, tmp_path):
    return GitHub(installed(digits), tmp_path / "cache")


@pytest.mark.slow
def test_github_checks_a_fresh_project_and_finds_nothing(github):
    _, failed, _ = github.job("check")
    assert failed == []
    assert {"make lint", "make check format=github", "make test"} <= {*github.commands}


@pytest.mark.slow(minutes=1)
def test_github_runs_the_pipeline_compares_it_with_main_and_publishes_the_site(github, run):
    page, failed, _ = github.job("pipeline")
    assert failed == []
    assert published(github.project, "small") == TRAINING
    assert run("git", "status", "--porcelain", cwd=github.project).stdout == ""
    assert page.startswith("## training on small: passed\n")
    assert f"[Notebooks, logs, artefacts]({URL}/run)" in page
    assert "```mermaid\nflowchart LR" in page
    assert "There is no earlier run of this kind to compare with." in page
    main = json.loads((github.cache / "build" / "main" / "small.json").read_text())["runs"]
    assert [run["ref"] for run in main] == ["main"]
    page, _, _ = github.job("pages")
    assert page.endswith(f"[The site of all runs]({URL}/pages)\n")

    github.clean()
    before = {path: path.stat().st_mtime_ns for path in github.cache.rglob("*")}
    page, failed, _ = github.job("pipeline", ref="a-branch", event="pull_request")
    assert failed == []
    assert "| Metric | main `" in page
    assert "| evaluate.accuracy.accuracy |" in page
    assert len(list((github.project / "site" / "runs").iterdir())) == 2
    (left,) = (github.project / "build" / "left").iterdir()
    assert len(list(left.rglob("attempts/1/executed.ipynb"))) > 5
    assert {path: path.stat().st_mtime_ns for path in github.cache.rglob("*")} == before


@pytest.mark.slow
def test_github_tells_what_failed_and_keeps_it_on_the_site(github):
    notebook = github.project / "stages" / "prepare" / "split.ipynb"
    document = json.loads(notebook.read_text(encoding="utf-8"))
    document["cells"][-1]["source"] = ["1 / 0"]
    notebook.write_text(json.dumps(document), encoding="utf-8")
    page, failed, outcomes = github.job("pipeline", fails=("run",))
    assert len(failed) == 1
    assert page.startswith("## training on small: failed\n")
    assert "ZeroDivisionError" in page
    assert (github.cache / "site" / "index.html").exists()
    assert not list((github.cache / "build").rglob("*.json"))  # nothing to compare with
    assert outcomes["actions/upload-pages-artifact@7b1f4a764d45c48632c6b24a0339c27f5614fb0b"] == (
        "success"
    )


@pytest.mark.slow
def test_github_says_of_an_unknown_experiment_that_no_run_was_started(github):
    page, failed, _ = github.job("pipeline", experiment="wyde", fails=("run",), pages=False)
    assert len(failed) == 1
    assert page == "No run was started.\n"


def test_github_pins_actions_by_hash_and_lets_each_job_do_what_it_needs(digits):
    workflow = parsed(digits, ".github/workflows/ci.yml")
    jobs = workflow["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in actions)
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in jobs.items()}
    assert rights.pop("pages") == {"pages": "write", "id-token": "write"}
    assert {*rights} == {"check", "audit", "pipeline"}
    assert all(each == {"contents": "read"} for each in rights.values())


def test_github_publishes_only_where_somebody_said_so(digits):
    jobs = parsed(digits, ".github/workflows/ci.yml")["jobs"]
    steps = [step for step in jobs["pipeline"]["steps"] if "pages" in step.get("uses", "")]
    conditions = [jobs["pages"]["if"], *(step["if"] for step in steps)]
    assert len(conditions) == 2
    assert all("vars.PAGES == 'true'" in condition for condition in conditions)
    assert all("github.ref == 'refs/heads/main'" in condition for condition in conditions)


def test_github_is_asked_on_pushes_pull_requests_each_day_and_by_hand(digits):
    workflow = parsed(digits, ".github/workflows/ci.yml")
    on = workflow[True]  # YAML takes `on` for a truth
    assert {*on} == {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert re.fullmatch(r"\d+ \d+ \* \* \*", on["schedule"][0]["cron"])
    assert on["workflow_dispatch"]["inputs"]["experiment"]["default"] == "small"
    kept = [
        step["with"]["retention-days"]
        for step in workflow["jobs"]["pipeline"]["steps"]
        if "upload-artifact@" in step.get("uses", "")
    ]
    assert kept == [30, 30]


# --- GitLab ---------------------------------------------------------------------------------------


class GitLab(Checkout):
    """Runs the scripts of jobs on GitLab."""

    def job(self, name, *, branch="main", source="push", fails=False):
        """Run a job as the runner does; return whether its script passed."""
        document = parsed(self.project, ".gitlab-ci.yml")
        job, on_main = merged(document, name), branch == "main"
        environment = {
            **variables_of(document, job, on_main=on_main),
            "GITLAB_CI": "true",
            "CI_PIPELINE_ID": str(uuid.uuid4().int)[:8],
            "CI_COMMIT_REF_NAME": branch,
            "CI_PIPELINE_SOURCE": source,
            "CI_PROJECT_DIR": str(self.project),
            "CI_JOB_URL": f"{URL}/jobs/1",
            "CI_PAGES_URL": f"{URL}/pages",
        }
        caches = [cache for cache in job.get("cache", []) if "policy" in cache]
        seen = [cache for cache in caches if on_main or cache.get("unprotect")]
        for cache in seen:
            self.restore(cache["paths"])
        script = "\n".join([*job.get("before_script", ()), *job["script"]])
        done = self.run(("bash", "-eo", "pipefail", "-c"), script, check=not fails, **environment)
        status = "failed" if done.returncode else "success"
        for line in job.get("after_script", ()):
            self.run(("bash", "-c"), line, CI_JOB_STATUS=status, **environment)
        for cache in seen if environment.get("HISTORY") == "pull-push" else ():
            if status == "success" or cache.get("when") == "always":
                self.save(cache["paths"])
        kept = job["artifacts"]
        for path in (*kept.get("paths", ()), *kept.get("reports", {}).values()):
            assert (self.project / path).exists(), path
        return status


def variables_of(document, job, *, on_main):
    """What a job's script finds in its environment, of what the file sets."""
    rule = next((rule for rule in job.get("rules", ()) if on_main or "if" not in rule), {})
    found = {**document["variables"], **job["variables"], **rule.get("variables", {})}
    return {k: v["value"] if isinstance(v, dict) else v for k, v in found.items()}


def merged(document, name):
    """A job with what it extends."""
    job = document[name]
    base = merged(document, job["extends"]) if "extends" in job else {}
    return {**base, **job, "variables": {**base.get("variables", {}), **job.get("variables", {})}}


@pytest.fixture
def gitlab(bake, installed, tmp_path):
    project = bake(ci="gitlab", example="empty", tracking="none", project_name="Empty demo")
    return GitLab(installed(project), tmp_path / "cache")


@pytest.mark.slow
def test_gitlab_checks_a_fresh_project_and_reports_in_its_formats(gitlab):
    assert gitlab.job("check") == "success"
    assert "testsuite" in (gitlab.project / "build" / "junit.xml").read_text()
    assert json.loads((gitlab.project / "build" / "code-quality.json").read_text()) == []


@pytest.mark.slow
def test_gitlab_runs_the_pipeline_compares_it_with_main_and_publishes_the_site(gitlab):
    summary = gitlab.project / "build" / "summary.md"
    assert gitlab.job("pipeline") == "success"
    page = summary.read_text()
    assert page.startswith("## training on baseline: passed\n")
    assert "There is no earlier run of this kind" in page
    assert f"[Site]({URL}/pages)" in page
    assert gitlab.job("pages") == "success"
    assert (gitlab.project / "public" / "index.html").exists()

    gitlab.clean()
    before = {path: path.stat().st_mtime_ns for path in gitlab.cache.rglob("*")}
    assert gitlab.job("pipeline", branch="other", source="merge_request_event") == "success"
    assert "There is no earlier run of this kind" not in summary.read_text()
    assert {path: path.stat().st_mtime_ns for path in gitlab.cache.rglob("*")} == before

    gitlab.clean()
    notebook = next((gitlab.project / "stages").glob("*/main.ipynb"))
    document = json.loads(notebook.read_text(encoding="utf-8"))
    document["cells"][-1]["source"] = ["1 / 0"]
    notebook.write_text(json.dumps(document), encoding="utf-8")
    metrics = (gitlab.cache / "build" / "main" / "baseline.json").read_text()
    assert gitlab.job("pipeline", fails=True) == "failed"
    assert "ZeroDivisionError" in summary.read_text()
    assert (gitlab.cache / "build" / "main" / "baseline.json").read_text() == metrics
    assert len(list((gitlab.cache / "site" / "runs").iterdir())) == 2


def test_gitlab_is_asked_on_pushes_merge_requests_schedules_and_by_hand(bake, run):
    project = bake(ci="gitlab")
    document = parsed(project, ".gitlab-ci.yml")
    rules = " ".join(rule["if"] for rule in document["workflow"]["rules"])
    for source in ("merge_request_event", "schedule", "web"):
        assert f'"{source}"' in rules
    assert "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rules
    assert document["variables"]["EXPERIMENT"]["value"] == "small"
    jobs = [merged(document, name) for name in ("check", "pipeline", "pages")]
    assert [job["artifacts"]["expire_in"] for job in jobs] == ["30 days"] * 3
    check = ("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml")
    run(BIN / check[0], *check[1:], cwd=project)


def test_gitlab_shares_with_merge_requests_nothing_that_is_run(bake):
    caches = parsed(bake(ci="gitlab"), ".gitlab-ci.yml")["pipeline"]["cache"]
    assert [cache["paths"] for cache in caches if cache.get("unprotect")] == [["build/main"]]
