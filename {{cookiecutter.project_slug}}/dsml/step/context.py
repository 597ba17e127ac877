"""The context of a running step: its parameters, where its inputs lie, where its outputs go.

In a run of the pipeline everything comes from the runner, through Dagster Pipes
(https://docs.dagster.io/guides/build/external-pipelines). By hand, in Jupyter or with papermill,
it is worked out from the catalog and the artefact store.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsml.contract.pickles import check_pickle
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.secret import finding
from dsml.step import formats
from dsml.step.logs import Logs
from dsml.step.names import Names
from dsml.step.record import Record, record_in
from dsml.step.spans import SPANS_FILE

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

LocalPaths = str | Mapping[str, str]


@dataclass(frozen=True)
class Setting:
    """What a context is made of; the runner sends it as JSON, a notebook by hand works it out.

    ``ins`` and ``outs`` hold local paths (an in of a mapped step one for each instance),
    ``sources`` says for each parameter in ``config`` whether it comes from the notebook's default,
    the experiment, the run or the map. ``inputs`` holds what the manifest records of each in:
    catalog path, run, bytes, sha256, when it was published. ``instance`` is the key of this one.
    ``logged`` is the folder of what is logged. ``partition_window`` says in ISO 8601 when a
    partition of time begins and ends. ``secrets`` holds the variable of the environment that each
    parameter of the type ``Secret`` names, ``pickles`` what the catalog allows to be read as such.
    ``hashes`` is the folder in which ``save`` notes the sha256 of what it writes; empty by hand,
    where nothing is published.
    """

    step: str
    run_id: str
    experiment: str
    partition_key: str | None
    retry_number: int
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    ins: Mapping[str, LocalPaths]
    outs: Mapping[str, str]
    logged: str
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    instance: str | None = None
    partition_window: Sequence[str] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    pickles: Sequence[str] = ()
    hashes: str = ""


@dataclass
class Context(Logs):
    """What ``get_context`` returns.

    ``config`` holds the parameters, ``ins`` and ``outs`` the paths of the declared artefacts; all
    three are read as ``context.ins.train`` or ``context.ins["train"]``. An in of a mapped step is
    a dict of paths, by the keys of its instances; ``instances`` says by the same keys what
    parameters each had: ``context.instances.model["100"]["n_train"]``. One of a step with
    partitions, where this step has none, is a dict of paths by the keys of these.
    """

    setting: Setting
    log: logging.Logger
    record: Record = field(repr=False)

    def __post_init__(self) -> None:
        self.config: Names[Any] = Names("parameter", dict(self.setting.config))
        self.ins: Names[Any] = Names("in", {k: _paths(v) for k, v in self.setting.ins.items()})
        self.outs: Names[Path] = Names("out", {k: Path(v) for k, v in self.setting.outs.items()})
        self.instances: Names[dict[str, Mapping[str, Any]]] = Names(
            "in of a mapped step", _instances(self.setting.inputs)
        )

    @property
    def op_config(self) -> Names[Any]:
        """The parameters under the name that dagstermill gives them."""
        return self.config

    @property
    def step(self) -> str:
        """The catalog path of the step, ``stage.notebook``."""
        return self.setting.step

    @property
    def run_id(self) -> str:
        """The run's id; ``scratch`` where the notebook is run by hand."""
        return self.setting.run_id

    @property
    def experiment(self) -> str:
        """The name of the experiment."""
        return self.setting.experiment

    @property
    def partition_key(self) -> str | None:
        """The partition beside the experiment, None where there is none."""
        return self.setting.partition_key

    @property
    def partition_window(self) -> tuple[datetime, datetime] | None:
        """When the partition begins and ends, with the offset from UTC; None for one of a list."""
        window = self.setting.partition_window
        if window is None:
            return None
        start, end = map(datetime.fromisoformat, window)
        return start, end

    @property
    def instance(self) -> str | None:
        """The key of this instance where the step is mapped, else None."""
        return self.setting.instance

    @property
    def retry_number(self) -> int:
        """How many attempts at this step have failed before, in this run."""
        return self.setting.retry_number

    def run_of(self, name: str) -> str:
        """The id of the run that has published an in: of an earlier one where it was unchanged.

        Raises:
            KeyError: the step has no in of that name.
        """
        return str(self.setting.inputs[name]["run_id"])

    @property
    def tracer(self) -> Tracer:
        """A tracer of OpenTelemetry; its spans are part of the run's trace, below this attempt.

        From its first use on, libraries that make spans by OpenTelemetry write them there, too.
        """
        from dsml.step.tracer import open_tracer  # OpenTelemetry is slow, and few need it

        file = Path(self.setting.logged).with_name(SPANS_FILE)
        return open_tracer(self.step, file, self.record.redactor)

    def secret(self, name: str) -> str:
        """The content of the variable that a parameter of the type ``Secret`` names.

        It is kept out of all that a run writes about the step: there it is ``***``.

        Raises:
            KeyError: the step has no such parameter, or its value is None.
            ProjectError: the variable is not set.
        """
        variable = Names("Secret", dict(self.setting.secrets))[name]
        content = os.environ.get(variable, "")
        found = finding(variable, content)
        if found is not None:
            problem = Problem(Where(self.step), f"{name}: {found[0]}", found[1], "no-secret")
            raise ProjectError([problem])
        return content

    def load(self, name: str) -> Any:
        """Read an in (or an out that this notebook has written) by the suffix of its file.

        Of a mapped step it gives a dict: the object of each instance by its key.

        Raises:
            KeyError: the step has neither an in nor an out of that name.
            ValueError: the suffix has no reader, or it is that of a pickle and the catalog doesn't
                allow the artefact under ``pickles``.
        """
        is_out = name not in self.ins and name in self.outs
        path = self.outs[name] if is_out else self.ins[name]
        read = self.setting.inputs.get(name, {})
        source = f"{self.step}.{name}" if is_out else str(read.get("path"))
        for part in path.values() if isinstance(path, dict) else [path]:
            check_pickle(part.name, source, self.setting.pickles)
        if isinstance(path, dict):
            return {key: formats.load(part) for key, part in path.items()}
        return formats.load(path)

    def save(self, name: str, obj: Any) -> None:
        """Write an out by the suffix of its file.

        Raises:
            KeyError: the step has no out of that name.
            ValueError: the suffix has no writer.
            TypeError: the format cannot hold such an object.
        """
        hashes = self.setting.hashes
        formats.save(obj, self.outs[name], Path(hashes) if hashes else None)

    def __repr__(self) -> str:
        from dsml.step.table import as_text

        return as_text(self.setting)

    def _repr_html_(self) -> str:
        """The table that Jupyter shows."""
        from dsml.step.table import as_html

        return as_html(self.setting)


