"""The hook before the first question: what it refuses, and what it leaves to the others."""

from __future__ import annotations

import os
from pathlib import Path

import pre_prompt
import pytest
from pre_prompt import findings, output_dir

COOKIECUTTER = ["python", "cookiecutter", "gh:org/dsml-template"]


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ([], "."),
        (["-o", "x y"], "x y"),
        (["--output-dir", "x"], "x"),
        (["--output-dir=x"], "x"),
        (["-o"], "."),
    ],
)
def test_the_folder_is_the_one_that_the_option_names(words, folder):
    assert output_dir([*COOKIECUTTER, *words]) == folder


def test_a_folder_that_can_be_made_is_no_finding(tmp_path):
    assert list(findings([*COOKIECUTTER, "-o", "new/one"], tmp_path)) == []


@pytest.mark.parametrize("value", ["{{ x", "{% if %}", "{# never closed"])
def test_an_answer_that_is_no_jinja_is_told_by_its_name(value, tmp_path):
    told = list(findings([*COOKIECUTTER, f"description={value}"], tmp_path))
    assert told[0] == f"description: {value!r} on the command line is read as Jinja, and is none"


@pytest.mark.parametrize("value", ["{% raw %}{{{% endraw %}", "a } b", "{{ 1 }}", "100 %"])
def test_an_answer_that_jinja_takes_is_left_to_it(value, tmp_path):
    assert list(findings([*COOKIECUTTER, f"description={value}"], tmp_path)) == []


def test_where_nothing_is_known_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(pre_prompt, "command_of", lambda _: [])
    monkeypatch.setattr(pre_prompt, "folder_of", lambda _: tmp_path)
    assert pre_prompt.main() == 0


def test_the_command_line_and_the_folder_of_a_process_are_read():
    assert pre_prompt.command_of(os.getpid())[-1:] != []
    assert pre_prompt.folder_of(os.getpid()) == Path.cwd()
    assert pre_prompt.command_of(2**22 + 1) == []
