"""What changes the fingerprint of a step's code, and what does not."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsml.contract import fingerprint as fingerprints
from dsml.contract.cells import read_notebook
from dsml.contract.fingerprint import Code, fingerprint
from dsml.contract.modules import Modules
from dsml.contract.normal_form import normal_form
from dsml.contract.problem import ProjectError
from dsml.contract.register import check_project

from . import hostile
from .conftest import cell, document, step_cells

# Statements of Python. Noise may be added at each §, which ends a line of code; a line of a magic
# ends at ¶, where blank lines and lines of comment may follow.
PYTHON = (
    "x = 1§",
    "total = sum(values)  ; print(total)§",
    "names = ['#1', \"it's # no comment\", '\\'#', r'\\#']§",
    "text = '''\n\n# no comment   \n  '\"\n\n'''§",
    'sql = """select "#1"\n\nfrom t""" + "\\"#"§',
    "f(§\n    1,§\n    2§\n)§",
    "share = (§\n    part§\n    / whole§\n    % 100§\n)§",
    "y = 1 + \\\n    2§",
    "long = 'a \\\n   # b'§",
    "if x != 2:§\n    # §\n    y = -x§\nelse:§\n    pass§",
    'def f(a, b=("#",)):§\n    """One.\n\n    # Two.\n    """§\n    return a[b]§',
    "print(f'{x!r:>{width}} # {{}}')§",
    'print(f"{d[\'#\']} {n:,.2f}", rf"\\d{{2}}#{x}")§',
    'print(f"""\n\n# {x}  \n""")§',
    "@cached§\nclass A(B):§\n    n: int = 3§",
    "été = b'#' rb'\\#'§",
)
MAGICS = (
    "%matplotlib inline¶",
    "!echo \"it's\" # a shell's comment¶",
    "files = !ls # of the shell too¶",
    "now = %time f('#')¶",
    "x?¶",
    "?print¶",
    "!ls \\\n  # of the shell¶",
)
NOISE = st.sampled_from(
    ["", "", " ", "\t", "  \f", "  # comment", '# \'quoted" """ \\', " # x = 2 #"]
)
LINES = st.lists(
    st.sampled_from(["", "   ", "\t", "# a comment", '        # it\'s "far" \\', "#"]), max_size=3
)
LETTERS = "a0_#'\"\\%!?({[ \n="
CELLS = st.lists(st.sampled_from(PYTHON), min_size=1, max_size=6)
FIND = re.compile("[§¶]")


def clean(cell):
    """The statements of a cell without noise."""
    return FIND.sub("", "\n".join(cell))


def noisy(data, cell):
    """The statements of a cell with noise wherever it may be."""

    def noise(mark):
        return "".join(
            [
                data.draw(NOISE) if mark[0] == "§" else "",
                *(f"\n{line}" for line in data.draw(LINES)),
            ]
        )

    above = data.draw(LINES)
    return "\n".join([*above, FIND.sub(noise, "\n".join(cell))])


