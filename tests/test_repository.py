"""What makes the repository accessible: its glossary, how to contribute, the forms on GitHub."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from conftest import BIN, TEMPLATE, targets

from dsml.contract import catalog, spec

GITHUB = TEMPLATE / ".github"
FORMS = sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml"))
PAGES = sorted([*TEMPLATE.glob("*.md"), *TEMPLATE.glob("docs/*.md"), *GITHUB.glob("*.md")])


def text_of(name):
    return (TEMPLATE / name).read_text(encoding="utf-8")


def glossary():
    """The rows of each part of the glossary: their terms as they are marked, and what they are."""
    parts = re.split(r"^## (.*)$", text_of("docs/glossary.md"), flags=re.MULTILINE)[1:]
    row = re.compile(r"^\| ([`*].*?) \| (.+) \|$", re.MULTILINE)
    return {name: row.findall(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def terms(part):
    return {term for marked, _ in glossary()[part] for term in re.findall(r"[^`*,]{2,}", marked)}


def test_the_glossary_has_every_key_of_a_notebook_and_of_the_catalog():
    assert terms("A step's declaration") >= {*spec.KEYS, "op_parameters", "parameter"}
    assert terms("The catalog's sections") == set(catalog.KEYS)


def test_the_glossary_has_what_users_are_told_of_projects_and_runs():
    said = {"artefact", "catalog path", "experiment", "notebook", "register", "stage", "step"}
    assert terms("The project") >= said
    assert terms("Running") >= {"manifest", "partition", "run", "context", "attempt", "kernel"}


def test_the_glossary_is_in_the_order_of_the_alphabet_keys_first_and_explains_in_one_sentence():
    for part, rows in glossary().items():
        marked = [term.lower() for term, _ in rows]
        in_order = sorted(set(marked), key=lambda term: (term[0] != "`", term.strip("`*")))
        assert marked == in_order, part
        assert [what for _, what in rows if re.search(r"\. [A-Z]|\.$", what)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_three_commands_are_all_that_a_contributor_needs_and_they_are_there():
    first = re.search(r"^```sh\n(.*?)^```$", text_of("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^make ([a-z-]+)  +# .+$", first[1], re.MULTILINE)
    assert commands == ["test-fast", "lint", "test"]
    assert set(commands) <= targets(TEMPLATE / "Makefile")


def test_every_target_that_contributing_names_is_there():
    named = set(re.findall(r"`make ([a-z-]+)", text_of("CONTRIBUTING.md")))
    assert {"audit", "bench", "release"} <= named <= targets(TEMPLATE / "Makefile")


def test_the_forms_for_issues_are_what_github_takes():
    names = [form.name for form in FORMS]
    assert names == ["bug.yml", "config.yml", "idea.yml"]
    for form in FORMS:
        kind = "issue-config" if form.name == "config.yml" else "issue-forms"
        command = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.github-{kind}", form]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_form_for_a_mistake_asks_for_what_dsml_doctor_says():
    asked = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8"))
    needed = {f["id"] for f in asked["body"] if f.get("validations", {}).get("required")}
    assert needed == {"what", "doctor", "version", "system"}
