"""Run commands one after the other, each in a fork of this process, which has the imports done.

    python tests/commands.py

For each line of JSON that comes in, a list of words, it writes one: the exit code, and what was
printed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from dagster._cli import cli as dagster_cli

# What commands import when they need it.
import dsml.orchestrate.definitions
import dsml.orchestrate.launch  # noqa: F401 - loaded ahead
from dsml.cli import main as dsml_cli

TOOLS = {"dsml": dsml_cli, "dagster": dagster_cli}


def main() -> int:
    """Run what comes in; return the exit code."""
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
    return 0


def run(words: Sequence[str]) -> dict[str, object]:
    """Run one command in a process of its own."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = os.fork()
        if not child:
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
            os._exit(_code_of(words))
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "said": said.read()}


def _code_of(words: Sequence[str]) -> int:
    sys.argv = list(words)
    code: object = 0
    try:
        TOOLS[words[0]]()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 3
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    raise SystemExit(main())
