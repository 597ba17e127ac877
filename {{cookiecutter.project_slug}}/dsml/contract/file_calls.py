"""Which files a notebook reads and writes, as far as its source tells without being run."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

Known = Mapping[str, object]  # name → what it is for certain: text, a number

# Methods of frames and figures, whose receiver can be anything; the path is their first argument.
_READS = re.compile(
    r"(?:read|scan)_(?:csv|parquet|json|excel|table|feather|pickle|hdf|xml|stata|sas|spss|fwf|orc|ipc|ndjson)"
)
_WRITES = re.compile(
    r"to_(?:csv|parquet|json|excel|feather|pickle|hdf|xml|stata|html|latex|markdown|orc)"
    r"|write_(?:csv|parquet|json|excel|ipc|ndjson|html|image)|savefig|tofile"
)
# Functions of modules: what they do, and which argument is the path.
_FUNCTIONS = {
    **dict.fromkeys(
        (
            *("numpy.load", "numpy.loadtxt", "numpy.genfromtxt", "numpy.fromfile"),
            *("joblib.load", "torch.load", "PIL.Image.open", "imageio.imread", "cv2.imread"),
            *("matplotlib.pyplot.imread", "matplotlib.image.imread"),
        ),
        ("read", 0),
    ),
    **dict.fromkeys(
        (
            *("numpy.save", "numpy.savez", "numpy.savez_compressed", "numpy.savetxt"),
            *("pandas.ExcelWriter", "imageio.imwrite", "cv2.imwrite"),
            *("matplotlib.pyplot.imsave", "matplotlib.image.imsave"),
        ),
        ("write", 0),
    ),
    **dict.fromkeys(("joblib.dump", "torch.save"), ("write", 1)),
}
_OPENS = ("open", "io.open", "gzip.open", "bz2.open", "lzma.open", "codecs.open")
_OF_PATH = {
    "read_text": "read",
    "read_bytes": "read",
    "write_text": "write",
    "write_bytes": "write",
}
_KEYWORDS = ("filepath_or_buffer", "path_or_buf", "path", "io", "fname", "file", "filename")
_PATHS = ("pathlib.Path", "pathlib.PurePath", "os.path.join", "str", "os.fspath")
_USUAL = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot"}
_SCOPES = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
_BRANCHES = (ast.If, ast.IfExp, ast.Try, ast.While, ast.Match, ast.FunctionDef, ast.Lambda)
_URL = re.compile(r"[A-Za-z][\w+.-]+://")


@dataclass(frozen=True)
class FileCall:
    """A call that reads or writes a file.

    ``node`` is the expression of the path, ``path`` its value, None where only a run can tell it.
    ``of_path`` says that the call is a method of the path, ``conditional`` that it stands where it
    may not be reached.
    """

    action: str
    function: str
    node: ast.expr
    path: str | None
    of_path: bool = False
    conditional: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether the path is an address on the network."""
        return self.path is not None and bool(_URL.match(self.path))


