"""The line to a kernel: what it is asked, and what comes back from a cell while it runs.

nbclient executes cells. It takes one message at a time and keeps each as an output of its own;
this module takes them as fast as a kernel can send them, loses none, and keeps of them what
``outputs`` says. What it leans on of nbclient is tested in ``tests/runtime/test_storms.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.client import KernelClient
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbformat import NotebookNode

from dsml.orchestrate.outputs import CELL, LATER_CELL, NOTEBOOK, CellOutputs, cut
from dsml.orchestrate.provisioner import ThisInterpreter
from dsml.orchestrate.saved import Saved
from dsml.step import begin
from dsml.step.redact import RedactedStream, Redactor

_IOPUB_TIMEOUT = 0.2  # seconds until a channel is taken not to be connected yet
_START_TIMEOUT = 60  # seconds until a kernel has to answer
_LAG = 600  # seconds for which output may still come of a cell that has ended: that of a storm
_IN_A_ROW = 0.02  # seconds for which messages are taken before anything else gets its turn
# Keys of the content of messages below which a notebook writes what it likes.
_FREE = ("text", "data", "metadata", "ename", "evalue", "traceback", "payload")
_RICH = ("display_data", "execute_result", "error")


class Client(NotebookClient):
    """Executes the cells of a notebook; what they print goes into ``lines`` as it comes."""

    def __init__(
        self,
        notebook: NotebookNode,
        saved: Saved,
        lines: queue.SimpleQueue[str],
        manager: AsyncKernelManager,
        redactor: Redactor | None,
    ) -> None:
        super().__init__(
            notebook,
            km=manager,
            timeout=None,
            startup_timeout=_START_TIMEOUT,
            iopub_timeout=_LAG,
            record_timing=True,
        )
        self._saved = saved
        self._lines = lines
        self._index = 0
        self._asked = ""
        self._outputs: CellOutputs | None = None
        self.is_new = False  # whether something has come since the outputs were settled
        self._kept = 0
        self._clear_next = False
        self._displays: dict[str, list[tuple[int, NotebookNode]]] = defaultdict(list)
        self._printed = None if redactor is None else _Printed(redactor)

    def settle(self) -> None:
        """Put what is kept of the output of the cell that runs into the notebook."""
        if self._outputs is not None and self.is_new:
            self.nb.cells[self._index].outputs = self._outputs.outputs()
            self._saved.changed(self._index)
            self.is_new = False

    def end_cell(self, seconds: float) -> None:
        """Settle the outputs of a cell that is over.

        Where its kernel ended in the middle of it, that takes up to so many ``seconds``: what has
        come until then is taken.
        """
        if self._asked:
            with contextlib.suppress(CellExecutionComplete, zmq.ZMQError):
                self._take_until(time.monotonic() + seconds)
        self.is_new = True  # what nbclient itself notes of the cell is
        self.settle()
        self._kept += self._outputs.size if self._outputs else 0
        self._outputs = None

    async def _async_poll_output_msg(
        self,
        parent_msg_id: str,
        cell: NotebookNode,  # noqa: ARG002 - the one at the index
        cell_index: int,
    ) -> None:
        """Take what comes from a cell until it is over; here nbclient waits for each message."""
        self._index, self._asked = cell_index, parent_msg_id
        self._outputs = CellOutputs(CELL if self._kept < NOTEBOOK else LATER_CELL)
        self._clear_next, self.is_new = False, True
        with contextlib.suppress(CellExecutionComplete):
            while True:
                self._take_until(time.monotonic() + _IN_A_ROW)
                await asyncio.sleep(0)
                await self._channels.iopub_channel.socket.poll()
        self._asked = ""

    def _take_until(self, deadline: float) -> None:
        """Take the messages that are there, until the deadline."""
        kernel = self._channels
        socket: zmq.Socket[bytes] = zmq.Socket.shadow(kernel.iopub_channel.socket.underlying)
        while time.monotonic() < deadline:
            _, message = kernel.session.recv(socket)
            if message is None:
                return
            for each in [message] if self._printed is None else self._printed.passed(message):
                self._take(each)

    @property
    def _channels(self) -> KernelClient:
        if self.kc is None:
            raise RuntimeError("no kernel is connected")
        return self.kc

    def _take(self, message: dict[str, Any]) -> None:
        self.is_new = True
        if message["msg_type"] == "stream":
            self._lines.put(message["content"]["text"])
        if message["parent_header"].get("msg_id") == self._asked:
            self.process_message(message, self.nb.cells[self._index], self._index)

    def output(self, outs: Any, msg: Any, display_id: Any, cell_index: Any) -> None:
        """Take an output of the cell that is running."""
        if self.output_hook_stack[msg["parent_header"].get("msg_id")]:  # a widget shows it
            super().output(outs, msg, display_id, cell_index)
            return
        kept = self._outputs
        if kept is None or msg["msg_type"] not in ("stream", *_RICH):
            return
        if self._clear_next:
            kept.clear()
            self._clear_next = False
        content = msg["content"]
        if msg["msg_type"] == "stream":
            kept.print(content["name"], content["text"])
            return
        node = _node(msg["msg_type"], content)
        kept.add(node)
        if display_id:
            self._displays[display_id].append((cell_index, node))

    def clear_output(self, outs: Any, msg: Any, cell_index: Any) -> None:
        """Clear the outputs of the cell, at once or when the next one comes."""
        if self.output_hook_stack[msg["parent_header"].get("msg_id")]:
            super().clear_output(outs, msg, cell_index)
        elif msg["content"].get("wait"):
            self._clear_next = True
        elif self._outputs is not None:
            self._outputs.clear()

    def _update_display_id(self, display_id: str, msg: Any) -> None:
        """Show something else in all the places where an output with this name is shown."""
        for index, shown in self._displays.get(display_id, ()):
            node = _node("display_data", msg["content"])
            cut(node)
            shown.data, shown.metadata = node.data, node.metadata
            self._saved.changed(index)


class _Printed:
    """Takes out secrets that were printed in pieces; each alone has gone through ``_unpack``."""

    def __init__(self, redactor: Redactor) -> None:
        self._stream = RedactedStream(redactor)
        self._last: dict[str, Any] = {}

    def passed(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The message, and before it what was held back of those to another stream."""
        last, is_printed = self._last, message["msg_type"] == "stream"
        if last and not (is_printed and last["content"]["name"] == message["content"]["name"]):
            self._last = {}
            yield from self._with(last, self._stream.rest())
        if is_printed:
            self._last = message
            yield from self._with(message, self._stream.feed(message["content"]["text"]))
        else:
            yield message

    @staticmethod
    def _with(message: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
        if text:
            yield {**message, "content": {**message["content"], "text": text}}


def _node(kind: str, content: Mapping[str, Any]) -> NotebookNode:
    """An output; nbformat's own function looks for mistakes in all that it holds, which takes long.

    Every type has these keys, and ``transient`` is not for notebooks.
    """
    found = {key: value for key, value in content.items() if key != "transient"}
    node: NotebookNode = nbformat.from_dict({**found, "output_type": kind})
    return node


class _Channels(AsyncKernelClient):
    """The channels to a kernel."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers on all channels.

        Jupyter's own way is to wait until nothing has come for a fifth of a second. Here the answer
        to a question is waited for: when the kernel has said on one channel that it is idle again,
        after it has answered on the other, nothing more is under way.

        Raises:
            RuntimeError: the kernel died, or didn't answer within ``timeout`` seconds.
        """
        deadline = time.monotonic() + (_START_TIMEOUT if timeout is None else timeout)
        while True:
            if await self._has_answered(self.kernel_info()):
                self.execute(begin.CODE, silent=True, allow_stdin=False)
                return
            if not await self.is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout} seconds")

    async def _has_answered(self, question: str) -> bool:
        """Whether the kernel answers a question; the first ones may come too early for it."""
        with contextlib.suppress(queue.Empty):
            answer = await self.get_shell_msg(timeout=1)
            while answer["parent_header"].get("msg_id") != question:
                answer = await self.get_shell_msg(timeout=1)
            while True:
                told = await self.get_iopub_msg(timeout=_IOPUB_TIMEOUT)
                is_idle = told["content"].get("execution_state") == "idle"
                if is_idle and told["parent_header"].get("msg_id") == question:
                    return True
        return False