def tree(source):
    """What Python makes of a source."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.dump(ast.parse(source))


# --- the normal form ------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(cell=CELLS, data=st.data())
def test_comments_blank_lines_and_spaces_at_line_ends_never_change_it(cell, data):
    assert normal_form(noisy(data, cell)) == normal_form(clean(cell))


@settings(max_examples=500, deadline=None)
@given(cell=st.lists(st.sampled_from(PYTHON + MAGICS), min_size=1, max_size=6), data=st.data())
def test_neither_do_they_beside_magics(cell, data):
    cell = [*cell, data.draw(st.sampled_from(MAGICS))]
    # beside a magic, a line that begins with an operator is taken for one too
    cell = [each for each in cell if "% 100" not in each]
    assert normal_form(noisy(data, cell)) == normal_form(clean(cell))


@settings(max_examples=1000, deadline=None)
@given(cell=st.lists(st.sampled_from(PYTHON + MAGICS), min_size=1, max_size=4), data=st.data())
def test_every_character_of_the_code_changes_it(cell, data):
    before = clean(cell).replace("    # \n", "")
    place = data.draw(st.sampled_from([i for i, char in enumerate(before) if not char.isspace()]))
    other = data.draw(st.sampled_from(["", *LETTERS]).filter(lambda char: char != before[place]))
    after = before[:place] + other + before[place + 1 :]
    assert normal_form(after) != normal_form(before)


@settings(max_examples=300, deadline=None)
@given(cell=CELLS, data=st.data())
def test_it_is_the_same_program(cell, data):
    source = noisy(data, cell)
    assert tree(normal_form(source).replace("\0", "\n")) == tree(source)


def test_of_the_standard_library_it_is_the_same_program():
    files = sorted(Path(os.__file__).parent.glob("*.py"))[::10]
    for file in files:
        source = file.read_text(encoding="utf-8")
        form = normal_form(source)
        assert not re.search(r"\n\s*(#|\n)", form), file
        assert tree(form.replace("\0", "\n")) == tree(source), file
    assert len(files) > 15


@settings(max_examples=500, deadline=None)
@given(
    source=st.text(
        st.sampled_from([*LETTERS, "f", ")", "}", "]", "\r", "\0", ";", "$", "é", "\ud800"])
    )
)
@example("\\\n")
@example("f'{" * 200)
@example("%%time\n" * 5000)
@example("(" * 5000 + "#")
@example('"""' + "\\" * 10_001)
def test_any_text_has_one(source):
    assert isinstance(normal_form(source), str)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("print('a')  ", "print('a  ')"),
        ("'''a  \n'''", "'''a\n'''"),
        ("'''a\n\nb'''", "'''a\nb'''"),
        ("x = '#1'", "x = '#2'"),
        ("%%bash\nls # one", "%%bash\nls # two"),
        ("%%writefile a.txt\n\na", "%%writefile a.txt\na"),
        ("!ls # one", "!ls # two"),
        ("files = !ls # one", "files = !ls # two"),
        ("%time f('#1')", "%time f('#2')"),
        ("%timeit -n 1 f()", "%timeit -n 2 f()"),
        ("x = 1 \\\n\n+ 2", "x = 1 \\\n+ 2"),
        ("x = 1 \\\n# c\n+ 2", "x = 1 \\\n+ 2"),
        ("!ls \\\n\nf() # c", "!ls \\\nf() # c"),
        ("if a:\n    b\n    c", "if a:\n    b\nc"),
        ("print('a') # it's\n'#1'", "print('a') # it's\n'#2'"),
        ("it's # broken", "it's # mended"),
        ("'''open # broken", "'''open # mended"),
        (",f a # one", ",f a # two"),
        ("f\"{d['#1']}\" # c", "f\"{d['#2']}\" # c"),
        ('f"{d["#1"]}" # c', 'f"{d["#2"]}" # c'),
        ('f"{\'}\' + "#1"}" # c', 'f"{\'}\' + "#2"}" # c'),
        ("a\nb", "b\na"),
    ],
)
def test_what_means_something_else_is_something_else(one, other):
    assert normal_form(one) != normal_form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1\r\n\r\n# c\r\n"),
        ("a = '''\n'''", "a = '''\r\n''' # c"),
        ("%%time\nf()", "%%time  \n\nf()  # c"),
        ("%%capture out\nf()", "\n%%capture out\nf()\n# c"),
        ("(a\n% x)", "(a\n% x) # c"),
        ("await f()", "await f() # c"),
        (">>> f()", ">>> f() # c"),
        ("x = f'{a:{b}}'", "x = f'{a:{b}}' # c"),
        ("%matplotlib inline", "%matplotlib inline\n\n# c"),
    ],
)
def test_what_means_the_same_is_the_same(one, other):
    assert normal_form(one) == normal_form(other)


def test_a_cell_of_ten_thousand_lines_takes_a_fraction_of_a_second():
    lines = ["x = f(1, '#')  # a comment", "", 'y = """\n\n"""', "print(f'{x} {y!r}')"]
    source = "\n".join(lines * 2500)
    start = time.perf_counter()
    assert normal_form(source).count("comment") == 0
    assert time.perf_counter() - start < 2


# --- the code of a notebook -----------------------------------------------------------------------


def notebook_code(make, *cells, name="a.b"):
    """The fingerprint of a notebook with these cells below its declaration."""
    declaration = cell("op_parameters = {}", "op_parameters")
    return make.notebook(name, document(declaration, *cells)).project.steps[name].code


def test_it_is_a_sha256_in_hexadecimal(make):
    assert re.fullmatch("[0-9a-f]{64}", notebook_code(make))


def test_comments_prose_outputs_and_metadata_are_no_code(make):
    before = notebook_code(make, cell("x = 1"), cell("y = 2"))
    output = {"output_type": "stream", "name": "stdout", "text": "1"}
    changed = {**cell("# why\nx = 1  \n\n", "hide"), "outputs": [output], "execution_count": 3}
    prose, raw = cell("text", kind="markdown"), cell("x = 3", kind="raw")
    assert notebook_code(make, prose, changed, raw, cell("# nothing yet"), cell("y = 2")) == before