def _paths(value: LocalPaths) -> Path | dict[str, Path]:
    if isinstance(value, str):
        return Path(value)
    return {key: Path(path) for key, path in value.items()}


def _instances(inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    return {
        name: {key: part["values"] for key, part in found["parts"].items()}
        for name, found in inputs.items()
        if found.get("parts") is not None
    }


def get_context(op_parameters: Mapping[str, Any], step: str | None = None) -> Context:
    """The context of the notebook that calls this.

    Args:
        op_parameters: the dict of the cell tagged ``op_parameters``.
        step: the step's catalog path, ``stage.notebook``; only needed where two notebooks declare
            the same ``op_parameters`` and the program that runs them doesn't say which it is.

    Raises:
        ProjectError: run by hand, the notebook is not found in a project, or an upstream step
            has not been run yet.
    """
    if "DAGSTER_PIPES_CONTEXT" in os.environ:
        return _from_pipes()
    from dsml.step.standalone import standalone_setting
    from dsml.step.stock import stock_context, stock_manager

    # the notebook's variables: its parameters may have been changed by hand
    namespace = sys._getframe(1).f_globals  # noqa: SLF001 - documented for CPython
    manager = stock_manager()
    if manager is not None:
        return stock_context(manager, namespace)
    return open_context(lambda: standalone_setting(op_parameters, step, namespace))


def open_context(by_hand: Callable[[], Setting]) -> Context:
    """The context that a runner hands over; where there is none, one of the setting ``by_hand``."""
    if "DAGSTER_PIPES_CONTEXT" in os.environ:
        return _from_pipes()
    setting = by_hand()
    log = _console_log(setting.step)
    record = Record(Path(setting.logged), lambda line: log.info("%s", line))
    record.begin_anew()
    _hide(setting, record)
    return Context(setting, log, record)


def _from_pipes() -> Context:
    from dagster_pipes import open_dagster_pipes

    pipes = open_dagster_pipes()
    setting = Setting(**pipes.extras["setting"])
    record = record_in(setting.logged)
    _hide(setting, record)
    return Context(setting, pipes.log, record)


def _hide(setting: Setting, record: Record) -> None:
    """Keep the secrets out of what the notebook logs."""
    if setting.secrets:
        from dsml.step.redact import redactor_of

        record.redactor = redactor_of(setting.secrets)


def _console_log(step: str) -> logging.Logger:
    log = logging.getLogger(f"dsml.{step}")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return log
