"""Refuse answers that cannot become a project, before a single file is written.

Cookiecutter renders this file with Jinja and runs the result with its own Python, in the empty
project folder. Unrendered it is an ordinary module, so the tests import it. All mistakes are told
at once, in a frame, because cookiecutter prints a traceback below whatever a failing hook says.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import unicodedata
from collections.abc import Callable
from email.headerregistry import Address
from pathlib import Path
from typing import Any, NamedTuple

# Jinja's tojson leaves no apostrophe in its output, so nothing in an answer can end this string.
ANSWERS = r'''{{ cookiecutter | tojson }}'''  # fmt: skip

OLDEST_PYTHON = (3, 11)
LONGEST = {
    "project_name": 100,
    "project_slug": 50,
    "package_name": 50,
    "description": 300,
    "author_name": 100,
    "author_email": 254,
    "stages": 500,
}
LONGEST_STAGE = 50
LONGEST_SHOWN = 120  # characters of a value in a message

# Folders and modules of a generated project, and folders that its .gitignore hides.
# fmt: off
OWN_NAMES = frozenset({
    "artefacts", "build", "dag", "dashboard", "data", "deploy", "dist", "docs", "dsml", "site",
    "stages", "tests",
})
# Import names and distribution names of everything that a generated project installs directly, and
# of the packages whose shadowing would be the least obvious. A test compares it with
# pyproject.toml.
DEPENDENCIES = frozenset({
    "adlfs", "gcsfs", "s3fs", "check_jsonschema", "detect_secrets", "pip_audit", "zizmor",
    "click", "dagster", "dagster_dg_cli", "dagster_dg_core", "dagster_pipes", "dagster_shared",
    "dagster_webserver", "dagstermill",
    "fsspec", "ipykernel", "ipython", "jinja2", "joblib", "jupyter", "jupyter_client", "jupyterlab",
    "jupytext", "matplotlib", "mlflow", "mypy", "nbclient", "nbconvert", "nbformat", "nbmake",
    "nbstripout", "notebook", "numpy", "packaging", "opentelemetry", "opentelemetry_sdk", "pandas",
    "pandas_stubs", "pandera", "papermill", "pip", "pre_commit", "pre_commit_hooks", "psutil",
    "pyarrow", "pytest", "pytest_xdist", "pyyaml", "pyzmq", "rich", "ruff", "scikit_learn",
    "setuptools", "sklearn", "streamlit", "types_pyyaml", "universal_pathlib", "upath", "uv",
    "wheel", "xdist", "yaml", "zmq",
})
# fmt: on
PORTS = {f"{port}{digit}" for port in ("com", "lpt") for digit in range(10)}
WINDOWS_RESERVED = frozenset({"aux", "con", "nul", "prn", *PORTS})
# Marks that reorder the text around them: what is read is then not what is written.
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Not written out: this file goes through Jinja itself.
JINJA_MARKS = tuple("{" + sign for sign in ("{", "%", "#"))


class Refusal(NamedTuple):
    """One answer that cannot be used.

    Attributes:
        key: The question, as it is called in cookiecutter.json.
        value: What was answered.
        rule: What an answer has to be; one line for each thing that is wrong with this one.
        example: An answer that would do, as close as possible to what was given.
    """

    key: str
    value: str
    rule: str
    example: str


def main(raw_answers: str) -> int:
    """Check the answers; return the hook's exit code."""
    if sys.version_info < OLDEST_PYTHON:
        report(old_python_message())
        return 1
    answers = json.loads(raw_answers)
    refusals = find_refusals(answers)
    if refusals:
        report(refusal_message(refusals, answers))
        return 1
    folder = read_only_folder(Path.cwd())
    if folder is not None:
        report(read_only_message(folder))
        return 1
    return 0


