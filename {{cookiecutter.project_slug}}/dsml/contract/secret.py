"""Parameters of the type ``Secret``: their value names a variable of the environment.

The secret itself is what that variable holds. It is no part of the project: not of a notebook, the
catalog, a run's configuration or a manifest. Whoever runs the step has it in the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, TypeAlias

from dsml.contract.problem import Problem, ProjectError

if TYPE_CHECKING:
    from dsml.contract.literals import Json
    from dsml.contract.spec import StepSpec

Secret: TypeAlias = Annotated[str, "the name of a variable of the environment"]
"""For annotations: ``token: Secret = "HF_TOKEN"``. ``context.secret("token")`` is the content."""

NAME = "Secret"
SHORTEST = 4  # characters; what is shorter stands in every other word, and cannot be taken out
FIX = "write the name of a variable of the environment, such as HF_TOKEN, and put the secret there"

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
# A word of a name is not that long and has no digits between its letters; a key of AWS may.
_LONGEST_WORD = 16
_KEY_OF_AWS = re.compile(r"(?:AKIA|ASIA)[0-9A-Z]{16}")


def is_variable(text: str) -> bool:
    """Whether a text is the name of a variable, and no secret that somebody wrote down here."""
    if not _VARIABLE.fullmatch(text) or _KEY_OF_AWS.search(text):
        return False
    words = (word.rstrip("0123456789") for word in text.split("_"))
    return not any(
        len(word) >= _LONGEST_WORD and any(char.isdigit() for char in word) for word in words
    ) and not re.search(r"\d{9}", text)


def variables(step: StepSpec, values: Mapping[str, Json]) -> dict[str, str]:
    """The variable of each parameter of a step that is a ``Secret`` and is not None."""
    return {
        name: value
        for name, parameter in step.parameters.items()
        if parameter.type.is_secret and isinstance(value := values.get(name), str)
    }


def secret_problems(
    step: StepSpec, named: Mapping[str, str], environ: Mapping[str, str]
) -> list[Problem]:
    """Which variables of a step are not set, or hold what cannot be kept out of the records."""
    return [
        Problem(step.where(), f"{name}: {what}", fix, "no-secret")
        for name, variable in named.items()
        if (found := finding(variable, environ.get(variable, "")))
        for what, fix in [found]
    ]


def check_secrets(step: StepSpec, named: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Look whether the secrets of a step are there; ``named`` says in which variables.

    Raises:
        ProjectError: naming each variable that is not set.
    """
    problems = secret_problems(step, named, environ)
    if problems:
        raise ProjectError(problems)


def finding(variable: str, content: str) -> tuple[str, str] | None:
    """What is wrong with the content of a variable, and how to mend it."""
    if not content.strip():
        fix = f"set it where the run is started: export {variable}=..."
        return f"the variable {variable} is not set", fix
    if len(content.strip()) < SHORTEST:
        what = f"the content of {variable} has fewer than {SHORTEST} characters"
        return what, "take a longer secret: one so short cannot be kept out of logs"
    return None
