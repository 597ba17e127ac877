"""String literals that had better not stand in code: paths of one machine, and secrets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from dsml.contract.source import last_name, parse

# --- paths

_PATH_STARTS = ('"/', "'/", '"~', "'~", ":/", ":\\", '"\\\\', "'\\\\")
_QUOTED_PATH = re.compile(r"""["'](?:[/~]|[A-Za-z]:[\\/]|\\\\)""")
_LONGEST_PATH = 300  # characters; what is longer is a text

_WINDOWS = re.compile(r"[A-Za-z]:[\\/](?:[\w. $~%-]|$)|\\\\[\w.$-]+\\[\w$]")
# Where the files of people and machines are. `/data/x` may be a route of a web service as well.
_KNOWN_ROOT = re.compile(
    r"/(?:home|Users|root|mnt|Volumes|tmp|var|opt|srv|usr|etc|private/var|scratch|dbfs|kaggle"
    r"|workspaces?|content/(?:drive|sample_data))/|/(?:tmp|root)$|~[\w-]*/"
)
_ANY_ROOT = re.compile(r"/(?!/|dev/|proc/|sys/)[\w. ~-]+(?:/|$)")
_FILE_CALL = re.compile(
    r"open|(?:Pure|Posix|Windows|U)?Path|(?:read|write|to|scan|sink)_\w+|load\w*|save\w*|im(?:read|write|save)"
    r"|dump|genfromtxt|copy\w*|move|makedirs|mkdir|listdir|scandir|i?glob|walk|chdir|exists"
    r"|is_?file|is_?dir|remove|unlink|rmtree|join|ZipFile|File"
)
_OTHER_CALL = re.compile(
    r"get|post|put|patch|delete|head|options|request|route|add_url_rule|mount|include_router"
    r"|(?:starts|ends)with|[lr]?split|[lr]?strip|remove(?:prefix|suffix)|r?partition|replace"
    r"|compile|(?:full)?match|search|sub|find(?:all)?"
)


def may_hold_path(source: str) -> bool:
    """Whether it is worth parsing ``source`` for paths."""
    return any(start in source for start in _PATH_STARTS) and bool(_QUOTED_PATH.search(source))


def absolute_paths(tree: ast.AST) -> list[tuple[int, str]]:
    """The lines and values of the literals that are absolute paths."""
    return [(line, text) for line, text, call in _texts(tree, "") if _is_path(text, call)]


def _is_path(text: str, call: str) -> bool:
    if len(text) > _LONGEST_PATH or "\n" in text or _OTHER_CALL.fullmatch(call):
        return False
    if _KNOWN_ROOT.match(text) or _WINDOWS.match(text):
        return True
    return bool(_FILE_CALL.fullmatch(call) and _ANY_ROOT.match(text))


def _texts(node: ast.AST, call: str) -> Iterator[tuple[int, str, str]]:
    """The line and text of each literal, and the name of the call whose argument it is.

    An end of a text that is put together (``base + "/tmp/x"``) and a docstring are no literals
    here.
    """
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.lineno, node.value, call
        return
    if isinstance(node, ast.Call):
        yield from _texts(node.func, "")
        name = last_name(node.func)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            yield from _texts(argument, name)
        return
    inside = call if isinstance(node, ast.List | ast.Tuple | ast.BinOp | ast.JoinedStr) else ""
    for child in _children(node):
        yield from _texts(child, inside)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    first = True
    for child in ast.iter_child_nodes(node):
        is_text = isinstance(child, ast.Constant)
        ends = isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)
        )
        passed_over = isinstance(node, ast.Expr | ast.Compare) or (ends and not first)
        if not (is_text and passed_over):
            yield child
        first = False


# --- secrets