def read_only_folder(project: Path) -> Path | None:
    """Return a folder of an existing project that cannot be written over."""
    folders = [project, *sorted(path for path in project.iterdir() if path.is_dir())]
    return next((path for path in folders if not os.access(path, os.W_OK | os.X_OK)), None)


# --- the rules ------------------------------------------------------------------------------------


def find_refusals(answers: dict[str, Any]) -> list[Refusal]:
    """Return every refusal, in the order of the questions; empty when the project can be made."""
    slug = answers.get("__given_slug", answers["project_slug"])
    found = [
        *check_text("project_name", answers["project_name"], "Digits demo"),
        *check_text(
            "description", answers["description"], "A pipeline of notebooks.", required=False
        ),
        *check_slug(slug),
        *check_package(answers["package_name"]),
        *check_text("author_name", answers["author_name"], "Ada Lovelace"),
        *check_email(answers["author_email"]),
        *check_dashboard(answers["dashboard"], answers["tracking"]),
    ]
    if answers["example"] == "empty":
        found += check_stages(answers["stages"])
    return found


def check_text(key: str, value: str, example: str, *, required: bool = True) -> list[Refusal]:
    """Check free text: one readable line of a sensible length that Jinja leaves alone."""
    if required and not value.strip():
        return [Refusal(key, value, "must not be empty", example)]
    mended = mended_text(value, LONGEST[key]) or example
    if any(is_unprintable(char) for char in value):
        return [Refusal(key, value, "must be one line without control characters", mended)]
    if any(mark in value for mark in JINJA_MARKS):
        rule = "must not contain Jinja's brackets, which a later `cruft update` would evaluate"
        return [Refusal(key, value, rule, mended)]
    return check_length(key, value)


def check_length(key: str, value: str) -> list[Refusal]:
    """Check that an answer is not longer than its place in a project allows."""
    if len(value) <= LONGEST[key]:
        return []
    rule = f"must have at most {LONGEST[key]} characters; this has {len(value)}"
    return [Refusal(key, value, rule, cut(value, LONGEST[key]))]


def check_slug(value: str) -> list[Refusal]:
    """Check the name of the folder and the distribution."""
    key = "project_slug"
    example = free_name(as_identifier(value, "my_project"), "project", taken_by_distribution)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*", value, re.ASCII):
        rule = "must be words of letters and digits joined by single '_' or '-', a letter first"
        return [Refusal(key, value, rule, example)]
    what = taken_by_distribution(value.lower().replace("-", "_"))
    taken = [Refusal(key, value, f"must not be {what}", example)] if what else []
    return check_length(key, value) or taken


def check_package(value: str) -> list[Refusal]:
    """Check the name under which notebooks import the user's own code."""
    key = "package_name"
    example = free_name(as_identifier(value, "my_package"), "lib", taken_by)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", value, re.ASCII):
        rule = "must be lower-case letters, digits and '_', a letter first"
        return [Refusal(key, value, rule, example)]
    what = taken_by(value)
    taken = [Refusal(key, value, f"must not be {what}", example)] if what else []
    return check_length(key, value) or taken


def check_email(value: str) -> list[Refusal]:
    """Check the author's e-mail; empty means none."""
    key, example = "author_email", "ada@example.org"
    if not value:
        return []
    # Leaving something out mends no address, so none of the examples for text will do.
    text = [refusal._replace(example=example) for refusal in check_text(key, value, example)]
    rule = "must be an e-mail address such as name@host.org, or stay empty"
    return text or ([] if is_email(value) else [Refusal(key, value, rule, example)])


def check_dashboard(value: str, tracking: str) -> list[Refusal]:
    """Check that a dashboard has something to show: the champion, which MLflow keeps."""
    if value == "none" or tracking == "mlflow":
        return []
    rule = f"must be none where tracking is {tracking}: it shows the champion, which MLflow keeps"
    return [Refusal("dashboard", value, rule, "none")]


