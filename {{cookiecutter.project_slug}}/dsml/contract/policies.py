"""How a step is to be run again, and how long it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsml.contract.declared import Record, key, keys_of

BACKOFFS = ("constant", "linear", "exponential")
JITTERS = ("none", "full", "plus_minus")


@dataclass(frozen=True)
class Retries:
    """How often a failed step is tried again, and after how long.

    The delay before retry ``n`` is ``delay`` seconds, times ``n`` with a linear backoff and times
    ``2 ** n - 1`` with an exponential one, as Dagster counts. Full jitter takes any time up to
    that, plus_minus one within that distance around it.
    """

    max: int = key("How often a failed step is tried again.", default=0)
    delay: float = key("Seconds before it is tried again.", default=0.0)
    backoff: str = key("How the delay grows.", choices=BACKOFFS, default=BACKOFFS[0])
    jitter: str = key("How chance changes the delay.", choices=JITTERS, default=JITTERS[0])


RETRIES_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {
            "type": "object",
            "properties": {
                "max": {"type": "integer", "minimum": 0},
                "delay": {"type": "number", "minimum": 0},
                "backoff": {"enum": list(BACKOFFS)},
                "jitter": {"enum": list(JITTERS)},
            },
            "required": ["max"],
            "additionalProperties": False,
        },
    ]
}
TIMEOUT_SCHEMA = {"type": "number", "exclusiveMinimum": 0}


@dataclass(frozen=True)
class Defaults:
    """What holds for every step that doesn't say otherwise."""

    retries: Retries | None = key(
        "How often a failed step is tried again: a number, or {max, delay, backoff, jitter}.",
        schema=RETRIES_SCHEMA,
        default=None,
    )
    timeout: float | None = key(
        "Seconds after which an attempt at a step is ended.", schema=TIMEOUT_SCHEMA, default=None
    )


def read_defaults(record: Record) -> Defaults:
    """The defaults of a catalog."""
    record.known(keys_of(Defaults))
    return Defaults(read_retries(record), read_timeout(record))


def read_retries(record: Record) -> Retries | None:
    """What stands under ``retries``, None where nothing does; a number alone is ``max``."""
    value = record.value.get("retries")
    if value is None:
        return None
    if type(value) is int and value >= 0:
        return Retries(value)
    if not isinstance(value, dict):
        fix = 'write a number, or {"max": 2, "delay": 5, "backoff": "exponential"}'
        record.report(("retries",), f"{value!r} is no number of retries", fix, "wrong-type")
        return None
    retries = record.record("retries")
    retries.known(keys_of(Retries))
    if "max" not in value:
        fix = 'write how many there may be: "max": 2'
        retries.report((), "max is missing", fix, "missing-key")
    return Retries(
        retries.whole("max", 0, what="number of retries"),
        retries.number("delay", 0.0, what="number of seconds"),
        retries.one_of("backoff", BACKOFFS),
        retries.one_of("jitter", JITTERS),
    )


def read_timeout(record: Record) -> float | None:
    """What stands under ``timeout``, in seconds; None where nothing does."""
    what = "number of seconds, such as 600"
    seconds = record.number("timeout", None, what=what, positive=True)
    return None if seconds is None or math.isinf(seconds) else seconds
