"""The process that kernels are forked from: ``python -m`` this module, with modules to load.

It has one thread, and does nothing but load modules and fork. Its standard input is a socket that
keeps messages apart. A request is a JSON object with the descriptors for the kernel's output; the
answers tell the process id of a fork, and the status of one that has ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from dsml.step.quick_import import without

_LONGEST = 1 << 20  # bytes of a message
# What IPython's kernel imports when it starts. Without the debugger, which nobody can attach here.
_KERNEL = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "dsml",
    "dsml.step.finish",
    "dagster_pipes",
    "email.message",
    "http.client",
    "importlib.metadata",
    "pdb",
    "pydoc",
    "tornado.platform.asyncio",
    "unicodedata",
)


def serve(channel: socket.socket, modules: Sequence[str]) -> None:
    """Fork kernels until there is nobody left who could ask for one."""
    # a signal to the group of the run is the run's business; it closes the socket when it ends
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _load(modules)
    while True:
        ready, _, _ = select.select([channel.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _tell_ended(channel)
        if channel.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(channel, _LONGEST, 2)
            if not message:
                return
            request = json.loads(message)
            _fork(channel, (ended, wake), request, descriptors)


def _load(modules: Sequence[str]) -> None:
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    for name in (*_KERNEL, *modules):
        with contextlib.suppress(Exception):  # the notebook that needs it says what is wrong
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that forks share the memory


def _fork(
    channel: socket.socket,
    pipes: Sequence[int],
    request: Mapping[str, Any],
    descriptors: Sequence[int],
) -> None:
    try:
        pid = os.fork()
    except OSError:  # no memory; the kernel is started as any other, and says so
        pid = -1
    if pid == 0:
        os.close(channel.detach())
        for number, descriptor in enumerate(descriptors, start=1):
            os.dup2(descriptor, number)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for descriptor in (*pipes, *descriptors, null):
            os.close(descriptor)
        _become_kernel(request)
    for descriptor in descriptors:
        os.close(descriptor)
    _send(channel, {"id": request["id"], "pid": max(pid, 0)})


def _become_kernel(request: Mapping[str, Any]) -> NoReturn:
    """Go on as a kernel that has just been started."""
    from dsml.step.finish import leave

    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["env"])
        os.environ["JPY_PARENT_PID"] = str(os.getppid())
        sys.argv = ["ipykernel_launcher", *request["arguments"]]
        _seed()
        code = _run_kernel(request["arguments"])
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        leave(code)


def _seed() -> None:
    """Give each kernel random numbers of its own; Python does so for its own, NumPy does not."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def _run_kernel(arguments: Sequence[str]) -> int:
    from ipykernel.kernelapp import IPKernelApp

    app: Any = IPKernelApp.instance()
    app.parent_handle = os.getppid()  # with which the kernel ends, too
    with without("debugpy"):
        app.initialize(list(arguments))
    app.start()
    return 0


def _tell_ended(channel: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _send(channel, {"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _send(channel: socket.socket, told: Mapping[str, int]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more, and the loop ends
        channel.send(json.dumps(told).encode())


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder that this process was started in, of no use to a kernel
    with socket.socket(fileno=os.dup(0)) as _channel:
        serve(_channel, sys.argv[1:])
    os._exit(0)  # taking all those modules apart takes time, and there is nothing to save
