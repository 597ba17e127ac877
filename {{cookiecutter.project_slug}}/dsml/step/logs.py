"""What ``context.log_*`` does: metrics, facts, texts, figures, files, models of one attempt."""

from __future__ import annotations

import logging
import math
import operator
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from dsml.contract.models import MODEL_NAME
from dsml.step import formats
from dsml.step.record import RECORD_FILE, Record

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from dsml.store.manifest import Json

_FILE_NAME = re.compile(r"[\w][\w.+ -]*")
_PICTURES = ("savefig", "save", "__array__")  # matplotlib, PIL, pixels
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,9}")  # in "rate_0.5" the last part is none


class Logs:
    """The methods of a context that log: into the ``record``; ``log`` is told what looks wrong."""

    log: logging.Logger
    record: Record

    def log_metric(
        self, name: str, value: SupportsFloat, step: SupportsIndex | None = None
    ) -> None:
        """Log a figure of merit.

        Logged more than once it is a curve, by ``step``. Of a step that comes twice the last value
        counts; the value at the highest step is that of the metric. Without ``step`` a value comes
        one step after the highest, so that the last one counts. NaN and infinities are kept as
        text, and the log is warned.

        Raises:
            TypeError: the value is no number, the step no whole number, or the name no text.
            ValueError: the name is empty.
        """
        _check_name("metric", name)
        number = _number(name, value)
        if not math.isfinite(number) and name not in self.record.not_finite:
            self.record.not_finite.add(name)  # once: a loss that is NaN stays so
            self.log.warning("metric '%s' is %s", name, number)
        self.record.add_point(name, number, None if step is None else _whole(name, step))

    def log_param(self, name: str, value: object) -> None:
        """Log a fact about the run that is no parameter of the notebook, such as a row count.

        What is neither text nor number nor true, false or None is kept as text. Logged again with
        another value the last one counts, and the log is warned; so it is of NaN and infinities.

        Raises:
            TypeError: the name is no text.
            ValueError: it is empty.
        """
        _check_name("param", name)
        plain = _plain(value)
        if isinstance(plain, float) and not math.isfinite(plain):
            self.log.warning("param '%s' is %s", name, plain)
            plain = str(plain)
        known = self.record.params.get(name, plain)
        if known != plain:
            self.log.warning("param '%s' was %s and is now %s", name, known, plain)
        self.record.add_param(name, plain)

    def log_text(self, name: str, text: str) -> None:
        """Keep a text beside the executed notebook, as ``<name>`` or ``<name>.txt``.

        A file that is logged again is replaced, and the log is warned.

        Raises:
            TypeError: it is no text.
            ValueError: the name is no file name.
        """
        file = self._new_file("text", name, ".txt")
        if not isinstance(text, str):
            raise TypeError(f"text '{name}' is a {type(text).__name__}, not text")
        file.write_text(text, encoding="utf-8")
        self._add_file(name, file)

    def log_figure(self, name: str, figure: Any) -> None:
        """Keep a figure of matplotlib, an image of PIL or an array of pixels as ``<name>.png``.

        A figure of plotly is kept as ``<name>.html``, and as ``<name>.png`` too where kaleido is
        installed.

        Raises:
            TypeError: it is none of these.
            ValueError: the name is no file name.
        """
        _check_name("figure", name)
        name = name.removesuffix(".png")
        picture = self._new_file("figure", f"{name}.png", ".png")
        if not (hasattr(figure, "write_html") and hasattr(figure, "to_plotly_json")):
            _save_picture(name, figure, picture)
            self._add_file(name, picture)
            return
        page = picture.with_suffix(".html")
        figure.write_html(page, include_plotlyjs=True)  # so that it needs no network
        self._add_file(name, page)
        if find_spec("kaleido") is not None:  # with which plotly makes pictures
            self._add_picture(figure, picture)

    def log_artefact(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Keep a copy of any file beside the executed notebook.

        Raises:
            OSError: the file cannot be read.
            ValueError: the name is no file name.
        """
        source = Path(path)
        name = source.name if name is None else name
        file = self._new_file("artefact", name, source.suffix)
        shutil.copyfile(source, file)
        self._add_file(name, file)

    def log_model(
        self,
        name: str,
        model: Any,
        *,
        input_example: Any = None,
        signature: Any = None,
        **options: Any,
    ) -> None:
        """Keep a model in MLflow's format, from where it can be promoted and served.

        Needs MLflow, and no server of it. Logged again under the same name it is replaced, and
        the log is warned; so it is of a model without a signature.

        Args:
            name: of the model, as ``models`` in ``catalog.yml`` has it.
            model: of any library that MLflow knows, a ``PythonModel`` of MLflow, or a function.
            input_example: some rows of what it is given. They are kept, and the signature is
                told from them and from what the model says to them.
            signature: of MLflow, where there is no example.
            options: of MLflow's ``save_model`` for such models.

        Raises:
            ProjectError: MLflow is not installed.
            TypeError: it is no model that MLflow could save.
            ValueError: the name is no name of a model.
        """
        from dsml.step import models

        _check_name("model", name)
        name = self.record.without_secrets(name)
        if not re.fullmatch(MODEL_NAME, name):
            raise ValueError(f"'{name}' is no name of a model; use letters, digits, '_' and '-'")
        folder = self.record.folder / name
        if folder.is_file():
            raise ValueError(f"a file '{name}' was logged before; use another name")
        if name in self.record.models:
            self.log.warning("model '%s' was logged before: it is replaced", name)
        saved = models.save(
            model, folder, input_example=input_example, signature=signature, **options
        )
        if not saved.signature:
            text = "model '%s' has no signature, so nothing checks what it is given: %s"
            self.log.warning(text, name, "log it with input_example=, some rows of its input")
        self.record.add_model(saved)

    def champion(self, name: str | None = None) -> PyFuncModel:
        """The model that was promoted, ready to ``predict``, whatever library made it.

        Which version it is, is logged as the param ``champion``. A step that takes it is not
        unchanged when the champion changes: it needs ``"cache": False``.

        Args:
            name: of the model, as ``models`` in ``catalog.yml`` has it; not needed where there is
                but one.

        Raises:
            ProjectError: none has been promoted yet, MLflow doesn't answer or is not installed.
        """
        from dsml.contract.catalog import read_catalog
        from dsml.contract.project import find_root
        from dsml.step import models

        root = find_root(Path.cwd().resolve())
        catalog = read_catalog(root, [])
        chosen = models.the_model(catalog, name, "champion()")
        model, found = models.load_champion(root, catalog, chosen)
        alone = len(catalog.models) == 1
        self.log_param("champion" if alone else f"champion_{chosen}", int(found.version))
        return model

    def _add_picture(self, figure: Any, file: Path) -> None:
        """Add a picture of a figure of plotly; without one there is still the page."""
        try:
            figure.write_image(file)
        except Exception as error:  # of a browser that isn't there, or doesn't start
            self.log.warning("figure '%s' is kept as HTML only: %s", file.stem, error)
        else:
            self.record.add_file(file.name, file.name)

    def _new_file(self, kind: str, name: str, suffix: str) -> Path:
        _check_name(kind, name)
        name = self.record.without_secrets(name)
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"'{name}' is no file name; use letters, digits, '_', '-' and '.'")
        file = self.record.folder / name
        if not _SUFFIX.fullmatch(file.suffix):
            file = file.with_name(name + suffix)
        if file.name.lower() == RECORD_FILE:
            raise ValueError(f"'{file.name}' says what has been logged; use another name")
        if file.is_dir():
            raise ValueError(f"a model '{file.name}' was logged before; use another name")
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _add_file(self, name: str, file: Path) -> None:
        files = self.record.files
        known = files.get(name)
        if known is not None or file.name in files.values():
            self.log.warning("'%s' was logged before: the file is replaced", name)
        if known not in {None, file.name}:
            file.with_name(str(known)).unlink(missing_ok=True)
        self.record.add_file(name, file.name)


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a {kind} is text, not {name!r}")
    if not name.strip():
        raise ValueError(f"the name of a {kind} is empty")


def _number(name: str, value: SupportsFloat) -> float:
    try:
        if not isinstance(value, str | bytes):  # "0.5" is text, and so is "nan"
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise TypeError(f"metric '{name}': {value!r} is no number")


def _whole(name: str, step: SupportsIndex) -> int:
    try:
        return operator.index(step)
    except TypeError:
        raise TypeError(f"metric '{name}': step {step!r} is no whole number") from None


def _save_picture(name: str, figure: Any, file: Path) -> None:
    if not hasattr(figure, "savefig") and hasattr(figure, "get_figure"):
        figure = figure.get_figure()  # of matplotlib's axes, as pandas returns them from ``plot``
    if not any(hasattr(figure, method) for method in _PICTURES):
        kind = type(figure).__name__
        raise TypeError(
            f"figure '{name}' is a {kind}; give a figure of matplotlib or plotly, an image of PIL "
            "or an array of pixels"
        )
    formats.save(figure, file)


def _plain(value: Any) -> Json:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a scalar of NumPy or torch
        value = value.item()
    return value if isinstance(value, bool | int | float | str | None) else str(value)
