"""`dsml check --format text|github|json`, and what makes it fail."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsml.cli.findings import _in_message, _in_property, as_github
from dsml.contract.json_lines import line_in_file
from dsml.contract.problem import Problem, Where

from .conftest import cell, document, step_cells

CONTEXT = "context = get_context(op_parameters)"
WARNED = document(cell("op_parameters = {}", "op_parameters"), cell("1\nx = '/home/ann/x'"))


@pytest.fixture
def every_problem_is_well_formed():
    """Not here: one is made of signs that the formats have to escape."""


@pytest.fixture
def mixed(make):
    """A project with an error in the catalog, an error and a warning in notebooks, and a draft."""
    make.step("c.c").register()
    make.catalog(make.text + "projet: x\n")
    broken = step_cells('{\n  "inns": {}\n}')
    make.file("stages/a/a.ipynb", json.dumps(broken, indent=1) + "\n")
    make.file("stages/b/b.ipynb", json.dumps(WARNED, indent=1) + "\n")
    return make


def test_text_is_the_default_and_tells_everything_in_the_order_of_files(mixed):
    done = mixed.run("check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == mixed.run("check", "--format", "text").stderr
    places = [line for line in done.stderr.split("\n") if line and not line.startswith(" ")]
    assert places == [
        "catalog.yml, line 4",
        "stages/a/a.ipynb, cell 1 (op_parameters), line 2",
        "stages/b/b.ipynb",
        "stages/b/b.ipynb, cell 2, line 2",
        "3 notebooks and catalog.yml checked: 2 errors, 1 warning",
    ]


def test_github_gets_a_command_for_each_finding_at_its_line_in_the_file(mixed):
    done = mixed.run("check", "--format", "github")
    assert (done.returncode, done.stderr) == (1, "")
    *commands, counted = done.stdout.rstrip("\n").split("\n")
    assert counted == "3 notebooks and catalog.yml checked: 2 errors, 1 warning"
    assert commands == [
        (
            "::error file=catalog.yml,line=4,title=unknown-key"
            "::line 4%0Aprojet: no such key%0Adid you mean 'project'?"
        ),
        (
            "::error file=stages/a/a.ipynb,line=10,title=unknown-key"
            "::cell 1 (op_parameters), line 2%0Ainns: op_parameters has no such key"
            "%0Adid you mean 'ins'?"
        ),
        (
            "::notice file=stages/b/b.ipynb,title=draft"
            "::is a draft: it is not registered, so no pipeline runs it"
            "%0Adsml register stages/b/b.ipynb makes it a step"
        ),
        (
            "::warning file=stages/b/b.ipynb,line=17,title=absolute-path"
            "::cell 2, line 2%0A'/home/ann/x' is a path that only one machine has"
            "%0Aread ins, write outs, or make it a parameter; paths in the project are relative"
        ),
    ]


def test_the_line_that_github_marks_is_the_very_line_of_the_cell(mixed):
    """Sources as lists of lines, which is how Jupyter saves them."""
    made = json.loads(json.dumps(WARNED))
    made["cells"][1]["source"] = ["1\n", "x = '/home/ann/x'\n", "y = 1"]
    mixed.file("stages/b/b.ipynb", json.dumps(made, indent=1) + "\n")
    done = mixed.run("check", "--format", "github", "stages/b")
    (warning,) = (line for line in done.stdout.split("\n") if line.startswith("::warning"))
    line = int(warning.partition("line=")[2].partition(",")[0])
    text = (mixed.root / "stages/b/b.ipynb").read_text(encoding="utf-8").split("\n")
    assert text[line - 1].strip() == "\"x = '/home/ann/x'\\n\","


def test_a_project_in_a_folder_of_its_repository_is_found_by_github(mixed, monkeypatch):
    monkeypatch.setenv("GITHUB_WORKSPACE", str(mixed.root.parent))
    problem = Problem(Where("catalog.yml", line=1), "what", "fix", "name")
    (command,) = as_github([problem], mixed.root)
    folder = mixed.root.name
    assert command == f"::error file={folder}/catalog.yml,line=1,title=name::line 1%0Awhat%0Afix"


def test_all_that_github_would_misread_is_escaped(make):
    make.file("stages/a, b/100%: x.ipynb", "{}")
    problem = Problem(Where("stages/a, b/100%: x.ipynb"), "50%, ::x", "a:b", "n,a:m%e", "note")
    (command,) = as_github([problem], make.root)
    assert command == (
        "::notice file=stages/a%2C b/100%25%3A x.ipynb,title=n%2Ca%3Am%25e::50%25, ::x%0Aa:b"
    )
    assert _in_message("50%\r\n:,") == "50%25%0D%0A:,"
    assert _in_property("50%\r\n:,") == "50%25%0D%0A%3A%2C"


def test_a_finding_without_a_file_has_none(make):
    (command,) = as_github([Problem(Where("DSML_ENV"), "what", "fix", "name")], make.root)
    assert command == "::error title=name::DSML_ENV%0Awhat%0Afix"


def test_a_file_that_is_no_notebook_is_marked_where_it_breaks(make):
    make.file("stages/a/a.ipynb", "{\n oops").run("register")
    first = make.run("check", "--format", "github").stdout.split("\n")[0]
    assert first.startswith("::error file=stages/a/a.ipynb,line=2,title=no-notebook::line 2%0A")


def test_json_holds_every_finding_in_the_order_of_files(mixed):
    done = mixed.run("check", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    assert mixed.run("check", "--json").stdout == done.stdout
    found = json.loads(done.stdout)
    assert [(item["path"], item["name"], item["severity"]) for item in found] == [
        ("catalog.yml", "unknown-key", "error"),
        ("stages/a/a.ipynb", "unknown-key", "error"),
        ("stages/b/b.ipynb", "draft", "note"),
        ("stages/b/b.ipynb", "absolute-path", "warning"),
    ]
    assert found[1] == {
        "path": "stages/a/a.ipynb",
        "cell": 1,
        "tag": "op_parameters",
        "line": 2,
        "what": "inns: op_parameters has no such key",
        "fix": "did you mean 'ins'?",
        "name": "unknown-key",
        "severity": "error",
    }


@pytest.mark.parametrize("form", ["text", "github", "json"])
def test_nothing_wrong_gives_0_in_every_format(make, form):
    done = make.step("a.a").register().run("check", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    said = {"json": "[]\n"}.get(form, "1 notebook and catalog.yml checked: no errors\n")
    assert done.stdout == said


@pytest.mark.parametrize("form", ["text", "github", "json"])
def test_warnings_fail_a_strict_check_only(make, form):
    make.notebook("b.b", WARNED).register()
    assert make.run("check", "--format", form).returncode == 0
    assert make.run("check", "--format", form, "--strict").returncode == 1


def test_notes_fail_no_check(make):
    assert make.step("a.a").run("check", "--strict").returncode == 0


def test_warnings_are_told_and_counted(make):
    done = make.notebook("b.b", WARNED).register().run("check")
    assert done.stderr == ""
    assert done.stdout == dedent("""\
        stages/b/b.ipynb, cell 2, line 2
          warning: '/home/ann/x' is a path that only one machine has
          read ins, write outs, or make it a parameter; paths in the project are relative

        1 notebook and catalog.yml checked: no errors, 1 warning
        """)


@pytest.mark.parametrize(
    "arguments",
    [("--format", "xml"), ("--json", "--format", "github"), ("--strikt",), ("no such file",)],
)
def test_wrong_usage_gives_2(make, arguments):
    done = make.run("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")


def test_the_generated_workflow_asks_for_annotations():
    folder = Path(__file__).resolve().parents[2] / "{{cookiecutter.project_slug}}"
    (workflow,) = (folder / ".github" / "workflows").iterdir()
    assert "make check format=github" in workflow.read_text("utf-8")
    assert "--format '$(format)'" in (folder / "Makefile").read_text("utf-8")


# --- the line of a cell in its file

SOURCE = st.lists(st.text(st.sampled_from('ab"\\{}[]é😀\t'), max_size=5), min_size=1, max_size=4)


@given(
    sources=st.lists(SOURCE, min_size=1, max_size=5),
    indent=st.sampled_from([None, 0, 1, 4]),
    ascii_only=st.booleans(),
    keys_sorted=st.booleans(),
    old=st.booleans(),
)
def test_the_line_of_a_cell_is_found_however_the_file_is_written(
    sources, indent, ascii_only, keys_sorted, old
):
    made = [
        {"cell_type": "code", "source": [f"{i}.{n}:{text}\n" for n, text in enumerate(lines)]}
        for i, lines in enumerate(sources)
    ]
    whole = {"worksheets": [{"cells": made}]} if old else {"metadata": {"cells": []}, "cells": made}
    text = json.dumps(whole, indent=indent, ensure_ascii=ascii_only, sort_keys=keys_sorted)
    for i, lines in enumerate(sources):
        for n in range(len(lines)):
            line = line_in_file(text, i + 1, n + 1)
            assert f'"{i}.{n}:' in text.split("\n")[line - 1]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"cells": 1}', '{"cells": [{}]}', '{"cells": []}']
)
def test_a_text_that_is_no_notebook_has_no_such_line(text):
    assert line_in_file(text, 2, 1) is None


def test_a_source_in_one_piece_is_found_where_it_begins():
    assert line_in_file('{"cells": [\n{"source":\n"a\\nb"}]}', 1, 2) == 3
    assert line_in_file('{"cells": [\n{"source":\n"a\\nb"}]}', 1, None) == 2


def test_a_text_notebook_is_marked_at_its_own_line(make):
    script = "# %% tags=['op_parameters']\nop_parameters = {}\n\n# %%\n1\nx = '/home/ann/x'\n"
    make.file("stages/a/a.py", script.replace("'op_parameters'", '"op_parameters"')).register()
    first = make.run("check", "--format", "github").stdout.split("\n")[0]
    assert first.startswith("::warning file=stages/a/a.py,line=6,title=absolute-path::cell 2, ")
