"""A proxy in front of a storage that fails at the calls that it is told to fail at."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
# The call never arrives; its answer is lost half-way; the storage is busy; it takes too long.
_METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT")
FAULTS = ("cut", "half", "busy", "slow")


class Proxy:
    """Passes calls on; `fault` says for the number of each, from 1, what goes wrong with it.

    `before` is called before each call is passed on, with its number. `calls` has what was asked.
    """

    def __init__(self, target: str, delay: float) -> None:
        self.target = urlsplit(target)
        self.delay = delay
        self.fault: Callable[[int], str] = lambda _: ""
        self.before: Callable[[int], None] = lambda _: None
        self.calls: list[str] = []
        self.moments: list[float] = []
        self._lock = threading.Lock()
        methods = {f"do_{name}": _Handler.pass_on for name in _METHODS}
        handler = type("Handler", (_Handler,), {"proxy": self, **methods})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reset(self, fault: Callable[[int], str]) -> None:
        """Count from 1 again."""
        self.calls, self.moments, self.fault = [], [], fault

    def take(self, call: str) -> str:
        """Note a call; what goes wrong with it."""
        with self._lock:
            self.calls.append(call)
            self.moments.append(time.monotonic())
            number = len(self.calls)
        self.before(number)
        return self.fault(number)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def pass_on(self) -> None:
        """Answer a call, or fail."""
        fault = self.proxy.take(f"{self.command} {self.path}")
        if fault == "cut":
            self.close_connection = True
            return
        body = self._body()
        if fault == "busy":
            self._answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
            return
        status, headers, content = self._ask(body)
        if fault == "slow":
            time.sleep(self.proxy.delay)
        if fault == "half":
            self.close_connection = True
            if len(content) < 2:
                return
            self._answer(status, headers, content, len(content) // 2)
            return
        self._answer(status, headers, content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        target = self.proxy.target
        connection = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
        dropped = {"transfer-encoding", "content-length", "connection", "expect"}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        headers["Content-Length"] = str(len(body))
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in dropped}
        if self.command == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length") or "0"
        connection.close()
        return answer.status, kept, content

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, sent: int | None = None
    ) -> None:
        try:
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:sent])
        except OSError:
            self.close_connection = True  # who asked has not waited for so long

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base
        """Say nothing."""
