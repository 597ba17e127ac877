"""Sending the spans of a run to a collector, by the exporters of OpenTelemetry's own SDK.

The environment says where and how, as it does for every program that uses OpenTelemetry:
https://opentelemetry.io/docs/languages/sdk-configuration/otlp-exporter/
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from dsml.contract.problem import Problem, Where, suggest
from dsml.step.spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ENDPOINT)
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
# Seconds that the end of a run waits for a collector, unless the environment says so.
_TIMEOUT = 3.0
_BATCH = 512  # spans in a message; a collector takes 4 MiB by default
_HTTP, _GRPC = "http/protobuf", "grpc"


def is_configured() -> bool:
    """Whether the environment says that spans are to be sent somewhere."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporters = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").lower()
    return bool(_setting(_ENDPOINTS)) and not off and exporters != "none"


def send(spans: Sequence[Span]) -> Problem | None:
    """Send spans to the collector; what kept them from arriving, or None.

    It takes no longer than the environment allows, else 3 s.
    """
    outcome: list[str] = []
    limit = _limit()
    worker = threading.Thread(
        target=lambda: outcome.append(_told(lambda: _send(spans, limit))), daemon=True
    )
    worker.start()
    worker.join(limit)
    reason = outcome[0] if outcome else f"no answer within {limit:g} s"
    if not reason:
        return None
    user = urlsplit(_setting(_ENDPOINTS)).netloc.rpartition("@")[0]  # may hold a password
    what = f"the trace could not be sent to {_setting(_ENDPOINTS)}: {reason}"
    what = what.replace(f"{user}@", "") if user else what
    fix = "it is kept; send it later with: dsml trace RUN --send"
    return Problem(Where(ENDPOINT), what, fix, "not-sent", "warning")


def _setting(names: Iterable[str]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _limit() -> float:
    try:
        return float(_setting(_TIMEOUTS) or _TIMEOUT)
    except ValueError:
        return _TIMEOUT


def _told(work: Callable[[], str]) -> str:
    """What ``work`` says; what it raises as text: a run must not fail because of its trace."""
    try:
        return work()
    except ImportError as error:
        return f"{error}: install opentelemetry-exporter-otlp"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _send(spans: Sequence[Span], limit: float) -> str:
    """Send spans in batches; the reason why one of them did not arrive."""
    from opentelemetry.sdk.trace.export import SpanExportResult

    from dsml.evidence.replay import replayed

    deadline = time.monotonic() + limit
    protocol = _setting(_PROTOCOLS) or _HTTP
    if protocol not in (_HTTP, _GRPC):
        return f"there is no protocol '{protocol}': {suggest(protocol, (_HTTP, _GRPC))}"
    for first in range(0, len(spans), _BATCH):
        with _Complaints() as complaints:
            exporter = _exporter(protocol, max(deadline - time.monotonic(), 0.1))
            try:
                result = exporter.export(replayed(spans[first : first + _BATCH]))
            finally:
                exporter.shutdown()
        if result is not SpanExportResult.SUCCESS:
            return complaints.last or "it was refused"
    return ""


def _exporter(protocol: str, timeout: float) -> SpanExporter:
    """The exporter, which reads the other settings from the environment itself."""
    if protocol == _GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(timeout=timeout)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(timeout=timeout)


class _Complaints(logging.Handler):
    """Takes down what the exporters log, which is where they tell why something went wrong."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._logger = logging.getLogger("opentelemetry.exporter")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last one."""
        self.last = record.getMessage()

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._propagated, self._logger.propagate = self._logger.propagate, False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated
