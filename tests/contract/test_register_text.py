"""Editing the register's block: it says what it has to, and every other character stays."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dsml.contract.register_text import rewrite

NEW = {"a.b": "{path: p}"}
BEFORE = "# größer ✓ 🌲\nversion: 1 # one\n\nproject:   'x'\n"
AFTER = "# tail\nexperiments: {a: {}}   # kept\n\n"


@pytest.mark.parametrize(
    ("register", "written"),
    [
        ("register: {}\n", "register:\n  a.b: {path: p}\n"),
        ("register: { }\n", "register:\n  a.b: {path: p}\n"),
        ("register:\n", "register:\n  a.b: {path: p}\n"),
        ("register: # steps\n", "register: # steps\n  a.b: {path: p}\n"),
        ("register: {} # steps\n", "register: # steps\n  a.b: {path: p}\n"),
        ("register: null\n", "register:\n  a.b: {path: p}\n"),
        ("register: ~  # steps\n", "register:  # steps\n  a.b: {path: p}\n"),
        ("'register' : {}\n", "'register' :\n  a.b: {path: p}\n"),
        ("register: {\n  # none yet\n}\n", "register: {a.b: {path: p}\n  # none yet\n}\n"),
        ("register: &r {}\n", "register: &r {a.b: {path: p}}\n"),
        (
            "register:\n  # mine\n  x.y: {path: q}  # why\n",
            "register:\n  # mine\n  x.y: {path: q}  # why\n  a.b: {path: p}\n",
        ),
        ("register:\n    x.y: {path: q}\n", "register:\n    x.y: {path: q}\n    a.b: {path: p}\n"),
        (
            "register:\n  x.y:\n    path: q\n    outs:\n      z: z.txt\n",
            "register:\n  x.y:\n    path: q\n    outs:\n      z: z.txt\n  a.b: {path: p}\n",
        ),
        (
            "register:\n  x.y:\n    path: >-\n      q\n",
            "register:\n  x.y:\n    path: >-\n      q\n  a.b: {path: p}\n",
        ),
        ("register:\n  ? x.y\n  : {}\n", "register:\n  ? x.y\n  : {}\n  a.b: {path: p}\n"),
        ("register: {x.y: {path: q}}\n", "register: {x.y: {path: q}, a.b: {path: p}}\n"),
        (
            "register: {\n  # mine\n  x.y: {path: q}, # why\n}\n",
            "register: {\n  # mine\n  x.y: {path: q}, a.b: {path: p}, # why\n}\n",
        ),
    ],
)
def test_a_new_entry_comes_last_and_nothing_else_changes(register, written):
    assert rewrite(BEFORE + register + AFTER, NEW) == BEFORE + written + AFTER


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("version: 1\n", "version: 1\nregister:\n  a.b: {path: p}\n"),
        ("version: 1", "version: 1\nregister:\n  a.b: {path: p}\n"),
        ("version: 1\n# tail", "version: 1\n# tail\nregister:\n  a.b: {path: p}\n"),
        ("---\nversion: 1\n...\n", "---\nversion: 1\nregister:\n  a.b: {path: p}\n...\n"),
        ("%YAML 1.1\n---\na: 1\n", "%YAML 1.1\n---\na: 1\nregister:\n  a.b: {path: p}\n"),
        ("  version: 1\n", "  version: 1\n  register:\n    a.b: {path: p}\n"),
        ("{version: 1}\n", "{version: 1, register: {a.b: {path: p}}}\n"),
        ("{register: {}}\n", "{register: {a.b: {path: p}}}\n"),
        ("{register: , b: 1}\n", "{register: {a.b: {path: p}}, b: 1}\n"),
        ("version: 1\r\n", "version: 1\r\nregister:\r\n  a.b: {path: p}\r\n"),
    ],
)
def test_a_catalog_without_a_register_gets_one(text, written):
    assert rewrite(text, NEW) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("register: {}", "register:\n  a.b: {path: p}"),
        ("register:", "register:\n  a.b: {path: p}"),
        ("register: {} # c", "register: # c\n  a.b: {path: p}"),
        ("register:\n  x.y: {path: q}", "register:\n  x.y: {path: q}\n  a.b: {path: p}"),
        ("register:\n  x.y: {} # c", "register:\n  x.y: {} # c\n  a.b: {path: p}"),
    ],
)
def test_a_file_without_a_newline_at_its_end_gets_none(text, written):
    assert rewrite(text, NEW) == written


@pytest.mark.parametrize(
    ("register", "written"),
    [
        ("  a.b: {path: old}  # why\n", "  a.b: {path: p}  # why\n"),
        ("  a.b: &a {path: old}\n", "  a.b: &a {path: p}\n"),
        ("  'a.b': {path: old}\n", "  'a.b': {path: p}\n"),
        ("  a.b:\n    path: old\n    # gone\n    ins: {}\n", "  a.b:\n    {path: p}\n"),
        ("  a.b: {path: old,\n        ins: {}}\n", "  a.b: {path: p}\n"),
    ],
)
def test_a_changed_entry_keeps_its_place_its_comment_and_its_anchor(register, written):
    text = f"{BEFORE}register:\n  w.w: {{}}\n{{}}  # below\n  z.z: {{}}\n{AFTER}"
    around = text.split("{}  # below\n")
    assert rewrite(f"{around[0]}{register}  # below\n{around[1]}", NEW) == (
        f"{around[0]}{written}  # below\n{around[1]}"
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            "register:\n  a: {}\n  x: {} # c\n  # own\n  b: {}\n",
            "register:\n  a: {}\n  # own\n  b: {}\n",
        ),
        ("register:\n  x:\n    path: q\n    ins: {}\nb: 1\n", "register:\nb: 1\n"),
        ("register:\n  x:\n    path: |\n      q\n  a: {}\n", "register:\n  a: {}\n"),
        ("register:\n  a: {}\n  x: {}", "register:\n  a: {}\n"),
        ("register: {x: {}, a: {}}\n", "register: { a: {}}\n"),
        ("register: {a: {}, x: {} }\n", "register: {a: {},  }\n"),
        ("register: {x: {}}\n", "register: {}\n"),
    ],
)
def test_a_removed_entry_takes_only_its_own_lines_with_it(text, written):
    assert rewrite(text, {}, ["x"]) == written
    assert "x" not in (yaml.safe_load(written)["register"] or {})


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("register:\n  x.y:", "register:\n  x.y: {path: n}\n  a.b: {path: p}"),
        ("register: {x.y: }\n", "register: {x.y: {path: n}, a.b: {path: p}}\n"),
        (
            "register:\n  x.y:\n    path: |\n      q\n\nb: 1\n",
            "register:\n  x.y:\n    {path: n}\n  a.b: {path: p}\n\nb: 1\n",
        ),
    ],
)
def test_an_entry_without_a_value_or_with_a_text_of_lines_is_replaced(text, written):
    assert rewrite(text, {"x.y": "{path: n}", "a.b": "{path: p}"}) == written


def test_the_last_entry_can_be_replaced_where_the_file_ends_without_a_newline():
    assert rewrite("register:\n  x: {}", NEW, ["x"]) == "register:\n  a.b: {path: p}"


@pytest.mark.parametrize("register", ["{}", "\r\n  x.y: {path: q}", "{x.y: {path: q}}"])
def test_windows_line_ends_stay(register):
    text = f"version: 1\r\nregister: {register}\r\n# tail\r\nb: 1\r\n"
    written = rewrite(text, NEW)
    assert written.count("\n") == written.count("\r\n")
    assert written.endswith("\r\n# tail\r\nb: 1\r\n")
    assert yaml.safe_load(written)["register"]["a.b"] == {"path": "p"}


def test_a_byte_order_mark_stays():
    assert rewrite("\ufeffregister: {}\n", NEW) == "\ufeffregister:\n  a.b: {path: p}\n"


@pytest.mark.parametrize("name", ["null.a", "true.b", "_1.x", "on.off"])
def test_names_that_look_like_other_things_stay_names(name):
    assert yaml.safe_load(rewrite("register: {}\n", {name: "{}"})) == {"register": {name: {}}}


# --- any catalog

names = st.from_regex(r"\A[a-z_][a-z0-9_]{0,4}\.[a-z_][a-z0-9_]{0,4}\Z")
words = st.text(
    st.characters(
        blacklist_categories=["Cc", "Cs", "Zl", "Zp"], blacklist_characters="\ufeff\ufffe\uffff"
    ),
    max_size=8,
)
comments = st.one_of(st.just(""), words.map(lambda text: f" # {text}"))
paths = st.sampled_from(["p", "stages/a/b.ipynb", "'it''s'", '"q\\n"'])


@st.composite
def entry_texts(draw, flow):
    """An entry as somebody may have written it: in one line or, in a block, in several."""
    path, comment = draw(paths), draw(comments)
    if flow:
        return f"{{path: {path}}}"
    anchors = st.uuids().map(lambda made: f"x{made.hex}")
    shape = draw(st.sampled_from(["line", "lines", "anchor", "literal", "wrapped", "empty"]))
    return {
        "line": f" {{path: {path}}}{comment}\n",
        "lines": f"{comment}\n      path: {path}{comment}\n      ins: {{}}\n",
        "anchor": f" &{draw(anchors)} {{path: {path}}}{comment}\n",
        "literal": "\n      path: |-\n        q\n        r\n",
        "wrapped": f" {{path: {path},\n          ins: {{}}}}{comment}\n",
        "empty": f"{comment}\n",
    }[shape]


@st.composite
def catalogs(draw):
    """A catalog in parts: what is before the register, the register, what is after; its names."""
    before = "".join(
        f"k{i}: {draw(paths)}{draw(comments)}\n" for i in range(draw(st.integers(0, 3)))
    )
    after = "".join(
        draw(st.sampled_from(["\n", "# note\n", f"z{i}: [a, 'b']{draw(comments)}\n"]))
        for i in range(draw(st.integers(0, 3)))
    )
    there = draw(st.lists(names, unique=True, max_size=4))
    shape = draw(st.sampled_from(["block", "flow", "lines"]))
    if not there:
        register = f"register:{draw(st.sampled_from(['', ' {}', ' null', ' ~']))}{draw(comments)}\n"
    elif shape == "block":
        register = f"register:{draw(comments)}\n" + "".join(
            f"  {name}:{draw(entry_texts(flow=False))}" for name in there
        )
    else:
        gap = " " if shape == "flow" else "\n  # note, with a comma\n  "
        inner = f",{gap}".join(f"{name}: {draw(entry_texts(flow=True))}" for name in there)
        register = (
            f"register: {{{gap}{inner}{draw(st.sampled_from(['', ',']))}{gap.rstrip(' ')}}}\n"
        )
    return before, register, after, there


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_register_reads_as_wanted_and_all_around_it_is_unchanged(data):
    before, register, after, there = data.draw(catalogs())
    changed = data.draw(
        st.dictionaries(st.one_of(names, *map(st.just, there)), st.just("{path: N}"), max_size=4)
    )
    removed = {name for name in there if name not in changed and data.draw(st.booleans())}
    ends = data.draw(st.sampled_from(["\n", "\r\n"]))
    bom = data.draw(st.sampled_from(["", "\ufeff"]))
    last = data.draw(st.booleans())

    parts = [part.replace("\n", ends) for part in (before, register, after)]
    text = "".join(parts) if last else "".join(parts).removesuffix(ends)
    tail = parts[2] if last else parts[2].removesuffix(ends)
    written = rewrite(bom + text, changed, removed)

    old, new = yaml.safe_load(text), yaml.safe_load(written.removeprefix("\ufeff"))
    wanted = {
        key: value for key, value in (old.pop("register") or {}).items() if key not in removed
    }
    wanted.update((name, {"path": "N"}) for name in changed)
    assert (new.pop("register") or {}) == wanted
    assert new == old
    assert written.startswith(bom + parts[0])
    assert written.endswith(tail)
    if "\r\n" in text:
        assert written.count("\n") == written.count("\r\n")
