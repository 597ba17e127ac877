"""Notebooks and projects that nobody would write on purpose, made from a source of randomness.

Nearly every piece of code in them would write a file if it was run. The randomness comes from
`random.Random` where many are wanted, and from hypothesis where a failure is to be made small.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

CANARY = "was_run"
RUN = f"open({CANARY!r}, 'w').close()"
NAMES = [
    "a",
    "train",
    "n_rows",
    "class",
    "2nd",
    "ä",
    "\U0001d518",
    "a b",
    "",
    "x" * 300,
    "ins",
    "\ud800",
    "a.b",
]
PATHS = [
    "a.b.c",
    "load.digits.table",
    "a.b",
    "...",
    "",
    "a.b.c.d",
    "class.b.c",
    "ä.b.c",
    "\ud800.x.y",
]
FILES = [
    "m.joblib",
    "../up",
    "/etc/passwd",
    "",
    "manifest.json",
    "a/b",
    "CON",
    "x\0",
    "t.csv",
    "ü.csv",
]
ATOMS = [
    *("1", "-1", "+1", "1.5", "1e999", "-1e999", "1j", "0x1F", "1_000", "9" * 5000, "True", "None"),
    *(
        "''",
        "'a'",
        '"b"',
        "b'c'",
        "f'{1}'",
        f"f'{{{RUN}}}'",
        "'''d\ne'''",
        "r'\\d'",
        "'a' 'b'",
        "...",
    ),
    *(
        "name",
        "a.b",
        "a[0]",
        "f()",
        RUN,
        f"[{RUN}]",
        f"{{'a': {RUN}}}",
        f"{{**{RUN}}}",
        "lambda: 0",
    ),
    *("(yield)", "await x", "(y := 1)", "*a", "not 1", "1 if 2 else 3", "[x for x in y]", "{1, 2}"),
    *("'\\ud800'", "'\ud800'", "'\u2028'", "'\0'", "(" * 150, "[" * 90 + "]" * 90, "-" * 60 + "1"),
    *("'x' * 10 ** 10", "10 ** 10 ** 10", "'a'.join(b)", "int", "Field(int, default_value=1)"),
    "+".join(["1"] * 600),
]
LITERALS = ["1", "-2.5", "'a'", "True", "None", "[1, 2]", "{'a': 1}", "'2024-01-01'"]
TYPES = [
    *("int", "float", "str", "bool", "list", "dict", "list[int]", "dict[str, float]", "int | None"),
    *(
        "Optional[int]",
        "typing.Optional[str]",
        "Literal['a', 'b']",
        "Union[int, str]",
        "'int'",
        "'('",
    ),
    *(
        "date",
        "datetime.date",
        "tuple[int, ...]",
        "list[",
        "x.y.z",
        "Literal[f()]",
        "list[list[int]]",
    ),
    *(
        "dict[int, str]",
        "Optional",
        "Literal",
        "Any",
        "None",
        RUN,
        "'" + RUN.replace("'", '"') + "'",
    ),
    "Optional[" * 80 + "int" + "]" * 80,
]
COMMENTS = [
    "",
    "",
    "  # trees",
    "  # ü 🎉 \u202e",
    "  #",
    "  # type: ignore",
    "  # dsml: ignore[x]",
]
SNIPPETS = [
    RUN,
    f"{RUN}\n1 / 0",
    "from dsml import get_context\ncontext = get_context(op_parameters)",
    "context.load('train'); context.save('model', 1); context.outs.model",
    "for name in context.ins: print(context.ins[name])",
    "%matplotlib inline",
    f"%%bash\ntouch {CANARY}",
    f"!touch {CANARY}",
    f"files = !touch {CANARY}",
    "%time x = 1 \\\n  + 2",
    "x?",
    "??y",
    "def f(:\n  pass",
    "if True:\nx = 1",
    "\tx = 1\n        y = 2",
    "print 'python 2'",
    "x = 'unfinished",
    'x = """unfinished',
    "\\",
    "#",
    "# dsml: ignore",
    "# dsml: ignore[secret, nonsense]",
    "password = 'hunter2hunter2'\npath = '/home/me/data.csv'",
    "token = f'{1}' 'abc' b'x'",
    "open('C:\\\\data\\\\x')",
    "return 1",
    "\x0c\r\n\x0bx = 1\r",
    "\ufeffx = 1",
    "x = 1\0",
    "# -*- coding: utf-16 -*-\nx = 1",
    f"import os; os.system('touch {CANARY}')",
    f"@{RUN}\nclass A(metaclass={RUN}): x: {RUN} = {RUN}",
    "match x:\n    case {'a': [1, *_]}: pass",
    "type X = int",
    "async def f():\n    async with a: yield",
    "x: int",
    "x = y = 1",
    "a, b = 1, 2",
    "op_parameters['ins'] = 1",
    "del op_parameters",
    "",
]
KEYS = [
    *("description", "ins", "outs", "after", "tags", "config_schema", "map", "retries", "timeout"),
    *("cache", "stage", "in", "INS", "", "\ud800"),
]
TAGS: list[Any] = [["op_parameters"], ["parameters"], [], ["op_parameters", "parameters"], ["x", 1]]
ODD: list[Any] = [
    None,
    1,
    "text",
    [],
    {},
    [None],
    [[]],
    {"a": 1},
    True,
    1.5,
    "\ud800",
    ["a", 1, None],
]


