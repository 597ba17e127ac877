"""Secrets are taken out of what a step leaves behind: ``***`` stands in their place.

It is done where things come in: in each message of a kernel, and in the record that the kernel
itself writes. Steps without parameters of the type ``Secret`` never get here.

A secret is found as it is, and as the usual ways of writing it: quoted as Python, JSON, HTML or an
address does it, in base64 and in hexadecimal, also as a part of a longer text.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
_LEAST_LINE = 8  # characters of a line of a secret that has several
_LEAST_ENCODED = 5  # characters of a part in base64; fewer are in other texts by chance
_COUNTS = ("execution_count",)  # keys of numbers that are none of the notebook's


class Redactor:
    """Takes secrets out of texts and out of what JSON can hold."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._forms)))
        self._bytes = re.compile(b"|".join(re.escape(form.encode()) for form in self._forms))

    def text(self, text: str) -> str:
        """A text without the secrets."""
        return self._pattern.sub(MASK, text)

    def clean(self, value: Any) -> Any:
        """The same of anything that JSON can hold, keys of mappings included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(key): item if key in _COUNTS else self.clean(item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.clean(item) for item in value]
        if isinstance(value, int | float) and self._pattern.fullmatch(str(value)):
            return MASK
        return value

    def file(self, path: Path) -> bool:
        """Take the secrets out of a file; whether there were any.

        In what is no text as many asterisks stand in their place as they had bytes, so that
        everything else stays where it was.
        """
        content = path.read_bytes()
        if not self._bytes.search(content):
            return False
        try:
            cleaned = self.text(content.decode()).encode()
        except UnicodeDecodeError:
            cleaned = self._bytes.sub(lambda found: b"*" * len(found[0]), content)
        path.write_bytes(cleaned)
        return True

    def begins(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a secret."""
        held = 0
        for form in self._forms:
            start = max(0, len(text) - len(form) + 1)
            while (start := text.find(form[0], start)) >= 0:
                if form.startswith(text[start:]):
                    held = max(held, len(text) - start)
                    break
                start += 1
        return held


class RedactedStream:
    """A text that comes in pieces, between which a secret may be divided."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the text so far can be passed on."""
        text = self._redactor.text(self._held + text)
        held = self._redactor.begins(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """What is left where nothing more comes."""
        held, self._held = self._held, ""
        return held


def redactor_of(secrets: Mapping[str, str]) -> Redactor | None:
    """What takes out the content of the variables that parameters name; None where there is none.

    Variables that are not set are passed over: whoever runs a step has looked for them before.
    """
    contents = {os.environ.get(variable, "").strip() for variable in secrets.values()} - {""}
    return Redactor(contents) if contents else None


def _forms(secret: str) -> Iterator[str]:
    """The ways in which a secret is written, and each line of one that has several."""
    lines = [line.strip() for line in secret.splitlines()]
    whole = [secret, *(line for line in lines if len(line) >= _LEAST_LINE and "-----" not in line)]
    for part in dict.fromkeys(whole):
        yield part
        yield from _escaped(part)
    yield from _encoded(secret.encode())


def _escaped(text: str) -> Iterator[str]:
    yield from (repr(text)[1:-1], ascii(text)[1:-1], repr(text.encode())[2:-1])
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    yield from (html.escape(text), html.escape(text, quote=False))
    for quoted in (quote(text), quote(text, safe=""), quote_plus(text)):
        yield quoted
        yield re.sub("%..", lambda found: found[0].lower(), quoted)


def _encoded(content: bytes) -> Iterator[str]:
    """In hexadecimal, and in base64: alone, and behind any number of other bytes."""
    yield from (content.hex(), content.hex().upper())
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + content).decode().rstrip("=")
        # the first and the last character may hold bits of something else, too
        inside = encoded[-(-8 * before // 6) : 8 * (before + len(content)) // 6]
        for part in (inside, *([encoded] if before == 0 else [])):
            if len(part) >= _LEAST_ENCODED:
                yield part
                yield part.replace("+", "-").replace("/", "_")
