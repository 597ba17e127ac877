"""Every combination of answers gives a whole project that speaks of nothing that was not chosen.

Every two choices meet in one of a few projects that are generated as users do it. In the slow tier
all combinations are rendered, without runtime, notebooks and hooks, which no answer changes.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil

import pytest
from conftest import PROJECT_FOLDER, TEMPLATE, copy_template, files_of, links_lead_somewhere, make
from readable import fault_of

QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = {
    key: value for key, value in QUESTIONS.items() if isinstance(value, list) and key[0] != "_"
}
# What a file may speak of only where the answer was given.
WORDS = {
    ("example", "digits"): r"digits|sklearn|scikit",
    ("example", "empty"): r"[Ss]tarter",
    ("ci", "github"): r"\.github/|\bworkflows|zizmor|[Dd]ependabot|GITHUB|make check format=github",
    ("ci", "gitlab"): r"gitlab-ci|CI_COMMIT|merge request",
    ("tracking", "mlflow"): r"[Mm][Ll][Ff]low|MLFLOW",
    ("dashboard", "streamlit"): r"[Ss]treamlit|[Dd]ashboard",
    ("deploy", "compose"): r"[Cc]ompose|dagster-docker",
    ("deploy", "kubernetes"): r"[Hh]elm|docs/kubernetes",
    ("license", "MIT"): r"\bMIT\b",
    ("license", "BSD-3-Clause"): r"BSD",
    ("license", "Apache-2.0"): r"Apache",
    ("license", "proprietary"): r"[Pp]roprietary|Do Not Upload",
}
WITHOUT = {
    "ci": r"\bci\.md|Continuous integration|check-jsonschema",
    "deploy": r"Dockerfile|dagster-postgres|requirements\.lock",
}
# Files that speak of it all the same: the checker of types is told what the runtime, which is
# always copied whole, imports only where it is used; a page shows how a part is added later.
REASONS = {
    ("pyproject.toml", "tracking"),
    ("pyproject.toml", "example"),
    ("docs/updating.md", "deploy"),
}


def is_supported(answers):
    return not (answers["dashboard"] == "streamlit" and answers["tracking"] == "none")


def supported():
    """All combinations of answers that can become a project."""
    rows = [dict(zip(CHOICES, row, strict=True)) for row in itertools.product(*CHOICES.values())]
    return [row for row in rows if is_supported(row)]


def pairs_of(row):
    return set(itertools.combinations(row.items(), 2))


def pairs():
    """Some of them, in which every two choices meet that may: each the one with most new pairs."""
    rows, chosen = supported(), []
    missing = set().union(*map(pairs_of, rows))
    while missing:
        chosen.append(max(rows, key=lambda row: len(missing & pairs_of(row))))
        missing -= pairs_of(chosen[-1])
    return chosen


def name_of(answers):
    return "-".join(answers.values())


def not_chosen(answers):
    """The words of which no file may speak, by question."""
    found = [(key, word) for (key, choice), word in WORDS.items() if answers[key] != choice]
    return found + [(key, word) for key, word in WITHOUT.items() if answers[key] == "none"]


class Checker:
    """Looks at each content once, however many projects have the file."""

    def __init__(self):
        self._seen = {}

    def faults(self, project, answers):
        """What is wrong with a project."""
        found = []
        for name in files_of(project):
            if not name.startswith("dsml/"):
                file = project / name
                text = file.read_text(encoding="utf-8")
                found += [f"{name}: {fault}" for fault in self._of(name, text)]
                found += [f"{name}: {fault}" for fault in spoken_of(name, text, answers)]
        return found

    def _of(self, name, text):
        if (name, text) not in self._seen:
            self._seen[name, text] = list(broken(name, text))
        return self._seen[name, text]


def broken(name, text):
    """Why a file cannot be read, and what of the template is left in it."""
    fault = fault_of(name.rpartition(".")[2], text)
    if fault:
        yield fault
    # What GitHub evaluates looks the same but for the dollar before it.
    yield from re.findall(r"(?<!\$)\{\{|\{%|cookiecutter\.", text)
    if name.endswith(("README.md", ".toml", ".yml", ".yaml", "Makefile")) and "\n\n\n" in text:
        yield "two empty lines"
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        yield "it does not end with one newline"


def spoken_of(name, text, answers):
    for key, word in not_chosen(answers):
        # Pages show things on examples, which may be those of the digits.
        if (name, key) in REASONS or (key == "example" and name.startswith("docs/")):
            continue
        found = re.search(word, text)
        if found:
            line = text[: found.start()].count("\n") + 1
            yield f"line {line} speaks of {found[0]}, which is no answer to {key}"


def test_every_two_answers_that_may_meet_do_so_in_a_few_projects():
    rows = pairs()
    met = set().union(*map(pairs_of, rows))
    two = itertools.combinations(CHOICES.items(), 2)
    wanted = {((x, a), (y, b)) for (x, some), (y, more) in two for a in some for b in more}
    assert wanted - met == {(("tracking", "none"), ("dashboard", "streamlit"))}
    assert len(rows) < 25


@pytest.mark.parametrize("answers", pairs(), ids=name_of)
def test_a_project_is_whole_and_speaks_of_nothing_that_was_not_chosen(answers, bake, run):
    project = bake(**answers, project_name="A shop")
    assert Checker().faults(project, answers) == []
    links_lead_somewhere(project)
    run("ruff", "check", "--no-cache", "--quiet", cwd=project)
    run("ruff", "format", "--check", "--no-cache", "--quiet", cwd=project)


@pytest.mark.slow(minutes=1)
def test_all_combinations_are_whole_and_speak_of_nothing_that_was_not_chosen(tmp_path):
    template = copy_template(tmp_path / "template")
    inside = template / PROJECT_FOLDER.name
    shutil.rmtree(inside / "dsml")
    for notebook in inside.rglob("*.ipynb*"):
        notebook.unlink()
    checker, faults = Checker(), {}
    for answers in supported():
        project = render(template, tmp_path / "out", answers)
        found = checker.faults(project, answers)
        if found:
            faults[name_of(answers)] = found
        shutil.rmtree(project)
    assert faults == {}


def render(template, output, answers):
    """A project without what hooks do."""
    return make(template, output, {"project_name": "A shop", **answers}, accept_hooks=False)