@pytest.mark.parametrize(
    "cells",
    [
        [cell("y = 2"), cell("x = 1")],
        [cell("x = 1\ny = 2")],
        [cell("x = 1"), cell("y = 3")],
        [cell("x = 1"), cell("y = 2"), cell("%time")],
        [cell("x = 1", "parameters"), cell("y = 2")],
        [cell("x = 1"), cell("y = 2", "raises-exception")],
        [cell("x = 1"), cell("y = 2", "skip-execution")],
        [cell("", "parameters"), cell("x = 1"), cell("y = 2")],
    ],
)
def test_code_the_order_of_cells_and_the_tags_that_matter_change_it(make, cells):
    before = notebook_code(make, cell("x = 1"), cell("y = 2"))
    assert notebook_code(make, *cells) != before


def test_it_is_the_same_for_a_text_notebook_of_the_same_code(make):
    notebook = step_cells("{}", "n: int = 1  # how many", cell("%matplotlib inline\nx = n"))
    text = "\n\n".join(
        f"# %%{' tags=' + json.dumps(tags) if (tags := each['metadata'].get('tags')) else ''}\n"
        + each["source"].replace("%matplotlib", "# %matplotlib")
        for each in notebook["cells"]
    )
    steps = make.notebook("a.one", notebook).file("stages/a/two.py", text).project.steps
    assert steps["a.one"].code == steps["a.two"].code


def test_reading_a_project_to_check_it_does_not_work_it_out(make, monkeypatch):
    make.step("a.b").register()

    def fail(source):
        raise AssertionError(source)

    monkeypatch.setattr(fingerprints, "normal_form", fail)
    assert check_project(make.root).errors == []
    with pytest.raises(AssertionError):
        _ = make.project.steps["a.b"].code


def test_whatever_a_notebook_holds_it_has_one(make):
    (make.root / "stages" / "a").mkdir(parents=True)
    found = set()
    for number in range(1000):
        kind = ("notebook", "script")[number % 2]
        path = f"stages/a/b.{'ipynb' if kind == 'notebook' else 'py'}"
        make.file(path, getattr(hostile, kind)(Random(number)))
        with suppress(ProjectError):
            notebook = read_notebook(make.root / path, path)
            found.add(Code.of_notebook(notebook, Modules(make.root)).fingerprint)
    assert len(found) > 500


def test_plain_sources_have_one_too(make):
    def code(text):
        return Code.of_file("stages/a/b.py", text, Modules(make.root)).fingerprint

    make.file("pkg/x.py", "n = 1")
    before = code("from pkg import x\n\ndef step_fn(): return x.n\n")
    assert code("from pkg import x\n# why\ndef step_fn(): return x.n\n") == before
    assert code("from pkg import x\n\ndef step_fn(): return x.m\n") != before
    make.file("pkg/x.py", "n = 2")
    assert code("from pkg import x\n\ndef step_fn(): return x.n\n") != before


# --- the modules that code imports ----------------------------------------------------------------


def imported(make, *sources):
    """The names of the project's modules that cells of a notebook of the stage `a` import."""
    folder = make.root / "stages" / "a"
    folder.mkdir(parents=True, exist_ok=True)
    return [module.name for module in Modules(make.root).imported_by(sources, folder)]


@pytest.fixture
def package(make):
    """A project with a package, a folder of modules, a module at its top and one in the stage."""
    for path in ("pkg/__init__", "pkg/one", "pkg/two", "pkg/sub/__init__", "pkg/sub/deep"):
        make.file(f"{path}.py", "")
    for path in ("space/part/leaf", "top", "stages/a/beside", "stages/b/elsewhere"):
        make.file(f"{path}.py", "")
    return make


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import pkg", ["pkg"]),
        ("import pkg.one as o, os", ["pkg", "pkg.one"]),
        ("import pkg.sub.deep", ["pkg", "pkg.sub", "pkg.sub.deep"]),
        ("from pkg import one, two, name", ["pkg", "pkg.one", "pkg.two"]),
        ("from pkg.sub import deep", ["pkg", "pkg.sub", "pkg.sub.deep"]),
        ("from pkg import sub", ["pkg", "pkg.sub"]),
        ("from pkg import *", ["pkg", "pkg.one", "pkg.sub", "pkg.two"]),
        ("from space.part import leaf", ["space.part.leaf"]),
        ("import top; import beside", ["beside", "top"]),
        ("from stages.b import elsewhere", ["stages.b.elsewhere"]),
        ("def f():\n    try:\n        import top\n    except ImportError:\n        pass", ["top"]),
        ("%matplotlib inline\nimport top", ["top"]),
        ("%%time\nimport top", ["top"]),
        ("d['x'] = !ls\nimport top\nfor x in y: import beside", ["beside", "top"]),
        ("import importlib\nm = importlib.import_module('pkg.one')", ["pkg", "pkg.one"]),
        ("m = import_module('.one', package='pkg')", ["pkg", "pkg.one"]),
        ("m = import_module(name='..two', package='pkg.sub')", ["pkg", "pkg.two"]),
        ("m = __import__('top')", ["top"]),
        ("m = import_module('.'.join(top))", []),
        ("import pkg.missing.one", ["pkg"]),
        ("from . import top", []),
        ("import elsewhere", []),
        ("import numpy, json", []),
        ("# import top", []),
        ("top = 'import'", []),
        ("import top.missing", ["top"]),
        ("it's broken: import top", []),
    ],
)
def test_an_import_names_modules_of_the_project(package, source, names):
    assert imported(package, source) == names


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("pkg/__init__.py", "from .one import n", ["pkg", "pkg.one"]),
        ("pkg/__init__.py", "from . import one", ["pkg", "pkg.one"]),
        ("pkg/__init__.py", "from pkg.sub import deep", ["pkg", "pkg.sub", "pkg.sub.deep"]),
        ("pkg/__init__.py", "from .. import top", ["pkg"]),
        (
            "pkg/__init__.py",
            "def f():\n    return importlib.import_module('.two', __package__)",
            ["pkg", "pkg.two"],
        ),
        ("pkg/__init__.py", "import beside", ["beside", "pkg"]),
        ("pkg/__init__.py", "import pkg.__init__", ["pkg"]),
        ("pkg/__init__.py", "import broken(", ["pkg"]),
    ],
)
def test_the_imports_of_a_module_are_followed(package, file, text, names):
    package.file(file, text)
    assert imported(package, "import pkg") == names


def test_relative_imports_begin_at_the_package_of_their_module(package):
    package.file("pkg/sub/deep.py", "from ..one import n\nfrom . import *")
    assert imported(package, "import pkg.sub.deep") == ["pkg", "pkg.one", "pkg.sub", "pkg.sub.deep"]


def test_a_circle_of_imports_is_followed_once(package):
    package.file("pkg/one.py", "from pkg import two").file("pkg/two.py", "from pkg import one")
    assert imported(package, "import pkg.one") == ["pkg", "pkg.one", "pkg.two"]


def test_a_link_that_leads_round_in_a_circle_is_followed_once(package):
    for name in ("loop", "again"):
        (package.root / "pkg" / name).symlink_to(".")
    package.file("pkg/__init__.py", "from . import *")
    assert imported(package, "import pkg") == ["pkg", "pkg.one", "pkg.sub", "pkg.two"]


