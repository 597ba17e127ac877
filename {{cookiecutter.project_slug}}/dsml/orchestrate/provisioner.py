"""The kernels of the runner, as Jupyter knows them: how they are started.

To Jupyter a way of starting kernels is a provisioner
(https://jupyter-client.readthedocs.io/en/stable/provisioning.html); the rest of a kernel's life is
Jupyter's own.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from dsml.orchestrate.warm import warm_process

_NAME = "dsml-warm"
_LAUNCHER = ["-m", "ipykernel_launcher"]
# For kernels with secrets. IPython sends what processes print that a cell has started, and copies
# it to where the kernel itself was told to print: into the log of the run, where nobody looks
# through it.
UNHEARD = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class WarmProvisioner(LocalProvisioner):
    """Provides kernels that are forked, where there is a process to fork from."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start a kernel, as its parent class does."""
        warm, env = warm_process(), kwargs.get("env")
        kernel = None
        if warm is not None and env is not None and cmd[1:3] == _LAUNCHER:
            folder = str(kwargs.get("cwd") or Path.cwd())
            kernel = warm.start(cmd[3:], env, folder, unheard=UNHEARD.items() <= kwargs.items())
        if kernel is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process = cast("Any", kernel)  # it has the methods of Popen that are called
        self.pid = self.pgid = kernel.pid
        return self.connection_info


class ThisInterpreter(KernelSpecManager):
    """Knows one kernel, that of this interpreter, whatever is installed on the machine."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002 - there is one
        """Give the kernel, whatever its name."""
        return _kernel_spec()


@functools.cache
def _kernel_spec() -> KernelSpec:
    """An IPython kernel of this interpreter, forked where that can be."""
    point = EntryPoint(_NAME, f"{__name__}:{WarmProvisioner.__name__}", "")
    KernelProvisionerFactory.instance().provisioners[_NAME] = point
    return KernelSpec(
        argv=[sys.executable, *_LAUNCHER, "-f", "{connection_file}"],
        display_name="Python 3",
        language="python",
        metadata={"kernel_provisioner": {"provisioner_name": _NAME}},
    )
