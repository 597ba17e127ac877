"""Nothing leaves its root: whatever a name is, what is written lies below the folder for it."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upath import UPath

from dsml.contract.catalog import DEFAULT_PATTERN, catalog_of
from dsml.contract.fanout import instances
from dsml.contract.interface import read_interface
from dsml.contract.new import new_notebook
from dsml.contract.problem import ProjectError
from dsml.contract.yaml_lines import load_yaml
from dsml.evidence.site.files import Folder
from dsml.step.context import Context, Setting
from dsml.step.record import Record
from dsml.store import Layout, Manifest, Output, StepRun, Store
from dsml.store.paths import check_inside
from dsml.store.runs import RunRecord, keep_run

# What has led out of folders elsewhere: separators of all systems, as they are and encoded, links
# to the home, drives, zeros, look-alikes that a disk may fold into them, reserved and empty names.
PARTS = st.sampled_from(
    [
        *("..", ".", "/", "\\", "//", "\0", "~", "~root", "C:", "%2f", "%2e%2e", "..%2f", "%5c"),
        *("\uff0e\uff0e", "\u2215", "\u2024\u2024", "\u202e", "a\u0308", "A", "a", "b.json", "CON"),
        *("manifest.json", "attempts", ".newest", " ", "\n", "*", "{file}", "$HOME", "file://", ""),
    ]
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("".join)
REFUSED = (ProjectError, OSError, ValueError, KeyError)  # OSError: a name that no disk has
LAX = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Box:
    """A folder, and in it a root below which everything has to stay."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="box-")).resolve()
        self.root = self.folder / "in" / "the" / "root"
        self.root.mkdir(parents=True)
        self.memory = f"memory://{uuid.uuid4().hex}/in/the/root"

    def stores(self, pattern: str = DEFAULT_PATTERN) -> Iterator[Store]:
        layout = Layout(pattern)
        yield Store(UPath(self.root), layout, self.root)
        yield Store(UPath(self.memory), layout, self.root / "work")

    def check(self) -> None:
        """Look at all files on the disk and in memory."""
        for path in self.folder.rglob("*"):
            assert path.is_dir() or path.resolve().is_relative_to(self.root), path
        system = UPath(self.memory).fs
        box = "/" + self.memory.removeprefix("memory://").partition("/")[0]
        for name in list(system.store):
            if name.startswith(box):
                assert name.startswith(f"{box}/in/the/root/")
                assert ".." not in name.split("/")


@pytest.fixture
def box() -> Iterator[Box]:
    made = Box()
    yield made
    shutil.rmtree(made.folder)


@LAX
@given(st.tuples(*[NAMES] * 6), st.sampled_from(["{partition}/", ""]))
def test_the_store_writes_below_its_root_whatever_an_address_holds(box, names, more):
    step, experiment, run_id, partition, instance, file = names
    for store in box.stores(more + DEFAULT_PATTERN):
        for each in (f"train.{step}", "train.fit"):
            with contextlib.suppress(*REFUSED):
                address = StepRun(each, experiment, run_id, partition, instance)
                with contextlib.suppress(*REFUSED):
                    store.write(store.path(address, file), "x")
                with contextlib.suppress(*REFUSED):
                    staging = store.stage(address, 1)
                    (staging.outs / "a.json").write_text("1")
                    store.unstage(staging)
                store.scratch(each, experiment)
                keep_run(store, RunRecord(run_id, "p", "all", experiment, partition, ""))
    box.check()


MANIFEST = {
    "step": "train.fit",
    "run_id": "r",
    "experiment": "e",
    "partition": None,
    "parameters": {},
    "inputs": {},
    "code": "",
    "git": {},
    "versions": {},
    "started": "",
    "ended": "",
    "attempts": 1,
    "executed": "",
}


@LAX
@given(NAMES, NAMES, NAMES, NAMES)
def test_what_a_manifest_in_the_storage_says_leads_nowhere(box, file, sha256, run_id, cached):
    output = {"file": file, "bytes": 1, "sha256": sha256}
    raw = {**MANIFEST, "run_id": run_id, "cached": cached, "outputs": {"model": output}}
    for store in box.stores():
        with contextlib.suppress(*REFUSED):
            manifest = Manifest.from_json(json.dumps(raw))
            found = manifest.outputs["model"]
            with contextlib.suppress(*REFUSED):
                store.write(store.path(manifest.origin, found.file), "x")
            store.local(manifest.origin, found)  # of a remote one a copy is made here
    box.check()