def test_what_python_imports_of_a_project_is_found(package):
    package.file("pkg/__init__.py", "from .one import *\nfrom . import sub")
    package.file("pkg/one.py", "import beside, space.part.leaf as leaf")
    package.file("pkg/sub/__init__.py", "from importlib import import_module\nimport_module('top')")
    package.file("stages/a/beside.py", "from stages.b.elsewhere import __name__ as name")
    package.file("top.py", "import pkg.sub.deep").file("stages/a/top.py", "from pkg import two")
    code = (
        "import pkg, sys\nprint({n: getattr(m, '__file__', None) for n, m in sys.modules.items()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=package.root / "stages" / "a",
        env={"PYTHONPATH": str(package.root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = ast.literal_eval(done.stdout)
    ours = {n for n, file in loaded.items() if file and Path(file).is_relative_to(package.root)}
    assert len(ours) == 8
    assert set(imported(package, "import pkg")) == ours


def test_the_runtime_is_not_followed(make):
    make.file("dsml/__init__.py", "import top").file("dsml/step.py", "").file("top.py", "")
    assert imported(make, "from dsml import get_context, step") == []


def test_a_module_beside_the_notebook_comes_first(make):
    before = make.file("tools.py", "x = 1").file("stages/a/tools.py", "y = 2")
    code = notebook_code(before, cell("import tools"))
    assert notebook_code(make.file("tools.py", "x = 3"), cell("import tools")) == code
    assert notebook_code(make.file("stages/a/tools.py", "y = 3"), cell("import tools")) != code


def test_a_package_comes_before_a_module_and_a_module_before_a_folder(make):
    make.file("one/__init__.py", "").file("one.py", "import two")
    make.file("two.py", "").file("two/three.py", "")
    assert imported(make, "import one, two.three") == ["one", "two"]


def test_a_pipe_and_a_folder_with_the_name_of_a_module_are_not_read(make):
    os.mkfifo(make.root / "pipe.py")
    (make.root / "folder.py").mkdir()
    assert imported(make, "import pipe, folder") == ["folder", "pipe"]
    assert notebook_code(make, cell("import pipe, folder"))


def test_a_module_that_is_no_text_is_compared_by_its_bytes(make):
    before = notebook_code(make.file("top.py", b"x = '\xff'"), cell("import top"))
    assert notebook_code(make.file("top.py", b"x = '\xfe'"), cell("import top")) != before


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("pkg/one.py", "# why\n\nn = 1  # how many\n", False),
        ("pkg/one.py", "n = 2", True),
        ("pkg/two.py", "m = 1", False),
        ("pkg/__init__.py", "import json", True),
        ("pkg/data.csv", "2", False),
        ("tests/test_pkg.py", "import pkg", False),
        ("dsml/__init__.py", "", False),
    ],
)
def test_a_module_changes_the_code_of_the_steps_that_import_it(make, file, text, changes):
    make.file("pkg/__init__.py", "").file("pkg/one.py", "n = 1").file("pkg/data.csv", "1")
    source = cell("from dsml import get_context\nfrom pkg.one import n")
    before = notebook_code(make, source)
    other = notebook_code(make, cell("n = 1"), name="a.other")
    make.file(file, text)
    assert (notebook_code(make, source) != before) == changes
    assert notebook_code(make, cell("n = 1"), name="a.other") == other


def test_a_module_that_moves_changes_it_and_a_project_that_moves_does_not(make, tmp_path_factory):
    make.file("pkg/one.py", "n = 1").step("a.b")
    source = cell("from pkg import *")
    before = notebook_code(make, source)
    moved = tmp_path_factory.mktemp("moved") / "project"
    make.root.rename(moved)
    other = type(make)(moved)
    assert notebook_code(other, source) == before
    (moved / "pkg" / "one.py").rename(moved / "pkg" / "two.py")
    assert notebook_code(other, source) != before
    moved.rename(make.root)


# --- the fingerprint of a step --------------------------------------------------------------------

STEP = {
    "code": "c0de",
    "parameters": {"n": 1, "names": ["a", "b"]},
    "inputs": {"train": "5ha", "parts": {"n=1": "1", "n=2": "2"}},
    "outs": {"model": "model.joblib", "plot": "plot.png"},
    "optional": frozenset({"plot", "model"}),
}


def test_the_order_of_names_does_not_change_it():
    turned = {
        **STEP,
        **{k: dict(reversed(STEP[k].items())) for k in ("parameters", "inputs", "outs")},
    }
    assert fingerprint(**turned) == fingerprint(**STEP)
    assert re.fullmatch("[0-9a-f]{64}", fingerprint(**STEP))


def test_it_is_the_same_on_every_machine_and_in_every_process():
    known = "2052bfe89e7845cb0a1a7cd0c186925118e586a8719a4ac496758d69b651a336"
    assert fingerprint(**STEP) == known


@pytest.mark.parametrize(
    "change",
    [
        {"code": "c0d3"},
        {"parameters": {"n": 1, "names": ["b", "a"]}},
        {"parameters": {"n": 1}},
        {"inputs": {"train": "5hb", "parts": STEP["inputs"]["parts"]}},
        {"inputs": {"train": "5ha", "parts": {"n=1": "2", "n=2": "1"}}},
        {"inputs": {"test": "5ha", "parts": STEP["inputs"]["parts"]}},
        {"outs": {"model": "model.skops", "plot": "plot.png"}},
        {"outs": {"fitted": "model.joblib", "plot": "plot.png"}},
        {"optional": ["plot"]},
    ],
)
def test_everything_that_a_step_depends_on_changes_it(change):
    assert fingerprint(**{**STEP, **change}) != fingerprint(**STEP)


def test_values_that_python_finds_equal_are_different():
    values = [1, 1.0, True, "1", [1], 0, -0.0, 0.0, False, None, "None", "", [], {}]
    assert len({fingerprint("", {"n": value}, {}, {}) for value in values}) == len(values)
