"""Retries, as Dagster knows them."""

from __future__ import annotations

from dagster import Backoff, Jitter, RetryPolicy

from dsml.contract.policies import Retries

_BACKOFFS = {"constant": None, "linear": Backoff.LINEAR, "exponential": Backoff.EXPONENTIAL}
_JITTERS = {"none": None, "full": Jitter.FULL, "plus_minus": Jitter.PLUS_MINUS}


def retry_policy(retries: Retries | None) -> RetryPolicy | None:
    """The policy of a step, None where it is tried once."""
    if retries is None or not retries.max:
        return None
    return RetryPolicy(
        max_retries=retries.max,
        delay=retries.delay,
        backoff=_BACKOFFS[retries.backoff],
        jitter=_JITTERS[retries.jitter],
    )