@dataclass
class Names:
    """What the names of a notebook stand for: imported things, and constants."""

    imported: dict[str, str] = field(default_factory=lambda: dict(_USUAL))
    constants: dict[str, object] = field(default_factory=dict)

    def learn_imports(self, tree: ast.AST) -> None:
        """Take in the imports of a cell."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self.imported[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def name_of(self, thing: str) -> str | None:
        """How the notebook calls an imported thing."""
        return next((name for name, full in self.imported.items() if full == thing), None)

    def qualified(self, node: ast.expr) -> str:
        """The full dotted name of what is called, empty where it is no name."""
        if isinstance(node, ast.Attribute):
            above = self.qualified(node.value)
            return f"{above}.{node.attr}" if above else ""
        return self.imported.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def file_calls(tree: ast.AST, names: Names) -> Iterator[FileCall]:
    """The calls of a cell that read or write files, in the order of the source."""
    yield from _calls(tree, names, _handles(tree, names), frozenset(), conditional=False)


def _calls(
    node: ast.AST, names: Names, handles: set[str], hidden: frozenset[str], *, conditional: bool
) -> Iterator[FileCall]:
    conditional |= isinstance(node, _BRANCHES)
    if isinstance(node, _SCOPES):
        hidden |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        stored = (n for n in ast.walk(node) if isinstance(n, ast.Name))
        hidden |= {n.id for n in stored if isinstance(n.ctx, ast.Store)}
    if isinstance(node, ast.Call):
        known = {name: v for name, v in names.constants.items() if name not in hidden}
        call = _call(node, names, known)
        if call is not None and not _is_handle(call.node, names, handles):
            yield replace(call, conditional=conditional)
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, names, handles, hidden, conditional=conditional)


def _call(node: ast.Call, names: Names, known: Known) -> FileCall | None:
    full = names.qualified(node.func)
    method = node.func.attr if isinstance(node.func, ast.Attribute) else full.rpartition(".")[2]
    if isinstance(node.func, ast.Attribute) and (method in _OF_PATH or method == "open"):
        path = resolve(node.func.value, names, known)
        if isinstance(path, str):
            action = _OF_PATH.get(method) or _action(node, 0)
            return FileCall(action, method, node.func.value, path, of_path=True) if action else None
    if full in _OPENS:
        action, position = _action(node, 1), 0
    elif full in _FUNCTIONS:
        action, position = _FUNCTIONS[full]
    elif _READS.fullmatch(method) or _WRITES.fullmatch(method):
        action, position = "read" if _READS.fullmatch(method) else "write", 0
    else:
        return None
    argument = _argument(node, position)
    if argument is None or not action:
        return None
    path = resolve(argument, names, known)
    return FileCall(action, full or method, argument, path if isinstance(path, str) else None)


def _argument(node: ast.Call, position: int) -> ast.expr | None:
    if len(node.args) > position:
        argument = node.args[position]
        return None if isinstance(argument, ast.Starred) else argument
    return next((k.value for k in node.keywords if k.arg in _KEYWORDS), None)


def _action(node: ast.Call, position: int) -> str:
    """What opening a file in its mode does; empty where that is both or cannot be told."""
    given = node.args[position] if len(node.args) > position else None
    given = next((k.value for k in node.keywords if k.arg == "mode"), given)
    if given is None:
        return "read"
    mode = given.value if isinstance(given, ast.Constant) else None
    if not isinstance(mode, str) or "+" in mode:
        return ""
    return "write" if set(mode) & set("wax") else "read"


def _handles(tree: ast.AST, names: Names) -> set[str]:
    """The names of open files and buffers."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            found.add(node.optional_vars.id)
        elif isinstance(node, ast.Assign) and _opens(node.value, names):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _opens(node: ast.expr, names: Names) -> bool:
    if not isinstance(node, ast.Call):
        return False
    full = names.qualified(node.func)
    return full in _OPENS or full.endswith((".open", ".BytesIO", ".StringIO", ".urlopen"))


def _is_handle(node: ast.expr, names: Names, handles: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in handles
    return _opens(node, names) or names.qualified(node).startswith("sys.")


def resolve(node: ast.expr, names: Names, known: Known) -> object:
    """The value of an expression of texts and paths, None where only a run can tell it."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | int | float) else None
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.JoinedStr):
        return _joined(node, names, known)
    if isinstance(node, ast.BinOp):
        return _combined(node, names, known)
    return _path_of_call(node, names, known) if isinstance(node, ast.Call) else None


def _combined(node: ast.BinOp, names: Names, known: Known) -> str | None:
    left, right = resolve(node.left, names, known), resolve(node.right, names, known)
    if not isinstance(left, str) or not isinstance(right, str):
        return None
    if isinstance(node.op, ast.Div):
        return posixpath.join(left, right)
    return left + right if isinstance(node.op, ast.Add) else None


def _joined(node: ast.JoinedStr, names: Names, known: Known) -> str | None:
    text = ""
    for part in node.values:
        braced = part if isinstance(part, ast.FormattedValue) else None
        if braced and (braced.format_spec is not None or braced.conversion > 0):
            return None
        value = resolve(braced.value if braced else part, names, known)
        if value is None:
            return None
        text += str(value)
    return text


def _path_of_call(node: ast.Call, names: Names, known: Known) -> str | None:
    full = names.qualified(node.func)
    if full == "pathlib.Path.cwd":
        return "."
    parts = [resolve(argument, names, known) for argument in node.args]
    if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath":
        parts.insert(0, resolve(node.func.value, names, known))
    elif full not in _PATHS:
        return None
    texts = [part for part in parts if isinstance(part, str)]
    if not texts or len(texts) < len(parts) or node.keywords:
        return None
    return posixpath.join(*texts)
