"""What the hook before generation accepts and refuses, and what it says then."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import tomllib
from typing import Any

import post_gen_project
import pre_gen_project as hook
import pytest
from conftest import TEMPLATE
from hypothesis import given
from hypothesis import strategies as st

GOOD: dict[str, Any] = {
    "__given_slug": "digits_demo",
    "_template": "the template",
    "_output_dir": "/some where",
    "_checkout": None,
    "project_name": "Digits demo",
    "example": "digits",
    "ci": "github",
    "description": "A pipeline.",
    "project_slug": "digits_demo",
    "package_name": "digits_demo",
    "author_name": "Ada",
    "author_email": "",
    "license": "MIT",
    "python_version": "3.11",
    "tracking": "mlflow",
    "dashboard": "none",
    "deploy": "none",
    "stages": "load, train",
}


def refused(**answers: str) -> list[hook.Refusal]:
    if "project_slug" in answers:
        answers["__given_slug"] = answers["project_slug"]
    return hook.find_refusals({**GOOD, **answers})


def test_good_answers_pass():
    assert refused() == []


@pytest.mark.parametrize(
    "name",
    ["Ünïcode", 'with "quotes"', "it's", "back\\slash", "$(x) `y`", "100 %", "🎉", "שלום", "👩‍🔬"],
)
def test_any_readable_line_is_a_project_name(name):
    assert refused(project_name=name, description=name, author_name=name) == []


@pytest.mark.parametrize(
    ("slug", "what"),
    [
        ("", "must be words of letters and digits joined by single '_' or '-', a letter first"),
        (
            "2024_sales",
            "must be words of letters and digits joined by single '_' or '-', a letter first",
        ),
        ("a b", "must be words of letters and digits joined by single '_' or '-', a letter first"),
        (
            "../up",
            "must be words of letters and digits joined by single '_' or '-', a letter first",
        ),
        (
            "name_",
            "must be words of letters and digits joined by single '_' or '-', a letter first",
        ),
        (
            "größe",
            "must be words of letters and digits joined by single '_' or '-', a letter first",
        ),
        ("class", "must not be a Python keyword"),
        ("NUL", "must not be a name that Windows reserves"),
        ("com1", "must not be a name that Windows reserves"),
        ("scikit-learn", "must not be the name of a package that the project depends on"),
        ("x" * 51, "must have at most 50 characters; this has 51"),
    ],
)
def test_a_slug_that_cannot_name_a_project_is_refused_with_its_rule(slug, what):
    assert [refusal.rule for refusal in refused(project_slug=slug)] == [what]


@pytest.mark.parametrize("slug", ["sales", "sales-2024", "Sales_Model", "json", "tests"])
def test_a_slug_may_have_hyphens_capitals_and_the_name_of_a_standard_module(slug):
    assert refused(project_slug=slug) == []


@pytest.mark.parametrize(
    ("package", "what"),
    [
        ("", "must be lower-case letters, digits and '_', a letter first"),
        ("my-package", "must be lower-case letters, digits and '_', a letter first"),
        ("Package", "must be lower-case letters, digits and '_', a letter first"),
        ("_private", "must be lower-case letters, digits and '_', a letter first"),
        ("lambda", "must not be a Python keyword"),
        ("aux", "must not be a name that Windows reserves"),
        ("statistics", "must not be a module of Python's standard library"),
        ("sklearn", "must not be the name of a package that the project depends on"),
        ("dsml", "must not be a name that the project uses itself"),
        ("dag", "must not be a name that the project uses itself"),
        ("tests", "must not be a name that the project uses itself"),
        ("stages", "must not be a name that the project uses itself"),
    ],
)
def test_a_package_name_that_cannot_be_imported_is_refused_with_its_rule(package, what):
    assert [refusal.rule for refusal in refused(package_name=package)] == [what]


def test_every_dependency_of_a_project_is_a_refused_package_name(dashboard):
    project = tomllib.loads((dashboard / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in wanted}
    assert {name.lower().replace("-", "_") for name in names} <= hook.DEPENDENCIES


def test_every_top_level_name_of_a_project_is_a_refused_package_name(dashboard):
    own = {path.stem for path in dashboard.iterdir() if not path.name.startswith(".")}
    importable = {name for name in own if name.isidentifier() and name.islower()} - {
        "digits_demo",
        "catalog",
        "pyproject",
    }
    assert importable <= hook.OWN_NAMES


@pytest.mark.parametrize(
    "email",
    ["no-at-sign", "a@b", "a b@c.org", "a@b..org", "a@@b.org", "ü@example.org", "@example.org"],
)
def test_an_address_that_packaging_tools_would_not_take_is_refused(email):
    assert [refusal.rule for refusal in refused(author_email=email)] == [
        "must be an e-mail address such as name@host.org, or stay empty"
    ]


@pytest.mark.parametrize("email", ["", "ada@example.org", "a.b+c@sub.example.co.uk"])
def test_an_ordinary_address_or_none_passes(email):
    assert refused(author_email=email) == []


@pytest.mark.parametrize("key", ["project_name", "description", "author_name", "author_email"])
@pytest.mark.parametrize(
    "text", ["two\nlines", "bell\a", "nul\0", "line\u2028separator", "\u202ereversed", "lone\ud83d"]
)
def test_control_characters_are_refused_in_every_text(key, text):
    assert [refusal.rule for refusal in refused(**{key: text})] == [
        "must be one line without control characters"
    ]


@pytest.mark.parametrize("text", ["{{ x }}", "{% x %}", "a {# b"])
def test_brackets_of_jinja_are_refused_because_an_update_would_evaluate_them(text):
    (refusal,) = refused(description=text)
    assert "Jinja" in refusal.rule


def test_an_empty_project_name_is_refused():
    assert [refusal.rule for refusal in refused(project_name="  ")] == ["must not be empty"]


def test_a_text_that_is_too_long_is_refused_with_both_lengths():
    assert [refusal.rule for refusal in refused(project_name="x" * 300)] == [
        "must have at most 100 characters; this has 300"
    ]


@pytest.mark.parametrize(
    ("stages", "rule", "example"),
    [
        ("load, 1st", "'1st' must be letters, digits and '_', a letter first", "load, stage_1st"),
        (
            "load, my stage",
            "'my stage' must be letters, digits and '_', a letter first",
            "load, my_stage",
        ),
        ("load, import", "'import' must not be a Python keyword", "load, import_stage"),
        ("load, Con", "'Con' must not be a name that Windows reserves", "load, con_stage"),
        (
            "load, Load",
            "must not name a stage twice, nor differ in case only: 'load' and 'Load'",
            "load, Load_2",
        ),
        (" , ", "must name at least one stage", "load, train"),
    ],
)
def test_a_list_of_stages_is_refused_with_rule_and_mended_list(stages, rule, example):
    (refusal,) = refused(example="empty", stages=stages)
    assert (refusal.rule, refusal.example) == (rule, example)


def test_the_stages_do_not_matter_to_an_example_that_has_its_own():
    assert refused(example="digits", stages="1, 1, 1") == []


def test_a_trailing_comma_after_the_stages_does_no_harm():
    assert refused(example="empty", stages="load, train,") == []


def test_a_dashboard_without_the_champion_that_mlflow_keeps_is_refused():
    assert refused(dashboard="streamlit", tracking="none") == [
        hook.Refusal(
            "dashboard",
            "streamlit",
            "must be none where tracking is none: it shows the champion, which MLflow keeps",
            "none",
        )
    ]


@pytest.mark.parametrize(
    ("tracking", "dashboard"), [("mlflow", "none"), ("mlflow", "streamlit"), ("none", "none")]
)
def test_every_other_pair_of_tracking_and_dashboard_passes(tracking, dashboard):
    assert refused(tracking=tracking, dashboard=dashboard) == []


ANY_TEXT = st.text(max_size=120)


@given(name=ANY_TEXT, slug=ANY_TEXT, package=ANY_TEXT, email=ANY_TEXT, stages=ANY_TEXT)
def test_the_corrected_answers_of_any_refusal_are_accepted(name, slug, package, email, stages):
    answers = {
        **GOOD,
        "__given_slug": slug,
        "project_slug": slug,
        "project_name": name,
        "description": name,
        "author_name": name,
        "package_name": package,
        "author_email": email,
        "example": "empty",
        "stages": stages,
    }
    better = hook.corrected(answers, hook.find_refusals(answers))
    assert hook.find_refusals({**better, "__given_slug": better["project_slug"]}) == []


def test_all_refusals_come_in_one_message():
    answers = {
        **GOOD,
        "project_name": "",
        "__given_slug": "9",
        "package_name": "os",
        "author_email": "x",
    }
    text = "\n".join(hook.refusal_message(hook.find_refusals(answers), answers))
    for key in ("project_name", "project_slug", "package_name", "author_email"):
        assert f"\n{key}: " in text


def test_a_refusal_shows_value_rule_and_example():
    lines = hook.refusal_message(refused(package_name="json"), {**GOOD, "package_name": "json"})
    start = lines.index('package_name: "json"')
    assert lines[start + 1 : start + 3] == [
        "  must not be a module of Python's standard library",
        '  for example: "json_lib"',
    ]


def test_the_command_to_run_again_gives_every_answer_and_the_corrected_ones():
    answers = {**GOOD, "package_name": "json", "project_name": 'It\'s "mine"'}
    lines = hook.refusal_message(hook.find_refusals(answers), answers)
    start = next(number for number, line in enumerate(lines) if line.startswith("cookiecutter "))
    words = shlex.split("\n".join(lines[start:]).replace("\\\n", ""))
    assert words[:5] == [
        "cookiecutter",
        "the template",
        "--no-input",
        "--output-dir",
        "/some where",
    ]
    given_again = dict(word.split("=", 1) for word in words[5:])
    public = {key: value for key, value in answers.items() if not key.startswith("_")}
    assert given_again == {**public, "package_name": "json_lib"}


def test_the_command_to_run_again_names_the_version_that_was_asked_for():
    (first, *_) = hook.command_again({**GOOD, "_checkout": "v1"})
    assert "--checkout v1" in first


def test_under_cruft_the_command_to_run_again_is_one_of_cruft():
    answers = {**GOOD, "_commit": "abc"}
    (line,) = hook.command_again(answers)
    words = shlex.split(line)
    assert words[:4] == ["cruft", "create", "the template", "--no-input"]
    assert json.loads(words[-1])["project_name"] == "Digits demo"


def test_a_long_value_is_shown_cut_and_on_one_line():
    assert len(hook.shorten("x\n" * 500)) == hook.LONGEST_SHOWN
    assert "\n" not in hook.shorten("x\n" * 500)


def test_the_message_stands_in_a_frame(capsys):
    assert hook.main(json.dumps({**GOOD, "package_name": "os"})) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0].startswith("┏━━━")
    assert lines[-1].startswith("┗━━━")
    assert "┃ This project cannot be made. Nothing was written." in lines


def test_the_command_in_the_frame_can_be_copied_without_the_frame():
    framed = (
        hook.frame(["Run:", "cookiecutter x \\", "  'a=1 2' \\", "  b=2", "end"])
        .strip()
        .splitlines()
    )
    assert framed[2:5] == ["cookiecutter x \\", "  'a=1 2' \\", "  b=2"]
    assert framed[5] == "┃ end"


def test_a_terminal_without_unicode_gets_a_frame_of_ascii(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    hook.report(["größe"])
    assert raw.getvalue().decode("ascii").split() == [
        "+" + "=" * 78,
        "|",
        "gr\\xf6\\xdfe",
        "+" + "=" * 78,
    ]


def test_an_old_python_is_told_how_to_use_a_newer_one(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert hook.main("{}") == 1
    said = capsys.readouterr().err
    assert "cookiecutter runs on Python 3.10; this template needs Python 3.11 or newer." in said
    assert "uvx --python 3.11 cookiecutter" in said


def test_both_hooks_draw_the_same_frame():
    lines = ["one", "cookiecutter x", "  y", "z" * 200]
    assert hook.frame(lines) == post_gen_project.frame(lines)


@pytest.mark.parametrize("name", ["pre_gen_project.py", "post_gen_project.py"])
def test_a_hook_is_valid_python_before_it_is_rendered(name):
    source = (TEMPLATE / "hooks" / name).read_text(encoding="utf-8")
    compile(source, name, "exec")


def test_a_refused_project_leaves_no_folder_and_the_printed_command_makes_it(
    template, tmp_path, run
):
    output = tmp_path / "a b"
    output.mkdir()
    answers = [
        'project_name=It\'s "x" \\ $HOME',
        "project_slug=../../up",
        "package_name=json",
        "example=empty",
    ]
    done = run("cookiecutter", template, "--no-input", *answers, cwd=output, check=False)
    assert done.returncode == 1
    assert list(output.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b"]
    again = done.stderr[done.stderr.index("\ncookiecutter ") : done.stderr.index("\n┗")]
    run("sh", "-ec", again, cwd=tmp_path)
    assert [path.name for path in output.iterdir()] == ["up"]


@pytest.mark.parametrize("slug", ["", ".", "..", "a/b", "a\\b", "/absolute", "x" * 300, "a:b"])
def test_a_slug_that_is_no_folder_name_creates_nothing_anywhere(slug, template, tmp_path, run):
    output = tmp_path / "out" / "deep"
    output.mkdir(parents=True)
    done = run(
        "cookiecutter", template, "--no-input", f"project_slug={slug}", cwd=output, check=False
    )
    assert "must " in done.stderr
    assert "This project cannot be made" in done.stderr
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "out",
        "out/deep",
    ]