def check_stages(value: str) -> list[Refusal]:
    """Check the comma-separated stages; what is wrong is told stage by stage."""
    names = split_stages(value)
    example = ", ".join(mended_stages(names))
    rules = [rule for name in names for rule in stage_rules(name)]
    for name in names:
        same = [other for other in names if other.lower() == name.lower()]
        if len(same) > 1 and name == same[0]:
            shown = " and ".join(repr(other) for other in same)
            rules.append(f"must not name a stage twice, nor differ in case only: {shown}")
    if not names:
        rules = ["must name at least one stage"]
    if rules:
        return [Refusal("stages", value, "\n".join(rules), example)]
    return check_length("stages", value)


def stage_rules(name: str) -> list[str]:
    """Return what is wrong with the name of one stage."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name, re.ASCII):
        return [f"{name!r} must be letters, digits and '_', a letter first"]
    if len(name) > LONGEST_STAGE:
        return [f"{name!r} must have at most {LONGEST_STAGE} characters"]
    if keyword.iskeyword(name):
        return [f"{name!r} must not be a Python keyword"]
    if name.lower() in WINDOWS_RESERVED:
        return [f"{name!r} must not be a name that Windows reserves"]
    return []


def taken_by_distribution(name: str) -> str:
    """Return by what the name of a distribution, in lower case, is taken already; "" if it is free.

    That the standard library has a module called like it does no harm.
    """
    if keyword.iskeyword(name):
        return "a Python keyword"
    if name in WINDOWS_RESERVED:
        return "a name that Windows reserves"
    if name in DEPENDENCIES:
        return "the name of a package that the project depends on"
    return ""


def taken_by(name: str) -> str:
    """Return the same for the name of a package that is imported."""
    if name in OWN_NAMES:
        return "a name that the project uses itself"
    if name in sys.stdlib_module_names:
        return "a module of Python's standard library"
    return taken_by_distribution(name)


def is_unprintable(char: str) -> bool:
    """Tell whether a character is a control, a surrogate, a separator of lines, or unassigned.

    Joiners and marks of direction are printable here: emoji and right-to-left text need them.
    """
    return unicodedata.category(char) in {"Cc", "Cs", "Cn", "Zl", "Zp"} or char in BIDI_CONTROLS


def is_email(value: str) -> bool:
    """Tell whether the packaging tools will take this address (they parse it in the same way)."""
    try:
        address = Address(addr_spec=value)
    except Exception:  # the standard library's parser raises IndexError and others on odd input
        return False
    in_quotes = any(sign in value for sign in '"\\')
    return bool(address.username) and "." in address.domain.strip(".") and not in_quotes


# --- corrected examples ---------------------------------------------------------------------------


def split_stages(value: str) -> list[str]:
    """Split the answer to `stages`; an empty part, as after a trailing comma, is no stage."""
    return [part.strip() for part in value.split(",") if part.strip()]


def mended_stages(names: list[str]) -> list[str]:
    """Return valid, distinct names for the given stages."""
    mended: list[str] = []
    for name in names or ["load", "train"]:
        candidate = name if not stage_rules(name) else as_identifier(name, "stage")
        candidate = free_name(candidate, "stage", stage_rules)
        number = 2
        stem = candidate
        while candidate.lower() in [other.lower() for other in mended]:
            candidate = f"{stem}_{number}"
            number += 1
        mended.append(candidate)
    return mended


def as_identifier(value: str, fallback: str) -> str:
    """Return lower-case ASCII words joined by `_` that resemble the value, a letter first."""
    folded = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "_", folded).strip("_")
    if words[:1].isdigit():
        words = f"{fallback.rpartition('_')[2]}_{words}"
    return words[:40].rstrip("_") or fallback


def free_name(name: str, suffix: str, taken: Callable[[str], object]) -> str:
    """Return the name, with the suffix when it is taken."""
    return f"{name}_{suffix}" if taken(name) else name


def mended_text(value: str, length: int) -> str:
    """Return a text without what is refused in one; it may be empty then."""
    text = "".join(char for char in value if not is_unprintable(char))
    if any(mark in text for mark in JINJA_MARKS):
        text = text.replace("{", "")
    return cut(text, length)


def cut(value: str, length: int) -> str:
    """Return the start of a text that is too long, ending with a whole word where there is one."""
    if len(value) <= length:
        return value.strip()
    head, _, _ = value[: length + 1].rpartition(" ")
    return (head or value[:length]).strip()


# --- the message ----------------------------------------------------------------------------------


def refusal_message(refusals: list[Refusal], answers: dict[str, Any]) -> list[str]:
    """Return the lines that go into the frame, and below them the command to run again."""
    lines = ["This project cannot be made. Nothing was written.", ""]
    for refusal in refusals:
        lines += [
            f"{refusal.key}: {shorten(refusal.value)}",
            *(f"  {rule}" for rule in refusal.rule.splitlines()),
            f"  for example: {shorten(refusal.example)}",
            "",
        ]
    lines += ["Run it again with the corrected answers (yours are kept):", ""]
    return lines + command_again(corrected(answers, refusals))


def corrected(answers: dict[str, Any], refusals: list[Refusal]) -> dict[str, Any]:
    """Return the answers with each refused one replaced by its example."""
    return answers | {refusal.key: refusal.example for refusal in refusals}


def command_again(answers: dict[str, Any]) -> list[str]:
    """Return the command that makes the project with these answers, ready to be pasted.

    `cookiecutter --replay` cannot be combined with an answer on the command line, so every answer
    is given there. cruft takes them as one JSON object; it is known by the commit that it records.
    """
    public = {key: str(value) for key, value in answers.items() if not key.startswith("_")}
    template = str(answers.get("_template", "dsml-template"))
    if "_commit" in answers:
        return [
            join(["cruft", "create", template, "--no-input", "--extra-context", json.dumps(public)])
        ]
    words = ["cookiecutter", template, "--no-input"]
    if answers.get("_checkout"):
        words += ["--checkout", str(answers["_checkout"])]
    if answers.get("_output_dir"):
        words += ["--output-dir", str(answers["_output_dir"])]
    return wrapped(words, [f"{key}={value}" for key, value in public.items()])


def wrapped(words: list[str], answers: list[str]) -> list[str]:
    """Return a command over several lines where the shell has a sign for that, else on one line."""
    if sys.platform == "win32":
        return [join([*words, *answers])]
    lines = [join(words), *(f"  {join([answer])}" for answer in answers)]
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def join(words: list[str]) -> str:
    """Quote words for the shell that the user sits at."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def old_python_message() -> list[str]:
    """Return what to do when cookiecutter itself runs on a Python that is too old."""
    have = ".".join(str(part) for part in sys.version_info[:2])
    need = ".".join(str(part) for part in OLDEST_PYTHON)
    return [
        f"cookiecutter runs on Python {have}; this template needs Python {need} or newer.",
        "",
        "Install cookiecutter with a newer Python, for example:",
        "",
        f"uvx --python {need} cookiecutter ...",
        f"pipx install --python python{need} cookiecutter",
    ]


def read_only_message(folder: Path) -> list[str]:
    """Return what to do when a project is to be made over one that may not be changed."""
    return [
        "This project cannot be made. Nothing was written.",
        "",
        str(folder),
        "  is there already, and you may not write to it",
        "  take another project_slug or --output-dir, or make the folder writable",
    ]


def shorten(value: str) -> str:
    """Show a value on one line: escaped, quoted, and cut when nobody would read it to the end."""
    shown = json.dumps(value, ensure_ascii=False)
    shown = "".join(ascii(char)[1:-1] if is_unprintable(char) else char for char in shown)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[: LONGEST_SHOWN - 3]}..."


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
    sys.exit(main(ANSWERS))
