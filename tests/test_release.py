"""Releases: tag, version and CHANGELOG agree, and each change says what it asks of a project."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import release
import yaml
from conftest import TEMPLATE
from release import ReleaseError, check, faults, prepare

HEAD = "# Changelog\n\nAll changes.\n\n"
FIRST = "## [0.1.0] - 2026-11-30\n\n### Added\n\n- All of it.\n"
WORKFLOW = TEMPLATE / ".github" / "workflows" / "release.yml"


@pytest.fixture
def repository(tmp_path):
    """Write a repository of which there is a version and a CHANGELOG; return its folder."""

    def repository(version, changelog):
        text = f'[project]\nname = "x"\nversion = "{version}"\n\n[tool]\nversion = "9"\n'
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        (tmp_path / "CHANGELOG.md").write_text(HEAD + changelog, encoding="utf-8")
        return tmp_path

    return repository


def told(changelog):
    """What is wrong in a CHANGELOG, as lines."""
    return "\n".join(map(str, faults(HEAD + changelog))).splitlines()


def test_the_changelog_of_this_repository_is_in_order():
    text = (TEMPLATE / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [str(fault) for fault in faults(text)] == []


def test_tag_version_and_changelog_that_agree_give_the_notes(repository):
    root = repository("0.1.0", f"## [Unreleased]\n\n{FIRST}")
    assert check("v0.1.0", root).text == "### Added\n\n- All of it."


def test_a_version_that_is_not_that_of_the_tag_is_told_in_both_files(repository):
    root = repository("0.1.0", f"## [Unreleased]\n\n{FIRST}")
    with pytest.raises(ReleaseError) as caught:
        check("v0.2.0", root)
    assert str(caught.value).splitlines() == [
        "pyproject.toml",
        "  the version is 0.1.0, the tag is v0.2.0",
        "  run: make release version=0.2.0",
        "",
        "CHANGELOG.md",
        "  the newest version is 0.1.0, the tag is v0.2.0",
        "  run: make release version=0.2.0",
    ]


def test_what_is_unreleased_still_is_told(repository):
    root = repository("0.1.0", f"## [Unreleased]\n\n### Added\n\n- More.\n\n{FIRST}")
    with pytest.raises(ReleaseError, match=r"line 5\n  \[Unreleased\] is not empty\n  move what"):
        check("v0.1.0", root)


@pytest.mark.parametrize("tag", ["0.1.0", "v0.1", "v0.1.0-rc1", "v01.0.0", "vx"])
def test_a_tag_of_another_form_is_refused(repository, tag):
    root = repository("0.1.0", f"## [Unreleased]\n\n{FIRST}")
    with pytest.raises(ReleaseError, match=r"is no tag of a release\n  write: v1\.2\.0"):
        check(tag, root)


@pytest.mark.parametrize("kind", ["Changed", "Removed", "Deprecated"])
def test_a_change_says_what_a_user_has_to_do(kind):
    version = f"## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### {kind}\n\n- A thing.\n"
    assert told(version) == [
        "CHANGELOG.md, line 7",
        f"  [0.2.0] has {kind}, and doesn't say what a user has to do",
        "  add: ### To do when updating; where that is nothing, below it: Nothing.",
    ]
    assert told(f"{version}\n### To do when updating\n\nNothing.\n") == []


@pytest.mark.parametrize(
    ("changelog", "line", "what"),
    [
        ("## [Unreleased]\n\n## [0.1] - 2026-11-30\n\n- x\n", 7, "[0.1] is not a version of three"),
        ("## [Unreleased]\n\n## [0.1.0]\n\n- x\n", 7, "[0.1.0] is not a version of three"),
        ("## [Unreleased]\n\n## [0.1.0] - 30.11.2026\n\n- x\n", 7, "with its date"),
        ("## [Unreleased]\n\n## [0.1.0] - 2026-11-30\n", 7, "[0.1.0] says nothing"),
        ("## [Unreleased]\n\n### New\n\n- x\n", 5, "[Unreleased] has a part 'New'"),
        ("## [Unreleased]\n\n### Added\n", 5, "[Unreleased] has nothing below 'Added'"),
        (f"## [Unreleased]\n\n{FIRST}\n{FIRST}", 13, "[0.1.0] stands below 0.1.0"),
    ],
)
def test_what_is_out_of_order_is_told_with_its_line(changelog, line, what):
    where, said, fix = told(changelog)
    assert where == f"CHANGELOG.md, line {line}"
    assert what in said
    assert fix.strip()


@pytest.mark.parametrize("changelog", ["", FIRST, "## Unreleased\n", "## [Unreleased] soon\n"])
def test_a_changelog_begins_with_what_is_unreleased(changelog):
    with pytest.raises(ReleaseError, match=r"CHANGELOG.md.*\n.*(version)"):
        told(changelog)


def test_preparing_makes_a_version_of_what_is_unreleased(repository):
    root = repository("0.1.0", f"## [Unreleased]\n\n### Added\n\n- More.\n\n{FIRST}")
    prepare("0.2.0", root)
    today = datetime.now(UTC).date().isoformat()
    section = check("v0.2.0", root)
    assert (section.text, section.date) == ("### Added\n\n- More.", today)
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith(f"{HEAD}## [Unreleased]\n\n## [0.2.0] - {today}\n\n### Added")
    assert 'version = "9"' in (root / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("version", "more", "what"),
    [
        ("0.2", "- More.", "version '0.2'\n  is no version"),
        ("", "- More.", "version ''\n  is no version"),
        ("0.1.0", "- More.", "version '0.1.0'\n  is not above 0.1.0, the newest version"),
        ("0.0.9", "- More.", "version '0.0.9'\n  is not above 0.1.0"),
        ("0.2.0", "", "[Unreleased] is empty\n  say what a user notices"),
    ],
)
def test_what_cannot_be_prepared_is_told_and_changes_nothing(repository, version, more, what):
    root = repository("0.1.0", f"## [Unreleased]\n\n{more}\n\n{FIRST}")
    before = [(root / name).read_text() for name in ("CHANGELOG.md", "pyproject.toml")]
    with pytest.raises(ReleaseError) as caught:
        prepare(version, root)
    assert what in str(caught.value)
    assert before == [(root / name).read_text() for name in ("CHANGELOG.md", "pyproject.toml")]


def test_the_first_release_of_this_repository_can_be_prepared(tmp_path):
    for name in ("CHANGELOG.md", "pyproject.toml"):
        (tmp_path / name).write_bytes((TEMPLATE / name).read_bytes())
    released = release.sections((TEMPLATE / "CHANGELOG.md").read_text(encoding="utf-8"))[1:]
    version = f"{int(released[0].name.partition('.')[0]) + 1}.0.0" if released else "0.1.0"
    prepare(version, tmp_path)
    assert check(f"v{version}", tmp_path).name == version


def test_the_command_says_what_to_do_next_and_what_is_wrong(run, tmp_path, monkeypatch, capsys):
    for name in ("CHANGELOG.md", "pyproject.toml"):
        (tmp_path / name).write_bytes((TEMPLATE / name).read_bytes())
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "release.py").write_bytes((TEMPLATE / "tools/release.py").read_bytes())
    tool = ("python", "tools/release.py")
    said = run(*tool, "prepare", "99.0.0", cwd=tmp_path).stdout
    assert "  git push origin v99.0.0\n" in said
    assert run(*tool, "check", "v99.0.0", cwd=tmp_path).stdout.startswith("v99.0.0: tag, version")
    assert run(*tool, "notes", "v99.0.0", cwd=tmp_path).stdout.startswith("### Added\n")
    refused = run(*tool, "check", "v98.0.0", cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert "the version is 99.0.0, the tag is v98.0.0" in refused.stderr
    assert run(*tool, "tag", cwd=tmp_path, check=False).returncode == 2


def test_the_workflow_publishes_nothing_that_was_not_checked_and_tested():
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    assert jobs["publish"]["permissions"] == {"contents": "write"}
    assert set(jobs["publish"]["needs"]) == {"agree", "test"} == jobs.keys() - {"publish"}
    commands = [step["run"] for step in jobs["agree"]["steps"] if "run" in step]
    assert commands == ['python tools/release.py check "$GITHUB_REF_NAME"']
    assert jobs["test"]["steps"][-1] == {"run": ".ci/run"}
    assert 'tools/release.py notes "$GITHUB_REF_NAME"' in jobs["publish"]["steps"][-1]["run"]