def value(random: Random, depth: int = 2) -> str:
    """An expression, most of them literals."""
    kind = random.randrange(8) if depth else 0
    if kind < 4:
        return random.choice(LITERALS if random.randrange(2) else ATOMS)
    if kind < 6:
        pairs = (
            (random.choice(NAMES), value(random, depth - 1)) for _ in range(random.randrange(4))
        )
        return "{" + ", ".join(f"{name!r}: {item}" for name, item in pairs) + "}"
    return "[" + ", ".join(value(random, depth - 1) for _ in range(random.randrange(4))) + "]"


def names(random: Random, values: list[str]) -> str:
    """A dict of names to text, such as `ins`, or now and then something else."""
    if not random.randrange(4):
        return value(random)
    found = {
        random.choice(NAMES[: random.choice([3, 99])]): random.choice(
            values[: random.choice([2, 99])]
        )
        for _ in range(random.randrange(3))
    }
    return repr(found)


def declaration(random: Random) -> str:
    """What a cell tagged `op_parameters` might hold."""
    parts = []
    for key in random.sample(KEYS, random.randrange(5)):
        if key == "ins":
            parts.append(f"'ins': {names(random, PATHS)}")
        elif key == "outs":
            parts.append(f"'outs': {names(random, FILES)}")
        else:
            right = {"description": "'What it does.'", "after": "['a.b']", "tags": "{'a': 'b'}"}
            made = right.get(key) if random.randrange(3) else None
            parts.append(f"{key!r}: {made or value(random)}")
    joined = ",\n    ".join(parts)
    return f"op_parameters = {{\n    {joined}\n}}{random.choice(COMMENTS)}"


def assignments(random: Random) -> str:
    """What a cell tagged `parameters` might hold."""
    lines = []
    for _ in range(random.randrange(5)):
        kind = f": {random.choice(TYPES)}" if random.randrange(2) else ""
        name = random.choice(NAMES[: random.choice([3, 99])])
        lines.append(f"{name}{kind} = {value(random, 1)}{random.choice(COMMENTS)}")
    return "\n".join(lines)


def source(random: Random) -> str:
    """The source of a cell."""
    kind = random.randrange(10)
    if kind < 3:
        text = declaration(random)
    elif kind < 6:
        text = assignments(random)
    else:
        text = "\n".join(random.choice(SNIPPETS) for _ in range(random.randrange(1, 4)))
    return mutated(random, text) if not random.randrange(6) else text


def mutated(random: Random, text: str) -> str:
    """A text with a piece cut out, doubled, or put elsewhere."""
    start = random.randrange(len(text) + 1)
    piece = text[start : start + random.randrange(20)]
    rest = text[:start] + text[start + len(piece) :]
    at = random.randrange(len(rest) + 1)
    return random.choice([rest, text + piece, rest[:at] + piece + rest[at:], text[:start]])


def cell(random: Random) -> Any:
    """One cell of nbformat 3 or 4, mostly in order."""
    text = source(random)
    made: dict[str, Any] = {
        "cell_type": random.choice(["code", "code", "code", "markdown", "raw", "heading"]),
        "metadata": {"tags": random.choice(TAGS)},
        "source": text.splitlines(keepends=True) if random.randrange(2) else text,
        "outputs": [],
        "execution_count": None,
    }
    kind = random.randrange(12)
    if kind == 0:
        made[random.choice(list(made))] = random.choice(ODD)
    elif kind == 1:
        del made[random.choice(list(made))]
    elif kind == 2:
        made["metadata"] = {"tags": random.choice(ODD)}
    elif kind == 3:
        made["outputs"] = [{"output_type": "stream", "text": ["x" * random.randrange(5000)]}]
    elif kind == 4:
        made["input"] = made.pop("source")
    elif kind == 5 and not random.randrange(4):
        return random.choice(ODD)
    return made


def document(random: Random) -> Any:
    """A notebook, most of them of a known format, half of them nearly within the contract."""
    cells = [cell(random) for _ in range(random.randrange(5))]
    if random.randrange(2):
        cells[:0] = [
            tagged("op_parameters", declaration(random)),
            tagged("parameters", assignments(random)),
            tagged("context", "context = get_context(op_parameters)\ncontext.load('train')"),
        ]
    made: dict[str, Any] = {"cells": cells, "metadata": {}, "nbformat": 4}
    made["nbformat_minor"] = random.randrange(6)
    kind = random.randrange(20)
    if kind == 0:
        made = {
            "worksheets": [{"cells": cells}],
            "nbformat": 3,
            "nbformat_minor": 0,
            "metadata": {},
        }
    elif kind == 1:
        made[random.choice(list(made))] = random.choice(ODD)
    elif kind == 2:
        made["worksheets"] = random.choice(ODD)
    elif kind == 3 and not random.randrange(3):
        return random.choice(ODD)
    return made


