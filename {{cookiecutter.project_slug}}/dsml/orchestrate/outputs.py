"""How much of what a notebook puts out is kept in the notebook, and what is told of the rest.

A cell that never stops to print, or to draw, would make a notebook that no browser opens, and whose
saving holds up the other steps. Of each cell the first and the last outputs are kept; a notice
between the two tells how much is missing. What is printed is whole in the log file.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode

ERROR_LIMIT = 10_000  # characters of the message of an exception, and of a line of its traceback
_BEFORE, _NOTICE, _AFTER = range(3)  # of what came at the same place in the order
_NEAR = 1000  # characters within which a line has to end for the rest to begin with the next


@dataclass(frozen=True)
class Limits:
    """How much of a cell is kept; half of each is for what comes first, half for what comes last.

    ``text`` is in characters of what is printed, ``count`` the number of other outputs (pictures,
    tables, results), ``size`` what these hold, in characters.
    """

    text: int = 1_000_000
    count: int = 200
    size: int = 32_000_000


CELL = Limits()
# What all cells together may hold, in characters, ...
NOTEBOOK = 100_000_000
# ... and what is kept of each cell after that.
LATER_CELL = Limits(text=10_000, count=2, size=320_000)


class _Ends:
    """The first and the last of what comes; ``rank`` says where in the order something came."""

    def __init__(self) -> None:
        self.first: list[tuple[int, Any]] = []
        self.last: deque[tuple[int, Any]] = deque()
        self.left_out = 0
        self.first_size = self.last_size = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        yield from self.first
        yield from self.last


class CellOutputs:
    """The outputs of one cell while it runs."""

    def __init__(self, limits: Limits = CELL) -> None:
        self._limits = limits
        self.clear()

    def clear(self) -> None:
        """Forget all that there was, as ``clear_output`` asks for."""
        self._rank = 0
        self._stream = ""
        self._text = _Ends()
        self._others = _Ends()
        self._others_left_out = 0

    @property
    def size(self) -> int:
        """How much is kept, in characters."""
        kept = (self._text, self._others)
        return sum(each.first_size + each.last_size for each in kept)

    def print(self, name: str, text: str) -> None:
        """Take what was printed to the stream of this name."""
        if name != self._stream:  # else it goes on where the last of it ended
            self._rank += 1
            self._stream = name
        ends, room = self._text, self._limits.text // 2
        begin = text[: room - ends.first_size]
        if begin:
            ends.first.append((self._rank, (name, begin)))
            ends.first_size += len(begin)
        rest = text[len(begin) :]
        if rest:
            ends.last.append((self._rank, (name, rest)))
            ends.last_size += len(rest)
            self._drop_text(ends, ends.last_size - room)

    @staticmethod
    def _drop_text(ends: _Ends, surplus: int) -> None:
        while surplus > 0:
            rank, (name, oldest) = ends.last.popleft()
            dropped = min(surplus, len(oldest))
            if dropped < len(oldest):
                ends.last.appendleft((rank, (name, oldest[dropped:])))
            ends.last_size -= dropped
            ends.left_out += dropped
            surplus -= dropped

    def add(self, output: NotebookNode) -> None:
        """Take an output that is not printed text: it is cut where it alone is too much."""
        self._rank += 1
        self._stream = ""
        cut(output, self._limits)
        ends, size = self._others, _size(output)
        count, room = self._limits.count // 2, self._limits.size // 2
        fits = len(ends.first) < count and ends.first_size + size <= room
        if fits and not ends.last:
            ends.first.append((self._rank, output))
            ends.first_size += size
            return
        ends.last.append((self._rank, output))
        ends.last_size += size
        while len(ends.last) > max(count, 1) or (len(ends.last) > 1 and ends.last_size > room):
            dropped = _size(ends.last.popleft()[1])
            ends.last_size -= dropped
            ends.left_out += dropped
            self._others_left_out += 1

    def outputs(self) -> list[NotebookNode]:
        """What is kept as it stands now, in the order in which it came, and what is told of it."""
        found = [((rank, _AFTER), node) for rank, node in self._others]
        found += _joined(self._text)
        notices = [(self._text, self._text_notice()), (self._others, self._others_notice())]
        found += [((ends.last[0][0], _NOTICE), notice) for ends, notice in notices if ends.left_out]
        return [node for _, node in sorted(found, key=lambda one: one[0])]

    def _text_notice(self) -> NotebookNode:
        half = self._limits.text // 2
        return _notice(
            f"{self._text.left_out:,} characters are left out here: of what a cell prints the "
            f"notebook keeps the first and the last {half:,}. All of it is in log.txt"
        )

    def _others_notice(self) -> NotebookNode:
        limits = self._limits
        return _notice(
            f"{self._others_left_out:,} outputs ({self._others.left_out / 1e6:,.1f} MB) are left "
            f"out here: of those of a cell the notebook keeps the first and the last "
            f"{limits.count // 2:,}, and {limits.size / 1e6:,.0f} MB of them"
        )


def _notice(text: str) -> NotebookNode:
    return _printed("stderr", f"\n… {text} …\n")


def _printed(stream: str, text: str) -> NotebookNode:
    """An output; nbformat's own function would look for mistakes in all that it holds."""
    return NotebookNode(output_type="stream", name=stream, text=text)


def _joined(text: _Ends) -> Iterable[tuple[tuple[int, int], NotebookNode]]:
    """One output for each stretch of text; where some is left out, it goes on with a new line."""
    stretches: dict[tuple[int, int], tuple[str, list[str]]] = {}
    for chunks, part in ((text.first, _BEFORE), (text.last, _AFTER)):
        for rank, (name, chunk) in chunks:
            key = (rank, part if text.left_out else _BEFORE)
            stretches.setdefault(key, (name, []))[1].append(chunk)
    is_cut = text.left_out > 0
    for key, (name, parts) in stretches.items():
        joined = "".join(parts)
        if is_cut and key[1] == _AFTER:
            joined, is_cut = joined[joined.find("\n", 0, _NEAR) + 1 :], False
        yield key, _printed(name, joined)


def _size(output: NotebookNode) -> int:
    """How much an output holds, in characters."""
    return sum(_length(value) for value in output.get("data", {}).values()) or _length(
        output.get("traceback", "")
    )


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(json.dumps(value, default=str))


def cut(output: NotebookNode, limits: Limits = CELL) -> None:
    """Shorten what a single output holds: a text that is too long, or all forms of what is."""
    if output.output_type == "error":
        output.evalue = short(output.evalue)
        output.traceback = [short(line) for line in output.traceback]
        return
    data = output.get("data", {})
    if isinstance(data.get("text/plain"), str):
        data["text/plain"] = short(data["text/plain"], limits.text)
    size = _size(output)
    if size > limits.size:
        plain = data.get("text/plain", "")
        told = f"… an output of {size / 1e6:,.1f} MB is left out here; this is kept of it: …"
        output.data = NotebookNode({"text/plain": f"{told}\n{plain}"})
        output.metadata = NotebookNode()


def short(text: str, limit: int = ERROR_LIMIT) -> str:
    """A text, or its beginning and its end with a notice between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return (
        f"{text[:half]}\n… {len(text) - 2 * half:,} characters are left out here …\n{text[-half:]}"
    )