def _unpack(part: bytes) -> Any:
    """Read a part of a message; the date of a header is read as what it is.

    Jupyter leaves dates to a parser that knows all the ways in which people write them, and spends
    more time on those of a message than on everything else in it.
    """
    found = json.loads(part)
    if isinstance(found, dict) and "msg_id" in found:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            found["date"] = datetime.fromisoformat(found["date"])
    return found


def _unpack_redacted(redactor: Redactor, part: bytes) -> Any:
    """Read a part of a message, without the secrets: nothing behind this has ever seen them."""
    found = _unpack(part)
    if isinstance(found, dict) and "msg_id" not in found:
        found.update({key: redactor.clean(found[key]) for key in _FREE if key in found})
    return found


def kernel_manager(connection_file: Path, redactor: Redactor | None = None) -> AsyncKernelManager:
    """A manager of an IPython kernel of this interpreter.

    On Linux the kernel listens on abstract sockets: no ports that another kernel could take in
    between, no files that have to be removed. Messages are signed with the connection's key.
    """
    manager = AsyncKernelManager(
        connection_file=str(connection_file),
        kernel_spec_manager=ThisInterpreter(),
        client_factory=_Channels,
    )
    manager.session.unpack = _unpack if redactor is None else partial(_unpack_redacted, redactor)
    manager.context.rcvhwm = 0  # nothing is dropped here either; see dsml.step.begin
    if sys.platform == "linux":
        manager.transport = "ipc"
        manager.ip = f"@dsml-{uuid.uuid4().hex}"
    return manager
