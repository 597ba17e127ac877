"""Finish a generated project: starter stages, register, sums, git repository, what to do next.

Cookiecutter renders this file with Jinja and runs the result with its own Python, in the new
project folder; cruft does the same on every update, in a temporary folder. So it changes nothing
when it is run twice, and it needs nothing but the standard library, PyYAML and the generated
project's own `dsml.contract`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

# Jinja's tojson leaves no apostrophe in its output, so nothing in an answer can end this string.
ANSWERS = r'''{{ cookiecutter | tojson }}'''  # fmt: skip

GIT_TIMEOUT = 120  # seconds for one git command; a stuck file system must not hang the generation
FIRST_COMMIT = "Start from dsml-template"
# What tools leave in a checkout of the template. Cookiecutter copies folders whole and can leave
# none out.
LEFTOVERS = ("__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache")


def main(raw_answers: str, root: Path) -> int:
    """Finish the project in `root`; return the hook's exit code."""
    answers = json.loads(raw_answers)
    sys.dont_write_bytecode = True  # no __pycache__ in the new project
    sys.path.insert(0, str(root))
    remove_leftovers(root)
    if answers["example"] == "empty":
        write_starter_stages(root, answers["stages"])
    for folder in (".github", ".streamlit", "dashboard", "data", "deploy", "stages"):
        remove_empty_folders(root / folder)
    steps, problems = register(root)
    if problems:
        report(["The notebooks of this project do not fit together.", "", *problems.splitlines()])
        return 1
    record_runtime(root)
    committed = start_repository(root)
    warnings = [text for text in (committed, missing_uv(), commit_cruft(answers)) if text]
    print(summary(root, answers, steps, warnings), flush=True)
    return 0


# --- the project's files --------------------------------------------------------------------------


def remove_leftovers(root: Path) -> None:
    """Remove caches that came along from a checkout of the template in which somebody worked."""
    for folder, names, _ in os.walk(root):
        for name in [name for name in names if name in LEFTOVERS]:
            shutil.rmtree(Path(folder, name))
        names[:] = [name for name in names if name not in {*LEFTOVERS, ".git", ".venv"}]


def remove_empty_folders(root: Path) -> None:
    """Remove folders whose files belong to another choice; cookiecutter makes them anyway."""
    for folder, _, _ in os.walk(root, topdown=False):
        if not any(Path(folder).iterdir()):
            Path(folder).rmdir()


def write_starter_stages(root: Path, stages: str) -> None:
    """Write one starter notebook for each stage of a comma-separated list."""
    from dsml.contract.scaffold import starter_stages

    starter_stages(root, [part.strip() for part in stages.split(",") if part.strip()])


def register(root: Path) -> tuple[int, str]:
    """Check the project and write the register into its catalog.yml.

    Returns:
        The number of registered steps, and what is wrong as text; empty when nothing is.
    """
    from dsml.contract.problem import ProjectError, render
    from dsml.contract.register import check_project, write_register

    try:
        write_register(root)
    except ProjectError as error:
        return 0, str(error)
    checked = check_project(root)
    return len(checked.steps), render(checked.errors) if checked.errors else ""


def record_runtime(root: Path) -> None:
    """Write down the sha256 of the runtime's files, by which `dsml doctor` knows later edits."""
    from dsml.contract.vendored import write_sums

    write_sums(root)


# --- git and uv: nice to have ---------------------------------------------------------------------


def start_repository(root: Path) -> str:
    """Make a git repository with a first commit, unless there is one; return a warning."""
    if (root / ".git").exists():
        return ""
    if shutil.which("git") is None:
        return "git was not found: later, run `git init`, `git add -A` and `git commit`."
    try:
        if inside_repository(root):
            return "this folder is part of a git repository already: no new one was made in it."
        git(root, "init", "--quiet")
        # Not `init -b main`: git before 2.28 does not know it.
        git(root, "symbolic-ref", "HEAD", "refs/heads/main")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--no-verify", "--message", FIRST_COMMIT)
    except (OSError, subprocess.SubprocessError) as error:
        return f"git could not make the first commit ({reason(error)}): run `git commit` yourself."
    return ""


def inside_repository(root: Path) -> bool:
    """Tell whether an enclosing repository would track this folder, that is, does not ignore it."""
    try:
        git(root, "rev-parse", "--is-inside-work-tree")
    except subprocess.CalledProcessError:
        return False
    try:
        git(root, "check-ignore", "--quiet", ".")
    except subprocess.CalledProcessError:
        return True
    return False


