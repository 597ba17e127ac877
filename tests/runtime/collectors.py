"""Collectors: servers that take spans by OTLP, over HTTP and over gRPC, and keep them."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass
class Collector:
    """What has come in at an address; ``delay`` is how long it waits with an answer, in s."""

    address: str = ""
    delay: float = 0.0
    status: int = 200
    requests: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> dict[str, Any]:
        """The spans by their names."""
        return {
            span.name: span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def services(self) -> set[str]:
        """The names of the services that the spans are of."""
        return {
            item.value.string_value
            for request in self.requests
            for resource in request.resource_spans
            for item in resource.resource.attributes
            if item.key == "service.name"
        }

    def take(self, content: bytes) -> bytes:
        """Take a message; what is answered."""
        time.sleep(self.delay)
        self.requests.append(trace_service_pb2.ExportTraceServiceRequest.FromString(content))
        return trace_service_pb2.ExportTraceServiceResponse().SerializeToString()


@contextmanager
def http_collector() -> Iterator[Collector]:
    """A collector that takes protobuf over HTTP, at ``/v1/traces`` as the specification says."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            known = self.path == "/v1/traces"
            is_protobuf = self.headers["Content-Type"] == "application/x-protobuf"
            answer = collector.take(content) if known and is_protobuf else b""
            collector.headers.append({k.lower(): v for k, v in self.headers.items()})
            with contextlib.suppress(BrokenPipeError):  # it was not waited for
                self.send_response(collector.status if known and is_protobuf else 404)
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    collector.address = f"http://127.0.0.1:{server.server_port}"
    yield collector
    server.shutdown()
    server.server_close()


@contextmanager
def grpc_collector() -> Iterator[Collector]:
    """A collector that takes spans over gRPC."""
    collector = Collector()

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the name in the protocol
            collector.headers.append(dict(context.invocation_metadata()))
            collector.take(request.SerializeToString())
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    collector.address = f"http://127.0.0.1:{port}"
    yield collector
    server.stop(None).wait()
