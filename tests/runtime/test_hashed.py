"""What a step saves is hashed meanwhile, and read again where anything has touched it since."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dsml.step import formats, hashed
from dsml.step.hashed import noted_sha256, save_hashed
from dsml.store import manifest

from .conftest import execute
from .projects import Step, write_project

CONTENT = bytes(range(256)) * 20_000  # 5 MB
ARRAY = np.random.default_rng(0).random(200_000)
PATIENCE = 30.0  # seconds


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture(autouse=True)
def following(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set when the thread has found the file; it looks for it without waiting."""
    found, follow = threading.Event(), hashed._Follower._follow

    def told(self, stream):
        found.set()
        follow(self, stream)

    monkeypatch.setattr(hashed._Follower, "_follow", told)
    monkeypatch.setattr(hashed, "_LOOK", 0.001)
    return found


@pytest.fixture
def saved(tmp_path: Path, notes: Path, following: threading.Event) -> Path:
    """A file that was hashed while it was written, in two parts."""
    file = tmp_path / "out.bin"

    def save() -> None:
        with file.open("wb", buffering=0) as stream:
            stream.write(CONTENT[:1000])
            assert following.wait(PATIENCE)
            stream.write(CONTENT[1000:])

    save_hashed(save, file, notes)
    return file


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_is_hashed_while_it_is_written(saved, notes):
    assert noted_sha256(saved, notes) == sha256(saved)
    assert saved.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("file", "obj"),
    [
        ("a.parquet", pd.DataFrame({"x": ARRAY})),
        ("a.csv", pd.DataFrame({"x": ARRAY[:20_000]})),
        ("a.json", ARRAY[:20_000]),
        ("a.npy", ARRAY),
        ("a.joblib", {"x": ARRAY, "n": 1}),
        ("a.pkl", {"x": ARRAY, "n": 1}),
        ("a.txt", "ein Satz über viele\n" * 50_000),
    ],
)
def test_what_is_noted_is_the_hash_of_the_file_in_every_format(
    file, obj, tmp_path, notes, following, monkeypatch
):
    suffix = Path(file).suffix
    known = formats.FORMATS[suffix]

    def save(obj, path):
        known.save(obj, path)
        assert following.wait(PATIENCE)

    monkeypatch.setitem(formats.FORMATS, suffix, known._replace(save=save))
    formats.save(obj, tmp_path / file, notes)
    assert noted_sha256(tmp_path / file, notes) == sha256(tmp_path / file)


def test_a_picture_may_be_written_in_any_order_and_is_not_followed(tmp_path, notes):
    formats.save(np.zeros((50, 50)), tmp_path / "a.png", notes)
    assert not notes.exists()


def _one_byte(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.write(b"x")


def _mapped(file: Path) -> None:
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as content:
        content[0] = 1


def _anew(file: Path) -> None:
    file.write_bytes(CONTENT[::-1])


def _another(file: Path) -> None:
    """What `shutil.copy2` makes of a file of the same size, its times and all, moved here."""
    other = file.with_name("other")
    other.write_bytes(CONTENT[::-1])
    found = file.stat()
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    shutil.move(other, file)


def _longer(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"x")


def _with_its_time(file: Path) -> None:
    """Changed, and given the time that it had; the disk's own clock has gone on meanwhile."""
    found, clock = file.stat(), file.with_name("clock")
    while not clock.exists() or clock.stat().st_ctime_ns <= found.st_ctime_ns:
        clock.write_bytes(b"")
    _one_byte(file)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize(
    "touch", [_one_byte, _mapped, _anew, _another, _longer, _with_its_time, os.utime]
)
def test_a_file_that_was_touched_afterwards_counts_as_unknown(
    touch: Callable[[Path], None], saved, notes
):
    touch(saved)  # at once, so within the same tick of the clock
    assert noted_sha256(saved, notes) == ""


def test_a_file_that_is_saved_again_counts_as_unknown(saved, notes):
    save_hashed(lambda: saved.write_bytes(CONTENT), saved, notes)
    assert noted_sha256(saved, notes) == ""
    assert list(notes.iterdir()) == []


def test_a_file_that_was_written_elsewhere_and_moved_here_is_as_good(tmp_path, notes, following):
    file, partial = tmp_path / "out.bin", tmp_path / "partial"

    def save() -> None:
        file.write_bytes(b"not yet")
        assert following.wait(PATIENCE)
        partial.write_bytes(CONTENT)
        partial.replace(file)

    save_hashed(save, file, notes)
    assert noted_sha256(file, notes) == ""
    assert not notes.exists()


def test_a_save_that_fails_notes_nothing_and_leaves_no_thread(tmp_path, notes, following):
    file, before = tmp_path / "out.bin", threading.active_count()

    def save() -> None:
        file.write_bytes(CONTENT)
        assert following.wait(PATIENCE)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        save_hashed(save, file, notes)
    assert noted_sha256(file, notes) == ""
    assert threading.active_count() == before


def test_a_note_that_was_cut_short_is_none(saved, notes):
    (note,) = notes.iterdir()
    note.write_bytes(note.read_bytes()[:-5])
    assert noted_sha256(saved, notes) == ""


def test_a_large_out_is_not_read_again_when_it_is_published(tmp_path, monkeypatch):
    read: list[str] = []
    digest = hashlib.file_digest

    def told(stream, name):
        read.append(Path(stream.name).name)
        return digest(stream, name)

    monkeypatch.setattr(manifest.hashlib, "file_digest", told)
    rows = "import pandas as pd\ntable = pd.DataFrame({'x': range(400_000), 'y': 0.1})\n"
    work = [rows + 'context.save("large", table)', 'context.save("small", [1])']
    step = Step(work, outs={"large": "large.csv", "small": "small.json"})
    ran = execute(write_project(tmp_path / "project", {"a.b": step}))
    folder = ran.attempt("a.b").parents[1]
    for output in ran.manifest("a.b").outputs.values():
        assert output.sha256 == sha256(folder / output.file)
    assert read == ["small.json"]
