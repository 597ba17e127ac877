"""Fingerprints: of the code of a step, and of all that its outcome depends on.

Content decides and not time: a file that is saved again as it was, or moved to another machine,
changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dsml.contract.cells import OP_PARAMETERS, PARAMETERS, Notebook
from dsml.contract.literals import Json
from dsml.contract.modules import Modules
from dsml.contract.normal_form import normal_form

# The tags that change what a run does: the last two tell nbclient to run a cell in another way.
_TAGS = (OP_PARAMETERS, PARAMETERS, "raises-exception", "skip-execution")


@dataclass(frozen=True)
class Code:
    """The code of a step, as it was when the step was read.

    ``parts`` are a label and a source each: the code cells of a notebook with their tags, or the
    text of a Python file. ``modules`` are those of the project, None where there is no project to
    import from; ``folder`` is the one that the code runs in.
    """

    parts: tuple[tuple[str, str], ...] = ()
    modules: Modules | None = field(default=None, repr=False, compare=False)
    folder: Path = field(default=Path(), repr=False, compare=False)

    @classmethod
    def of_notebook(cls, notebook: Notebook, modules: Modules | None) -> Code:
        """The code of a notebook that lies in the project of ``modules``."""
        cells = ((_label(cell.tags), cell.source) for cell in notebook.code)
        return cls._at(notebook.path, tuple(cells), modules)

    @classmethod
    def of_file(cls, path: str, text: str, modules: Modules | None) -> Code:
        """The code of a Python file; ``path`` is relative to the project."""
        return cls._at(path, (("", text),), modules)

    @classmethod
    def _at(cls, path: str, parts: tuple[tuple[str, str], ...], modules: Modules | None) -> Code:
        return cls(parts, modules, (modules.root / path).parent if modules else Path())

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the code and of the project's modules that it imports, in hexadecimal.

        Found out when it is asked for first; comments and blank lines don't change it.
        """
        digest = hashlib.sha256()
        for label, text in self._texts:
            if label or text:
                content = text.encode("utf-8", "surrogatepass")
                digest.update(f"{label}\n{len(content)}\n".encode() + content)
        return digest.hexdigest()

    def mentions(self, words: Iterable[str]) -> bool:
        """Whether one of the words is in the code, or in the modules that it imports."""
        words = tuple(words)
        return any(word in text for _, text in self._texts for word in words)

    @cached_property
    def _texts(self) -> tuple[tuple[str, str], ...]:
        found = [(label, normal_form(source)) for label, source in self.parts]
        if self.modules is not None:
            sources = (source for _, source in self.parts)
            imported = self.modules.imported_by(sources, self.folder)
            found += [(f"import {module.name}", module.source.normal_form) for module in imported]
        return tuple(found)


def _label(tags: frozenset[str]) -> str:
    return " ".join(tag for tag in _TAGS if tag in tags) if tags else ""


def fingerprint(
    code: str,
    parameters: Mapping[str, Json],
    inputs: Mapping[str, str | Mapping[str, str]],
    outs: Mapping[str, str],
    optional: Iterable[str] = (),
) -> str:
    """What a step's outcome depends on, as a sha256 in hexadecimal: equal means unchanged.

    ``code`` is ``StepSpec.code``. ``inputs`` holds the sha256 of each in, or of each instance by
    key where several are read as one. ``outs`` are the declared ones, name → file name, those in
    ``optional`` need not be written. 1, 1.0 and True are three different values of a parameter.
    """
    parts = {
        "code": code,
        "parameters": dict(parameters),
        "inputs": {
            name: found if isinstance(found, str) else dict(found) for name, found in inputs.items()
        },
        "outs": dict(outs),
        "optional": sorted(optional),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
