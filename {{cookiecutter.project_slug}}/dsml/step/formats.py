"""Objects to files and back, chosen by the file's suffix. Libraries are imported when needed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# matplotlib writes its own version into a picture; without it equal pictures are equal files
_NO_SOFTWARE: dict[str, Any] = {"Software": None}
_HALF_WRITTEN = re.compile(r"\d+ requested and \d+ written")


class Format(NamedTuple):
    """How one suffix is read and written; ``in_order`` says that it is from beginning to end."""

    load: Callable[[Path], Any]
    save: Callable[[Any, Path], None]
    in_order: bool = True


def load(path: Path) -> Any:
    """Read a file into the object that its suffix stands for.

    Reading a pickle runs code: whether it may be read is asked before (``dsml.contract.pickles``).

    Raises:
        ValueError: the suffix has no reader.
        OSError: the file cannot be read.
    """
    return _format(path).load(path)


def save(obj: Any, path: Path, notes: Path | None = None) -> None:
    """Write an object into the format of the file's suffix.

    In the folder ``notes`` the sha256 of a large file is noted; see ``dsml.step.hashed``.

    Raises:
        ValueError: the suffix has no writer.
        TypeError: the format cannot hold such an object.
    """
    found = _format(path)
    with _room_told(path):
        if notes is None or not found.in_order:
            found.save(obj, path)
            return
        from dsml.step.hashed import save_hashed

        save_hashed(lambda: found.save(obj, path), path, notes)


@contextlib.contextmanager
def _room_told(path: Path) -> Iterator[None]:
    """Say of a disk that is full that it is; numpy says how much it has written, and no more."""
    try:
        yield
    except OSError as error:
        is_half = error.errno is None and _HALF_WRITTEN.fullmatch(str(error)) is not None
        if is_half or error.errno == errno.ENOSPC:
            with contextlib.suppress(OSError):
                path.unlink()  # half of it is of no use, and the notebook needs the room
        if is_half:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def is_known(path: Path) -> bool:
    """Whether files with that suffix are read and written here."""
    return path.suffix.lower() in FORMATS


def _format(path: Path) -> Format:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(
            f"'{path.name}': no reader for '{suffix}' (there are {', '.join(FORMATS)}); "
            "read and write the path itself: context.ins.<name>, context.outs.<name>"
        )
    return FORMATS[suffix]


def _load_parquet(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def _save_parquet(obj: Any, path: Path) -> None:
    _frame(obj, path).to_parquet(path)


def _load_csv(path: Path) -> Any:
    import pandas as pd

    return pd.read_csv(path)


def _save_csv(obj: Any, path: Path) -> None:
    _frame(obj, path).to_csv(path, index=False)


def _frame(obj: Any, path: Path) -> Any:
    import pandas as pd

    if isinstance(obj, pd.Series):
        return obj.to_frame()
    if isinstance(obj, pd.DataFrame):
        return obj
    raise TypeError(f"'{path.name}' holds a DataFrame, not a {type(obj).__name__}")


def _load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _save_json(obj: Any, path: Path) -> None:
    text = json.dumps(obj, indent=1, ensure_ascii=False, default=_plain)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(obj: Any) -> Any:
    """NumPy's scalars and arrays, as the numbers and lists that they hold."""
    if hasattr(obj, "tolist"):
        return obj.tolist()
    raise TypeError(f"JSON cannot hold a {type(obj).__name__}")


def _load_npy(path: Path) -> Any:
    import numpy as np

    return np.load(path, allow_pickle=False)


def _save_npy(obj: Any, path: Path) -> None:
    import numpy as np

    with path.open("wb") as stream:
        np.save(stream, np.asarray(obj), allow_pickle=False)


def _load_pickle(path: Path) -> Any:
    import pickle

    with path.open("rb") as stream:
        return pickle.load(stream)  # noqa: S301 - the catalog allows it; see dsml.contract.pickles


def _save_pickle(obj: Any, path: Path) -> None:
    import pickle

    with path.open("wb") as stream:
        pickle.dump(obj, stream, protocol=pickle.HIGHEST_PROTOCOL)


def _load_joblib(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def _save_joblib(obj: Any, path: Path) -> None:
    import joblib

    joblib.dump(obj, path)


def _load_png(path: Path) -> Any:
    import matplotlib.image

    return matplotlib.image.imread(path)


def _save_png(obj: Any, path: Path) -> None:
    if hasattr(obj, "savefig"):
        obj.savefig(path, metadata=_NO_SOFTWARE)
    elif hasattr(obj, "save"):  # PIL
        obj.save(path)
    else:
        import matplotlib.image

        matplotlib.image.imsave(path, obj, metadata=_NO_SOFTWARE)


def _load_text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _save_text(obj: Any, path: Path) -> None:
    if not isinstance(obj, str):
        raise TypeError(f"'{path.name}' holds text, not a {type(obj).__name__}")
    path.write_text(obj, encoding="utf-8")


_PICKLE = Format(_load_pickle, _save_pickle)
_TEXT = Format(_load_text, _save_text)
FORMATS: dict[str, Format] = {
    ".parquet": Format(_load_parquet, _save_parquet),
    ".csv": Format(_load_csv, _save_csv),
    ".json": Format(_load_json, _save_json),
    ".npy": Format(_load_npy, _save_npy),
    ".joblib": Format(_load_joblib, _save_joblib),
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    # a picture is written by what made it, in whatever order
    ".png": Format(_load_png, _save_png, in_order=False),
    ".txt": _TEXT,
    ".md": _TEXT,
    ".html": _TEXT,
}
