"""The normal form of code: what is left of it when all that only people read is taken out.

Comments, blank lines and white space at the ends of lines are taken out, unless they stand in a
string or belong to a magic. All else stays as it is, so that two sources with the same normal form
do the same. Code that cannot be read keeps every character.
"""

from __future__ import annotations

import contextlib
import io
import re
import token as tokens
import tokenize
from collections.abc import Iterator

from dsml.contract.source import is_python, without_magics

_CELL_MAGIC = "%%"
# Cell magics below which Python stands.
_PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%memit")
_SPACE = " \t\f"
# Stands for a line end within a string or a continued line, and marks what could not be read.
# Python and Jupyter refuse the character itself.
_KEPT = "\0"
_Place = tuple[int, int]  # line and column

# It begins with a set of characters, so that all others are passed over quickly.
_PYTHON_PIECE = r"""
    ["'\#\\?$`!\0]
    (?: (?<=\#) (?P<comment> [^\n]* )
      | (?P<text>
            (?<=") "" [^"\\]*+ (?: (?: \\. | "(?!"") ) [^"\\]*+ )*+ \"{3}
          | (?<=') '' [^'\\]*+ (?: (?: \\. | '(?!'') ) [^'\\]*+ )*+ '{3}
          | (?<=") (?!"") [^"\\\n]*+ (?: \\. [^"\\\n]*+ )*+ "
          | (?<=') (?!'') [^'\\\n]*+ (?: \\. [^'\\\n]*+ )*+ '
        )
      | (?<=\\) (?P<joined> \n (?! [ \t\f]* [\#\n] ) )
      | (?<=!) =
      | (?P<odd>)
    )
"""
_MAGIC = r"""
    (?P<magic>
        ^[ \t]* [\w.*]+ \?{1,2} [ \t]*$
      | (?: ^[ \t]* [%!?,;/] | (?<= =) [ \t]* [%!] ) (?: [^\\\n] | \\. )*+
    )
"""
_FLAGS = re.DOTALL | re.MULTILINE | re.VERBOSE
_PYTHON = re.compile(_PYTHON_PIECE, _FLAGS)
_NOTEBOOK = re.compile(f"{_MAGIC} | {_PYTHON_PIECE}", _FLAGS)
# Where a magic may begin; in Python an operator stands there only within brackets.
_MAYBE_MAGIC = re.compile(r"\n[ \t]*[%,;/]|=[ \t]*%")
_F_PREFIX = re.compile(r"(?:[ft]r?|r[ft])\Z", re.IGNORECASE)
# An f-string that ends where it would end if it were none: from Python 3.12 on the braces of one
# can hold any string.
_PLAIN_F = re.compile(
    r"""(?: [^{}\\] | \\[^{}] | \{\{ | \}\}
          | \{ (?: [^"'\\{}\#] | "[^"\\{}\#]*" | '[^'\\{}\#]*' )*+ \}
        )*+""",
    re.DOTALL | re.VERBOSE,
)


def normal_form(source: str) -> str:
    """The normal form of a cell or of a module. It is for comparing, and not for running."""
    first, _, rest = source.lstrip().partition("\n")
    if not first.startswith(_CELL_MAGIC):
        return _of_lines(source)
    if first.split()[0] not in _PYTHON_CELLS:
        return _KEPT + source
    return f"{first.rstrip()}\n{_of_lines(rest)}"


def _of_lines(source: str) -> str:
    if "\r" in source:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    if "#" in source or '"""' in source or "'''" in source or "\\\n" in source:
        try:
            source = _without_comments(source)
        except _Odd:
            return _KEPT + source
    return "\n".join(filter(None, [line.rstrip(_SPACE) for line in source.split("\n")]))


class _Odd(Exception):
    """Here is something that the pattern for Python doesn't know."""


def _without_comments(source: str) -> str:
    """Take the comments out, and set a mark for the line ends that mean something.

    Raises:
        _Odd: it cannot be told for certain what is a comment.
    """
    if not _MAYBE_MAGIC.search(f"\n{source}"):
        with contextlib.suppress(_Odd):
            return "".join(_cut(_PYTHON, source, 0, len(source)))
    if is_python(source):
        return "".join(_between_strings(_PYTHON, source, source))
    try:
        return "".join(_cut(_NOTEBOOK, source, 0, len(source)))
    except _Odd:
        return "".join(_between_strings(_NOTEBOOK, source, without_magics(source)))


def _cut(pattern: re.Pattern[str], source: str, begin: int, end: int) -> Iterator[str]:
    """What is left of a part of a source."""
    for found in pattern.finditer(source, begin, end):
        yield source[begin : found.start()]
        begin = found.end()
        if found.lastgroup == "odd" or (found.lastgroup == "text" and not _ends_there(found)):
            raise _Odd
        if found.lastgroup != "comment":
            yield _kept(found[0])
    yield source[begin:end]


def _kept(piece: str) -> str:
    return piece.replace("\n", _KEPT)


def _ends_there(found: re.Match[str]) -> bool:
    """Whether a string ends with the text that was found."""
    piece, begin = found[0], found.start()
    if "{" not in piece or not _F_PREFIX.search(found.string, max(0, begin - 2), begin):
        return True
    return _PLAIN_F.fullmatch(piece, 1, len(piece) - 1) is not None


def _between_strings(pattern: re.Pattern[str], source: str, python: str) -> Iterator[str]:
    """What is left of a source whose strings only Python can tell from the rest.

    ``python`` is the source without its magics, line by line the same otherwise.
    """
    if not is_python(python):
        raise _Odd
    starts = [0]
    for line in source.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    done = 0
    for first, last in _strings(python):
        begin, end = (starts[line - 1] + column for line, column in (first, last))
        yield from _cut(pattern, source, done, begin)
        yield _kept(source[begin:end])
        done = end
    yield from _cut(pattern, source, done, len(source))


def _strings(source: str) -> Iterator[tuple[_Place, _Place]]:
    """Where the strings of a Python source begin and end; strings within f-strings are theirs."""
    depth, begin = 0, (0, 0)
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind = tokens.tok_name[token.type]
            opens, closes = kind.endswith("STRING_START"), kind.endswith("STRING_END")
            if depth == 0 and (opens or kind == "STRING"):
                begin = token.start
            depth += opens - closes
            if depth == 0 and (closes or kind == "STRING"):
                yield begin, token.end
    except (tokenize.TokenError, SyntaxError):  # Python reads it, and its tokenizer doesn't
        raise _Odd from None