@LAX
@given(NAMES, NAMES, NAMES)
def test_what_the_catalog_and_a_step_declare_stays_below_the_storage(box, name, pattern, file):
    patterns = (DEFAULT_PATTERN, f"{pattern}/{DEFAULT_PATTERN}", DEFAULT_PATTERN + pattern)
    for path in patterns:
        problems: list = []
        text = yaml.safe_dump(
            {
                "version": 1,
                "paths": {"artefact": path},
                "experiments": {name: {}},
                "pipelines": {"all": {"partitions": [name]}},
            }
        )
        catalog = catalog_of(load_yaml(text), problems)
        interface = read_interface(lambda *_: None, {"outs": {"m": file}})
        partitions = catalog.pipelines["all"].partitions
        keys = [name] if partitions is not None and partitions.position(name) is not None else []
        for store in box.stores(catalog.artefact_pattern):
            for experiment, key in itertools.product(catalog.experiments, [None, *keys]):
                address = StepRun("train.fit", experiment, "run", key)
                for out in interface.outs.values():
                    with contextlib.suppress(OSError):
                        store.write(store.path(address, out), "x")
    box.check()


def context_in(folder: Path) -> Context:
    setting = Setting(*("a.b", "run", "baseline", None, 0, {}, {}, {}, {}), logged=str(folder))
    return Context(setting, logging.getLogger("roots"), Record(folder))


@LAX
@given(NAMES)
def test_what_is_logged_stays_in_the_folder_of_the_attempt(box, name):
    context = context_in(box.root / "logged")
    for log in (
        lambda: context.log_text(name, "x"),
        lambda: context.log_artefact(__file__, name),
        lambda: context.log_param(name, name),
        lambda: context.log_metric(name, 1),
    ):
        with contextlib.suppress(*REFUSED):
            log()
    context.record.close()
    box.check()


@LAX
@given(st.lists(NAMES, min_size=1, max_size=3), NAMES)
def test_pages_of_the_site_stay_in_their_folder(box, parts, name):
    with contextlib.suppress(*REFUSED):
        Folder(box.root / "runs").write("x", *parts, name)
    box.check()


@LAX
@given(st.lists(NAMES | st.integers() | st.none(), min_size=1, max_size=4))
def test_keys_of_instances_are_names_of_folders(values):
    keys = [instance.key for instance in instances({"n": values})]
    assert all(key.isidentifier() or key.replace("_", "a").isalnum() for key in keys)


@settings(LAX, max_examples=60)
@given(NAMES, NAMES)
def test_a_new_step_lies_below_stages(box, stage, name):
    (box.root / "catalog.yml").write_text("version: 1\n")
    with contextlib.suppress(*REFUSED):
        new_notebook(box.root, f"{stage}/{name}")
    box.check()
    assert {path.name for path in box.root.iterdir()} <= {"catalog.yml", "stages", ".dsml.lock"}


# --- links ----------------------------------------------------------------------------------------


def test_a_link_in_the_storage_is_not_followed_out_of_it(box):
    outside = box.folder / "outside"
    outside.mkdir()
    store = next(box.stores())
    (box.root / "baseline").symlink_to(outside)
    address = StepRun("train.fit", "baseline", "run")
    with pytest.raises(ProjectError, match="a link in the storage leads to"):
        store.write(store.path(address, "manifest.json"), "x")
    (box.root / ".staging").symlink_to(outside)
    with pytest.raises(ProjectError, match="a link in the storage leads to"):
        store.stage(address, 1)
    (box.root / ".scratch").symlink_to(outside)
    with pytest.raises(ProjectError, match="a link in the storage leads to"):
        store.scratch("train.fit", "baseline")
    box.check()


def test_the_storage_itself_may_be_a_link(box):
    real = box.root / "real"
    real.mkdir()
    (box.root / "link").symlink_to(real)
    folder = box.root / "link"
    store = Store(UPath(folder), Layout(DEFAULT_PATTERN), folder)
    store.write(store.path(StepRun("a.b", "e", "r"), "manifest.json"), "x")
    assert (real / "e" / "a" / "b" / "r" / "manifest.json").read_text() == "x"


def test_a_link_inside_of_the_root_is_followed(box):
    (box.root / "a").mkdir()
    (box.root / "b").symlink_to(box.root / "a")
    check_inside(box.root, box.root / "b" / "file")


def test_an_output_of_a_hostile_manifest_is_told_in_the_frame():
    with pytest.raises(ProjectError) as refused:
        Output("../../.bashrc", 1, "00")
    assert str(refused.value) == (
        "storage\n  '../../.bashrc' leads out of its folder, so it is neither read nor written\n"
        "  find out who has changed what lies in the storage, and restore it"
    )
