"""What a kernel is told before its first cell."""

from __future__ import annotations

# Run in the namespace of the notebook, and leaves no name there.
CODE = "__import__('dsml.step.begin', fromlist=['begin']).begin()"


def begin() -> None:
    """Have the kernel keep what it puts out until it is taken, however much that is.

    As it comes it drops all beyond a thousand messages: pictures, what is printed, even the word
    that a cell has ended.
    """
    import zmq
    from ipykernel.kernelapp import IPKernelApp

    thread = IPKernelApp.instance().iopub_thread
    thread.schedule(lambda: thread.socket.set(zmq.SNDHWM, 0))