def git(root: Path, *arguments: str) -> None:
    """Run one git command without hooks, signature or guessed identity, wherever it runs."""
    # Inside a git hook GIT_DIR and its like point to another repository.
    known = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG", "GIT_EXEC_PATH", "GIT_SSL")
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("GIT_") or key.startswith(known)
    }
    settings = [
        "commit.gpgSign=false",
        "core.hooksPath=no-hooks",
        "core.safecrlf=false",
        "user.useConfigOnly=true",
    ]
    options = [word for setting in settings for word in ("-c", setting)]
    subprocess.run(
        ["git", *options, *arguments],
        cwd=root,
        env=environment,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        timeout=GIT_TIMEOUT,
    )


def reason(error: Exception) -> str:
    """Return the telling line of what git said: the first error, else the first line."""
    said = str(getattr(error, "stderr", None) or error).strip().splitlines()
    if any(
        "user.name" in line or "user.email" in line or "tell me who you are" in line
        for line in said
    ):
        return "it knows neither your name nor your e-mail"
    fatal = [line for line in said if line.startswith(("fatal:", "error:"))]
    return (fatal or said or ["no reason given"])[0].strip()


def missing_uv() -> str:
    """Return a warning when uv is not there."""
    if shutil.which("uv"):
        return ""
    return "uv was not found: `make install` will use python -m venv and pip, which takes longer."


def commit_cruft(answers: dict[str, Any]) -> str:
    """Return a hint for cruft, which writes its own file after this hook's commit."""
    if "_commit" not in answers:
        return ""
    return "after `cruft create`, commit .cruft.json: `cruft update` needs a clean repository."


# --- what to do next ------------------------------------------------------------------------------


PARTS = {
    "mlflow": "MLflow",
    "streamlit": "a dashboard",
    "compose": "Docker Compose",
    "kubernetes": "Kubernetes",
    "github": "GitHub",
    "gitlab": "GitLab",
}


def summary(root: Path, answers: dict[str, Any], steps: int, warnings: list[str]) -> str:
    """Return what was made, what was checked and the next three commands."""
    chosen = [answers[key] for key in ("tracking", "dashboard", "deploy", "ci")]
    parts = [PARTS.get(choice, choice) for choice in chosen if choice != "none"]
    made = f"{steps} steps in {len(list((root / 'stages').iterdir()))} stages"
    tools = (
        ["make run", "make dagit"] if os.name != "nt" else ["uv run dsml run", "uv run dagster dev"]
    )
    lines = [
        "",
        f"{root.name} is there.",
        f"  Made:    {made}{', with ' if parts else ''}{', '.join(parts)}",
        "  Checked: answers, notebooks, catalog.yml, and how the steps fit together",
        *(f"  Note:    {warning}" for warning in warnings),
        "",
        "Next:",
        f"  cd {folder_to_enter(root)}",
        f"  {tools[0]:<18} # install what is needed, run the pipeline to the end",
        f"  {tools[1]:<18} # open the Dagster UI on http://127.0.0.1:3000",
    ]
    return "\n".join(lines)


def folder_to_enter(root: Path) -> str:
    """Return what to give to `cd`: the name for a user who stands beside it, else the path."""
    # The hook runs inside of the project; where the user's shell is, only PWD still tells.
    beside = Path(os.environ.get("PWD", root.parent)).resolve() == root.parent.resolve()
    folder = root.name if beside else str(root)
    return subprocess.list2cmdline([folder]) if os.name == "nt" else shlex.quote(folder)


# The two functions below are the same in both hooks: cookiecutter runs each from a file of its own.
def report(lines: list[str]) -> None:
    """Print lines in a frame on standard error, in the characters that its encoding has."""
    encoding = sys.stderr.encoding or "ascii"
    framed = frame(lines)
    try:
        framed.encode(encoding)
    except UnicodeEncodeError:
        framed = framed.translate({0x2501: "=", 0x2503: "|", 0x250F: "+", 0x2517: "+"})
        framed = framed.encode(encoding, "backslashreplace").decode(encoding)
    print(framed, file=sys.stderr, flush=True)


def frame(lines: list[str]) -> str:
    """Draw a frame, open on the right so that a long command can be copied whole.

    A line that starts a command, and the lines that continue it, stand without the bar on the left.
    """
    width = min(max(60, shutil.get_terminal_size().columns - 2), 100)
    commands = ("cookiecutter ", "cruft ", "uvx ", "pipx ")
    drawn, in_command = [], False
    for line in lines:
        in_command = line.startswith(commands) or (in_command and line.startswith("  "))
        if in_command:
            drawn.append(line)
            continue
        parts = textwrap.wrap(
            line, width - 2, subsequent_indent="    ", break_on_hyphens=False
        ) or [""]
        drawn += [f"┃ {part}".rstrip() for part in parts]
    return "\n".join(["", "┏" + "━" * width, *drawn, "┗" + "━" * width, ""])


if __name__ == "__main__":
    sys.exit(main(ANSWERS, Path.cwd()))
