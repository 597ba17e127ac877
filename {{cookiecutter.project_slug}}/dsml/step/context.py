"""The context of a running step: its parameters, where its inputs lie, where its outputs go.

In a run of the pipeline everything comes from the runner, through Dagster Pipes
(https://docs.dagster.io/guides/build/external-pipelines). By hand, in Jupyter or with papermill,
it is worked out from the catalog and the artefact store.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsml.step.names import Names

Emit = Callable[[dict[str, Any]], None]
_FILE_NAME = re.compile(r"[\w][\w.+ -]*")


@dataclass(frozen=True)
class Setting:
    """What a context is made of; the runner sends it as JSON, a notebook by hand works it out.

    ``ins`` and ``outs`` hold local paths, ``sources`` says for each parameter in ``config``
    whether it comes from the notebook's default, the experiment or the run. ``inputs`` holds what
    the manifest records of each in: catalog path, run, bytes, sha256, when it was published.
    """

    step: str
    run_id: str
    experiment: str
    partition_key: str | None
    retry_number: int
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    ins: Mapping[str, str]
    outs: Mapping[str, str]
    logged: str
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass
class Context:
    """What ``get_context`` returns.

    ``config`` holds the parameters, ``ins`` and ``outs`` the paths of the declared artefacts; all
    three are read as ``context.ins.train`` or ``context.ins["train"]``.
    """

    setting: Setting
    log: logging.Logger
    emit: Emit = field(repr=False)

    def __post_init__(self) -> None:
        self.config: Names[Any] = Names("parameter", dict(self.setting.config))
        self.ins: Names[Path] = Names("in", _paths(self.setting.ins))
        self.outs: Names[Path] = Names("out", _paths(self.setting.outs))

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
    def retry_number(self) -> int:
        """How many attempts at this step have failed before, in this run."""
        return self.setting.retry_number

    def load(self, name: str) -> Any:
        """Read an in (or an out that this notebook has written) by the suffix of its file.

        Raises:
            KeyError: the step has neither an in nor an out of that name.
            ValueError: the suffix has no reader.
        """
        from dsml.step import formats

        return formats.load(
            self.outs[name] if name not in self.ins and name in self.outs else self.ins[name]
        )

    def save(self, name: str, obj: Any) -> None:
        """Write an out by the suffix of its file.

        Raises:
            KeyError: the step has no out of that name.
            ValueError: the suffix has no writer.
            TypeError: the format cannot hold such an object.
        """
        from dsml.step import formats

        formats.save(obj, self.outs[name])

    def log_metric(self, name: str, value: float, step: int | None = None) -> None:
        """Log a figure of merit; ``step`` numbers the points of a curve. The last value counts.

        Raises:
            TypeError: the value is no number.
        """
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric '{name}': {value!r} is no number") from None
        if not math.isfinite(number):
            self.log.warning("metric '%s' is %s", name, number)
        shown = number if math.isfinite(number) else str(number)
        self.emit({"kind": "metric", "name": str(name), "value": shown, "step": step})

    def log_param(self, name: str, value: bool | float | str | None) -> None:
        """Log a fact about the run that is no parameter of the notebook, such as a row count."""
        if not isinstance(value, bool | int | float | str | None):
            value = str(value)
        self.emit({"kind": "param", "name": str(name), "value": value})

    def log_text(self, name: str, text: str) -> None:
        """Keep a text beside the executed notebook, as ``<name>`` or ``<name>.txt``."""
        file = self._logged_file(name, ".txt")
        file.write_text(text, encoding="utf-8")
        self._emit_file(name, file)

    def log_figure(self, name: str, figure: Any) -> None:
        """Keep a picture (matplotlib, or anything with ``save``) as ``<name>.png``."""
        from dsml.step import formats

        file = self._logged_file(name, ".png")
        formats.save(figure, file)
        self._emit_file(name, file)

    def log_artefact(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Keep a copy of any file beside the executed notebook."""
        source = Path(path)
        file = self._logged_file(name or source.name, source.suffix)
        shutil.copyfile(source, file)
        self._emit_file(name or source.name, file)

    def _logged_file(self, name: str, suffix: str) -> Path:
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is no file name; use letters, digits, '_', '-' and '.'")
        folder = Path(self.setting.logged)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / (name if Path(name).suffix else name + suffix)

    def _emit_file(self, name: str, file: Path) -> None:
        self.emit({"kind": "file", "name": name, "file": file.name})

    def __repr__(self) -> str:
        from dsml.step.table import as_text

        return as_text(self.setting)

    def _repr_html_(self) -> str:
        """The table that Jupyter shows."""
        from dsml.step.table import as_html

        return as_html(self.setting)


def _paths(values: Mapping[str, str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in values.items()}


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
    setting = standalone_setting(op_parameters, step, namespace)
    log = _console_log(setting.step)
    return Context(setting, log, lambda record: log.info("%s", _shown(record)))


def _from_pipes() -> Context:
    from dagster_pipes import open_dagster_pipes

    pipes = open_dagster_pipes()
    setting = Setting(**pipes.extras["setting"])
    return Context(setting, pipes.log, pipes.report_custom_message)


def _console_log(step: str) -> logging.Logger:
    log = logging.getLogger(f"dsml.{step}")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return log


def _shown(record: Mapping[str, Any]) -> str:
    value = record.get("value", record.get("file"))
    return f"{record['kind']} {record['name']} = {value}"
