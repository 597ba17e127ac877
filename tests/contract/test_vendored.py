"""Which files of the runtime are not as they were generated."""

from __future__ import annotations

import pytest

from dsml.contract.problem import ProjectError
from dsml.contract.vendored import edits, write_sums


@pytest.fixture
def runtime(tmp_path):
    """The folder of a small runtime whose sums are written."""
    folder = tmp_path / "dsml"
    (folder / "step").mkdir(parents=True)
    (folder / "__init__.py").write_text("ONE = 1\n", newline="\n")
    (folder / "step" / "page.html").write_text("<p>\n", newline="\n")
    write_sums(tmp_path)
    return folder


def test_a_runtime_that_nobody_edited(runtime):
    assert edits(runtime.parent) == {}


def test_what_was_changed_added_and_removed_in_the_order_of_the_files(runtime):
    (runtime / "step" / "page.html").write_text("<p>ours\n")
    (runtime / "ours.py").touch()
    (runtime / "__init__.py").unlink()
    assert list(edits(runtime.parent).items()) == [
        ("dsml/__init__.py", "missing"),
        ("dsml/ours.py", "added"),
        ("dsml/step/page.html", "changed"),
    ]


def test_a_file_under_another_name_is_missing_there_and_added_here(runtime):
    (runtime / "__init__.py").rename(runtime / "init.py")
    assert edits(runtime.parent) == {"dsml/__init__.py": "missing", "dsml/init.py": "added"}


def test_caches_and_ends_of_lines_are_no_edits(runtime):
    for name in ("__pycache__/a.pyc", "step/__pycache__/b.pyc", ".mypy_cache/c.json", ".DS_Store"):
        (runtime / name).parent.mkdir(exist_ok=True)
        (runtime / name).write_text("left behind")
    (runtime / "__init__.py").write_bytes(b"ONE = 1\r\n")
    assert edits(runtime.parent) == {}


def test_writing_the_sums_twice_gives_the_same_bytes(runtime):
    before = (runtime / "SHA256SUMS").read_bytes()
    write_sums(runtime.parent)
    assert (runtime / "SHA256SUMS").read_bytes() == before
    assert before.count(b"\n") == 2


def test_without_the_list_one_is_told_where_to_get_it(runtime):
    (runtime / "SHA256SUMS").unlink()
    with pytest.raises(ProjectError) as caught:
        edits(runtime.parent)
    assert str(caught.value).splitlines() == [
        "dsml/SHA256SUMS",
        "  the list of the runtime's files cannot be read: No such file or directory",
        "  restore it: git checkout HEAD -- dsml/SHA256SUMS; without one, cruft update brings it",
    ]


@pytest.mark.parametrize("line", ["<<<<<<< ours", "abc  x.py", "", f"{'0' * 64} x.py", "\0\x1b"])
def test_a_list_that_is_none_is_told_with_its_line(runtime, line):
    with (runtime / "SHA256SUMS").open("a") as sums:
        sums.write(f"{line}\n")
    with pytest.raises(ProjectError, match=r"^dsml/SHA256SUMS, line 3\n  .* is no sha256 and"):
        edits(runtime.parent)
