"""Checks of what a project works with: files, runtime, storage, database, daemon, MLflow."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from upath import UPath

import dsml
from dsml.contract.problem import ProjectError, errors
from dsml.contract.project import read_project
from dsml.contract.vendored import RUNTIME, edits
from dsml.orchestrate import HOME_FOLDER
from dsml.orchestrate.doctor.findings import Patient, Told, check
from dsml.orchestrate.watch import time_of
from dsml.step.models import need_mlflow
from dsml.step.tracking import tracking_of
from dsml.store.remote import delete, read

_NAMED = 5  # files of the runtime that are named
_APART = 30.0  # seconds by which the clocks of two machines may differ


@check("project")
def project(patient: Patient) -> Iterator[Told]:
    """Notebooks and catalog fit together."""
    found = read_project(patient.root)
    wrong = errors(found.problems)
    if wrong:
        what = f"{len(wrong)} mistake{'s' * (len(wrong) != 1)}, the first in {wrong[0].where}"
        yield "broken", what, "make check tells them all"
    else:
        yield "ok", f"{len(found.registered)} steps in {patient.root}", ""


@check("runtime")
def runtime(patient: Patient) -> Iterator[Told]:
    """The runtime is as it was generated, so that an update of the template fits."""
    if not (patient.root / RUNTIME).is_dir():
        yield "ok", f"it is installed, not kept in the project: {dsml.__path__[0]}", ""
        return
    try:
        found = edits(patient.root)
    except ProjectError as error:  # it can still do its work
        yield from (("warning", f"{p.where}: {p.what}", p.fix) for p in error.problems)
        return
    if not found:
        yield "ok", f"{RUNTIME}/ is as it was generated", ""
        return
    named = [f"{name} ({kind})" for name, kind in found.items()]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    what = f"{RUNTIME}/ was edited in this project: {', '.join(named[:_NAMED])}{more}"
    fix = "take the edit to the template, or keep it as a patch: cruft update may conflict there"
    yield "warning", what, f"{fix} (docs/updating.md)"


@check("storage")
def storage(patient: Patient) -> Iterator[Told]:
    """A small file can be written to the storage, read and deleted."""
    store, name = patient.store, patient.catalog.environment().name
    shown = f"{store.root} (environment {name})"
    try:
        with _probe(patient) as (path, content):
            same = read(path) == content
    except OSError as error:
        fix = f"make it writable, or name another: environments.{name}.storage in catalog.yml"
        yield "broken", f"{shown} cannot be written: {error.strerror or error}", fix
        return
    if same:
        yield "ok", f"{shown} can be written and read", ""
    else:
        fix = "look at what stands between this machine and the storage"
        yield "broken", f"{shown} gives back something else than was written", fix


@check("clock")
def clock(patient: Patient) -> Iterator[Told]:
    """The clocks of this machine and of the storage agree: by them the newest run is chosen."""
    before = time.time()
    with _probe(patient) as (path, _):
        stamp = _stamp(path)
    after = time.time()
    if stamp is None:
        yield "ok", f"it is {_shown(after)}; the storage tells no time", ""
        return
    apart = max(before - stamp, stamp - after, 0.0)
    if apart <= _APART:
        yield "ok", f"it is {_shown(after)}, in the storage too", ""
        return
    what = f"here it is {_shown(after)}, in the storage {_shown(stamp)}: {apart:.0f} s apart"
    yield "broken", what, "set the clock by NTP, on Linux: timedatectl set-ntp true"


@contextlib.contextmanager
def _probe(patient: Patient) -> Iterator[tuple[UPath, bytes]]:
    """A small file in the storage, and its content; folders that are made for it go again."""
    root, content = patient.store.root, uuid.uuid4().hex.encode()
    path = root / f".doctor-{uuid.uuid4().hex}"
    made = [p for p in (root, *root.parents) if not p.exists()] if patient.store.is_local else []
    try:
        patient.store.write(path, content.decode())
        yield path, content
    finally:
        delete(path)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _stamp(path: UPath) -> float | None:
    """When a file was written, by the storage's clock, in seconds since 1970."""
    if isinstance(path, Path):
        return path.stat().st_mtime
    told = path.fs.info(path.path)
    return time_of({"modified": told.get("created"), **told})  # nobody has changed it since


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@check("home")
def home(patient: Patient) -> Iterator[Told]:
    """DAGSTER_HOME is the folder that the project's runs are recorded in."""
    given, own = os.environ.get("DAGSTER_HOME"), patient.root / HOME_FOLDER
    fix = f"unset DAGSTER_HOME, or set it to {own}"
    if given and not (Path(given).is_absolute() and Path(given).is_dir()):
        yield "broken", f"DAGSTER_HOME is {given!r}, which is no full path of a folder", fix
    elif not (patient.home / "dagster.yaml").is_file():
        fix = "restore it: git checkout -- .dagster/dagster.yaml" if not given else fix
        yield "warning", f"{patient.home} has no dagster.yaml: queue and limits are Dagster's", fix
    elif given and (own / "history").is_dir() and not Path(given).samefile(own):
        yield "warning", f"DAGSTER_HOME is {given}: runs in {own} are not seen", fix
    else:
        yield "ok", str(patient.home), ""


@check("database")
def database(patient: Patient) -> Iterator[Told]:
    """Dagster's database opens, and its tables are those of the Dagster that is installed."""
    from dsml.orchestrate.launch import open_instance  # Dagster, which may be what is broken

    try:
        with open_instance(patient.root) as instance:
            count = instance.get_runs_count()
            kinds = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
            versions = [kind.alembic_version() for kind in kinds if kind is not None]
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        fix = "if it is PostgreSQL, see that it runs; of a file in .dagster, restore a copy, or "
        fix += "move it away: artefacts stay, the list of runs begins anew"
        yield "broken", f"it doesn't open: {type(error).__name__}: {said}", fix
        return
    old = [each for each in versions if each is not None and each[0] != each[1]]
    if old:
        what = f"its tables are those of another Dagster ({old[0][0]}, not {old[0][1]})"
        yield "broken", what, "DAGSTER_HOME=$PWD/.dagster .venv/bin/dagster instance migrate"
    else:
        yield "ok", f"{count} run{'s' * (count != 1)}", ""


@check("daemon")
def daemon(patient: Patient) -> Iterator[Told]:
    """The daemon runs where a schedule or a sensor is on."""
    from dsml.orchestrate.launch import open_instance  # as above
    from dsml.orchestrate.switches import missing_daemons, read_switches

    with open_instance(patient.root) as instance:
        switches = read_switches(patient.root, instance)
        missing = missing_daemons(instance, switches)
    running = [switch.name for switch in switches if switch.running]
    if missing:
        kinds = " and ".join(f"{kind}s" for kind in missing)
        what = f"no daemon runs, so that {kinds} do nothing: {', '.join(running)}"
        yield "broken", what, "make dagit starts one; dsml schedules stop --all turns them off"
    else:
        yield "ok", f"{len(running)} of {len(switches)} schedules and sensors are on", ""


@check("mlflow")
def mlflow(patient: Patient) -> Iterator[Told]:
    """MLflow is installed and answers, where runs are tracked."""
    from dsml.evidence.mlflow_state import not_reached, reaches

    tracking = tracking_of(patient.root, patient.catalog)
    if tracking is None:
        yield "ok", "runs are not tracked", ""
        return
    need_mlflow("tracking")
    if reaches(tracking):
        yield "ok", f"{tracking.shown} answers", ""
    else:
        fix = "start it, or mend its address; afterwards: dsml sync"
        yield "warning", not_reached(tracking).what, fix