_SECRET_WORDS = (
    *("passw", "pwd", "passphrase", "secret", "token", "credential"),
    *("_key", "-key", "apikey", "accesskey", "accountkey", "authkey", "privatekey"),
)
_SHAPE_WORDS = (
    *("AKIA", "ASIA", "AIza", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
    *("sk-", "xox", "hf_", "PRIVATE KEY", "://"),
)
_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:passw(?:or)?d|pwd|passphrase|secret|token|credentials?"
    r"|(?:api|access|account|auth|encryption|private|secret|signing|storage)_?key)"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHAPES = {
    "an access key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key of Google": r"\bAIza[0-9A-Za-z_-]{35}",
    "a token of GitHub": r"\b(?:gh[pousr]_[0-9A-Za-z]{20,}|github_pat_[0-9A-Za-z_]{20,})",
    "a token of GitLab": r"\bglpat-[0-9A-Za-z_-]{20,}",
    "a secret key": r"(?<![0-9A-Za-z])sk-(?=[\w-]{0,60}\d)[0-9A-Za-z_-]{20,}",
    "a token of Slack": r"\bxox[abeprs]-[0-9A-Za-z-]{10,}",
    "a token of Hugging Face": r"\bhf_[0-9A-Za-z]{30,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY",
    "a password in an address": r"://[^\s/:@'\"]+:(?![<{$%*]|pass|xxx)[^\s/:@'\"]+@",
}
_SHAPE = re.compile("|".join(f"({shape})" for shape in _SHAPES.values()))
_PLACEHOLDER = re.compile(
    r"(?:<.*>|\[.*\]|\{.*\}|\$.*|%.*%|[./~].*|[x*•.…_-]+"
    r"|[A-Z][A-Z0-9]*_[A-Z0-9_]+"  # the name of a variable of the environment
    r"|(?i:.*(?:your|change|example|placeholder|dummy|fake|todo|redact|hidden).*"
    r"|password|passwd|test|none|null|secret|token|key|bearer|basic|string|str|text|bytes|object|category))"
)
_SHORTEST_TOKEN = 10  # characters; shorter ones are words: unk_token = "[UNK]"


def may_hold_secret(source: str) -> bool:
    """Whether it is worth looking into ``source`` for secrets."""
    lower = source.lower()
    return any(word in lower for word in _SECRET_WORDS) or any(
        word in source for word in _SHAPE_WORDS
    )


def secrets(source: str) -> list[tuple[int, str]]:
    """The line and the kind of each secret in the source of a cell, one a line.

    The secret itself is not told: messages go into logs.
    """
    kinds = list(_SHAPES)
    found = {
        source.count("\n", 0, match.start()) + 1: kinds[(match.lastindex or 1) - 1]
        for match in _SHAPE.finditer(source)
    }
    lower = source.lower()
    if any(word in lower for word in _SECRET_WORDS):
        try:
            named = list(_named_texts(parse(source)))
        except SyntaxError:
            named = []
        for line, name, text in named:
            if _is_secret(name, text):
                found.setdefault(line, f"{name}: a secret")
    return sorted(found.items())


def _is_secret(name: str, text: str) -> bool:
    words = _HUMP.sub("_", name).replace("-", "_").lower()
    if not text.strip() or not _SECRET_NAME.fullmatch(words) or _PLACEHOLDER.fullmatch(text):
        return False
    if words.endswith("token"):
        has_digit = any(char.isdigit() for char in text)
        return len(text) >= _SHORTEST_TOKEN and has_digit and not re.search(r"\s", text)
    return True


def _named_texts(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """The line, name and text of each literal that is given to something with a name."""
    for node in ast.walk(tree):
        for name, value in _given(node):
            text = value.value if isinstance(value, ast.Constant) else None
            if isinstance(text, bytes):
                text = text.decode(errors="replace")
            if isinstance(value, ast.Constant) and isinstance(text, str):
                yield value.lineno, name, text


def _given(node: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    if isinstance(node, ast.Assign):
        yield from ((_target_name(target), node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        if not (isinstance(node, ast.AnnAssign) and _names_variables(node.annotation)):
            yield _target_name(node.target), node.value
    elif isinstance(node, ast.keyword):
        yield node.arg or "", node.value
    elif isinstance(node, ast.Dict):
        yield from ((_text(key), value) for key, value in zip(node.keys, node.values, strict=True))
    elif isinstance(node, ast.arguments):
        positional = reversed([*node.posonlyargs, *node.args])
        given = zip(positional, reversed(node.defaults), strict=False)
        keywords = zip(node.kwonlyargs, node.kw_defaults, strict=True)
        yield from ((argument.arg, default) for argument, default in chain(given, keywords))
    elif isinstance(node, ast.Call) and node.args:  # getenv("API_KEY", "...")
        yield from ((_text(node.args[0]), value) for value in node.args[1:])


def _names_variables(annotation: ast.expr) -> bool:
    """Whether it is the type of parameters that name variables; they are checked as such."""
    return ast.unparse(annotation).strip("'\"") == "Secret"


def _target_name(node: ast.AST) -> str:
    return _text(node.slice) if isinstance(node, ast.Subscript) else last_name(node)


def _text(node: ast.AST | None) -> str:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else ""