def tagged(tag: str, text: str) -> dict[str, Any]:
    """A cell as the contract wants it, but for its source."""
    return {"cell_type": "code", "metadata": {"tags": [tag]}, "source": text}


def encoded(random: Random, text: str) -> bytes:
    """A text as bytes, most of them UTF-8."""
    kind = random.randrange(40)
    encoding = {0: "utf-8-sig", 1: "utf-16", 2: "latin-1", 3: "utf-32"}.get(kind, "utf-8")
    raw = text.encode(encoding, "replace")
    if kind in (4, 5):
        at = random.randrange(len(raw) + 1)
        raw = raw[:at] + (
            b"" if kind == 4 else random.choice([b"\xff", b"\0", b"}", b'"', b"\\"]) + raw[at:]
        )
    return raw


def notebook(random: Random) -> bytes:
    """The bytes of an `.ipynb` file."""
    if not random.randrange(60):
        return random.choice([b"", b"{", b"[" * 100_000, b"null", b"NaN", b"9" * 9999, b"\xff\xfe"])
    indent = random.choice([None, 1])
    text = json.dumps(document(random), indent=indent, ensure_ascii=bool(random.randrange(2)))
    return encoded(random, text)


def script(random: Random) -> bytes:
    """The bytes of a text notebook in the percent format."""
    marks = [
        "# %%",
        "# %% tags=['op_parameters']",
        '# %% tags=["op_parameters"]',
        "# %% [markdown]",
    ]
    marks += [
        '# %% tags=["parameters"]',
        "# %% tags=[",
        "#%%",
        '# %% a="b" tags=["\ud800"]',
        "# ---",
    ]
    parts = (f"{random.choice(marks)}\n{source(random)}\n" for _ in range(random.randrange(1, 6)))
    return encoded(random, "".join(parts))


CATALOGS = [
    "version: 1\n",
    "version: 1\nregister: {}\n",
    "version: 1\nregister:\n  a.b: {path: stages/a/b.ipynb}\n",
    "version: 1\nregister: {a.b: {path: ../../../etc/passwd, ins: [1], outs: 2, after: {}}}\n",
    "version: 2\nnonsense: &a [*a]\n",
    "version: 1\nexperiments: {x: {config: {a.b: {n: .nan, m: 2024-01-01, o: !!binary aGk=}}}}\n",
    "version: 1\npipelines: {all: {select: ['+a', b+, 'tag:x', 1]}, '2': null}\n",
    "version: 1\npaths: {artefact: '{experiment!r}/{a[0]}/{stage:>9}'}\n",
    f"version: 1\nx: !!python/object/apply:os.system ['touch {CANARY}']\n",
    "version: 1\n<<: [*no]\n",
    "version: 1\n? [a, b]\n: c\n1: 2\nnull: 3\n",
    "- a\n- b\n",
    "",
    "\t",
    "a: &x {b: *x}\nversion: 1\nregister: *x\n",
    "[" * 500,
    "version: 1\nversion: 1\nregister: ~\nregister: []\n",
    "\ufeffversion: 1\r\nregister: {}\r\n# end",
    'version: 1\nproject: "\\ud800"\n',
    "version: 1\n--- \nversion: 1\n",
]
STEPS = [
    "a/b",
    "a/B",
    "A/b",
    "train/fit",
    "a/2nd",
    "a/ä",
    "a/c d",
    "a/class",
    "a/b/c",
    "top",
    "a/con",
]


def project(random: Random, root: Path) -> None:
    """Fill a folder with a catalog, notebooks, links and what else may lie there."""
    (root / "stages").mkdir()
    catalog = encoded(random, random.choice(CATALOGS))
    if random.randrange(20):
        (root / "catalog.yml").write_bytes(catalog)
    for name in random.sample(STEPS, random.randrange(5)):
        suffix = random.choice([".ipynb", ".ipynb", ".ipynb", ".py", ".debug.ipynb"])
        file = root / "stages" / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_bytes(script(random) if suffix == ".py" else notebook(random))
    for kind in random.sample(["loop", "out", "broken", "self", "folder", "bytes", "top"], 2):
        odd(root, kind)


def odd(root: Path, kind: str) -> None:
    """Put something into `stages` that is no file of its own."""
    stages = root / "stages"
    (stages / "a").mkdir(exist_ok=True)
    target = {
        "loop": "..",
        "out": "/etc/hostname",
        "broken": "nowhere.ipynb",
        "self": "self.ipynb",
        "top": "../..",
    }
    if kind == "folder":
        (stages / "a" / "folder.ipynb").mkdir()
    elif kind == "bytes":
        Path(os.fsdecode(os.fsencode(stages / "a") + b"/\xff\xfe.ipynb")).write_bytes(b"{}")
    else:
        name = "loop" if kind == "loop" else f"{kind}.ipynb"
        (stages / "a" / name).symlink_to(target[kind])
