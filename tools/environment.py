"""Make a virtual environment and install into it, with uv if possible, else with venv and pip.

    python tools/environment.py FOLDER [arguments of `pip install`]

The Makefile calls this on machines of which it knows nothing but Python, git and make. uv is taken
from the PATH; where it is missing, it is installed with pip into build/uv first, and where that
fails too, venv and pip do the work. Either way the installed packages are compiled, so that no
first import pays for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

OLDEST_PYTHON = (3, 11)
REPOSITORY = Path(__file__).resolve().parent.parent
UV_HOME = REPOSITORY / "build" / "uv"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def main(arguments: Sequence[str]) -> int:
    """Make the environment that the first argument names; return the exit code."""
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return _fail(f"Python {oldest} or newer is needed, this is {sys.version.split()[0]}.")
    folder, wanted = Path(arguments[0]), list(arguments[1:])
    # Set by some shells and images; it would leave the environment uncompiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    uv = find_uv() or install_uv()
    try:
        if uv is None or not with_uv(uv, folder, wanted):
            with_pip(folder, wanted)
    except subprocess.CalledProcessError as error:
        return _fail(f"the environment {folder} could not be made: exit code {error.returncode}.")
    return 0


def find_uv() -> str | None:
    """Return a uv that is there already."""
    mine = UV_HOME / SCRIPTS / "uv"
    return shutil.which("uv") or shutil.which(str(mine))


def install_uv() -> str | None:
    """Install uv with pip into an environment of its own; return None where that is impossible."""
    print("uv was not found: installing it into build/uv", flush=True)
    try:
        _run(sys.executable, "-m", "venv", str(UV_HOME))
        _run(str(UV_HOME / SCRIPTS / "python"), "-m", "pip", "install", "--quiet", "uv")
    except subprocess.CalledProcessError:
        print(
            "uv cannot be installed: venv and pip are used instead, which takes longer", flush=True
        )
        return None
    return find_uv()


def with_uv(uv: str, folder: Path, wanted: Sequence[str]) -> bool:
    """Make the environment with uv; tell whether that worked."""
    try:
        _run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--python", str(folder), "--compile-bytecode", *wanted)
    except subprocess.CalledProcessError:
        print("uv failed: trying venv and pip", flush=True)
        return False
    return True


def with_pip(folder: Path, wanted: Sequence[str]) -> None:
    """Make the environment with the standard library's venv and pip."""
    # `--clear`: uv may have left one without pip.
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    python = str(folder / SCRIPTS / "python")
    # `--group` came with pip 25.1.
    _run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1")
    _run(python, "-m", "pip", "install", "--quiet", *wanted)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
