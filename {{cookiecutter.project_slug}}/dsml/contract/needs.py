"""What a step needs of the machine that it runs on: processors, memory, graphics processors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsml.contract.declared import Record, key, keys_of
from dsml.contract.storage import SIZE, bytes_of


@dataclass(frozen=True)
class Needs:
    """``cpu`` in cores, which may be a part of one; ``memory`` in bytes. None: nothing is said."""

    cpu: float | None = key("How many cores: 2, or 0.5.", default=None)
    memory: int | None = key("How much memory: 4 GB, or 4 Gi.", default=None)
    gpu: int | None = key("How many graphics processors.", default=None)

    def __bool__(self) -> bool:
        """Whether anything is said."""
        return any(value is not None for value in (self.cpu, self.memory, self.gpu))


_VALUES: Mapping[str, Mapping[str, Any]] = {
    "cpu": {"type": "number", "exclusiveMinimum": 0},
    "memory": {"type": "string", "pattern": f"^{SIZE}$"},
    "gpu": {"type": "integer", "minimum": 0},
}
NEEDS_SCHEMA: Mapping[str, Any] = {
    "type": ["object", "null"],
    "properties": {
        name: {"description": about, **_VALUES[name]} for name, about in keys_of(Needs).items()
    },
    "additionalProperties": False,
}


def read_needs(record: Record) -> Needs:
    """What a step needs of a machine."""
    record.known(keys_of(Needs))
    cpu = record.number("cpu", None, what="number of cores, such as 2", positive=True)
    gpu = record.whole("gpu", None, what="number of graphics processors")
    text = record.text("memory")
    memory = bytes_of(text) or None
    if memory is None and text:
        fix = 'write a number and a unit: "4 GB", "500 MB", "4 Gi"'
        record.report(("memory",), f"{text!r} is no size", fix, "no-size")
    return Needs(cpu, memory, gpu)
