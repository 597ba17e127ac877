"""`python -m dsml check` and `register`, as the user sees them."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from .conftest import CONTEXT, cell, document, step_cells


def error(make, *arguments):
    """The one error of a check that fails, without the notes on drafts and the line that counts."""
    done = make.run("check", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    *told, counted = done.stderr.rstrip("\n").split("\n\n")
    assert counted.endswith(" and catalog.yml checked: 1 error")
    (found,) = (part for part in told if "\n  note: " not in part)
    return found


WRONG = {
    "a notebook that is no JSON": (
        {"train/fit": "{\n oops"},
        """\
        stages/train/fit.ipynb, line 2
          the notebook is no JSON: Expecting property name enclosed in double quotes
          restore the file from git, or save it again from Jupyter""",
    ),
    "a notebook without op_parameters": (
        {"train/fit": document(cell("x = 1"))},
        """\
        stages/train/fit.ipynb
          no cell is tagged 'op_parameters'
          add a cell with op_parameters = {...} and tag it (in JupyterLab: property inspector)""",
    ),
    "two cells with op_parameters": (
        {"train/fit": step_cells("{}", "", cell("op_parameters = {}", "op_parameters"))},
        """\
        stages/train/fit.ipynb, cell 3 (op_parameters)
          a second cell is tagged 'op_parameters'; the first is cell 1
          keep one of the two""",
    ),
    "a value that is no literal": (
        {"train/fit": step_cells('{\n"description": "n is " + n\n}')},
        """\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 2
          description: `'n is ' + n` is no literal
          write the value out; the cell is read without being run""",
    ),
    "an unknown key": (
        {"train/fit": step_cells('{\n\n"descripton": "x"\n}')},
        """\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 3
          descripton: op_parameters has no such key
          did you mean 'description'?""",
    ),
    "an unknown catalog path": (
        {
            "prepare/split": step_cells('{"outs": {"train": "a.csv"}}'),
            "train/fit": step_cells('{\n"ins": {\n"train": "prepare.split.trian"}}'),
        },
        """\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 3
          ins.train: no step publishes 'prepare.split.trian'
          did you mean 'prepare.split.train'?""",
    ),
    "a cycle": (
        {
            "a/a": step_cells('{"ins": {"x": "b.b.x"},\n"outs": {"x": "x.csv"}}'),
            "b/b": step_cells('{"ins": {"x": "a.a.x"},\n"outs": {"x": "x.csv"}}'),
        },
        """\
        stages/a/a.ipynb, cell 1 (op_parameters), line 1
          ins.x: the steps run in a circle: a.a → b.b → a.a
          take one of them out of the circle, for instance this ins""",
    ),
    "a duplicate of a step": (
        {"a/b__c": step_cells(), "a__b/c": step_cells()},
        """\
        stages/a__b/c.ipynb
          'a__b.c' and 'a.b__c' are the same name to Dagster or to a disk
          rename one of the two""",
    ),
    "a duplicate of an out": (
        {"train/fit": step_cells('{"outs": {"a": "a.csv",\n"a": "b.csv"}}')},
        """\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 2
          outs: the key 'a' stands twice
          keep one of the two""",
    ),
    "a duplicate of a file": (
        {"train/fit": step_cells('{"outs": {"a": "a.csv",\n"b": "a.csv"}}')},
        """\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 2
          outs.b: 'a.csv' is also the file of outs.a
          give each out a file of its own""",
    ),
    "a duplicate of a parameter": (
        {"train/fit": step_cells("{}", "n: int = 1\nn: int = 2")},
        """\
        stages/train/fit.ipynb, cell 2 (parameters), line 2
          n: the parameter is assigned twice
          keep one of the two""",
    ),
    "a default that does not fit its type": (
        {"train/fit": step_cells("{}", "\nn: int = 1\nrate: float = 'fast'")},
        """\
        stages/train/fit.ipynb, cell 2 (parameters), line 2
          rate: the default 'fast' is no float
          change the default, or the type to str""",
    ),
    "a default that is no literal": (
        {"train/fit": step_cells("{}", "n: int = os.cpu_count()")},
        """\
        stages/train/fit.ipynb, cell 2 (parameters), line 1
          n: `os.cpu_count()` is no literal
          give a literal default, and compute from it in a later cell""",
    ),
    "a notebook's name that is no identifier": (
        {"train/1-fit": step_cells()},
        """\
        stages/train/1-fit.ipynb
          '1-fit' is no Python identifier
          rename it to stages/train/_1_fit.ipynb""",
    ),
    "an out's name that is no identifier": (
        {"train/fit": step_cells('{"outs": {\n"the model": "m.joblib"}}')},
        """\
        stages/train/fit.ipynb, cell 1 (op_parameters), line 2
          outs.the model: the name is no identifier
          name it 'the_model'""",
    ),
}


def fill(make, notebooks):
    for name, made in notebooks.items():
        make.file(f"stages/{name}.ipynb", made if isinstance(made, str) else json.dumps(made))
    return make


@pytest.mark.parametrize("mistake", WRONG)
def test_each_mistake_is_told_with_its_place_and_how_to_mend_it(make, mistake):
    notebooks, message = WRONG[mistake]
    assert error(fill(make, notebooks)) == dedent(message)


def test_all_mistakes_of_all_files_are_told_at_once_in_the_order_of_files(make):
    make.catalog("version: 2\nexperiments: {a b: {}}\nprojet: x\n")
    make.file("stages/a/broken.ipynb", "")
    make.notebook("b.none", document(cell("1 / 0")))
    make.step("b.two", '{\n"inns": {},\n"ins": {"x": "no.such.path"}}', "n: int = 'x'\nm: itn = 1")
    make.file("stages/c/my nb.ipynb", "{}")
    done = make.run("check")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == dedent("""\
        catalog.yml, line 1
          version: 2 is unknown
          write: version: 1

        catalog.yml, line 2
          experiments.a b: 'a b' is no usable name
          use letters, digits, '_', '-' and '.'

        catalog.yml, line 3
          projet: no such key
          did you mean 'project'?

        stages/a/broken.ipynb, line 1
          the notebook is no JSON: Expecting value
          restore the file from git, or save it again from Jupyter

        stages/b/none.ipynb
          no cell is tagged 'op_parameters'
          add a cell with op_parameters = {...} and tag it (in JupyterLab: property inspector)

        stages/b/two.ipynb, cell 1 (op_parameters), line 2
          inns: op_parameters has no such key
          did you mean 'ins'?

        stages/b/two.ipynb, cell 1 (op_parameters), line 3
          ins.x: no step publishes 'no.such.path'
          there is none yet

        stages/b/two.ipynb, cell 2 (parameters), line 1
          n: the default 'x' is no int
          change the default, or the type to str

        stages/b/two.ipynb, cell 2 (parameters), line 2
          m: the type `itn` is not known here; did you mean 'int'?
          use int, float, str, bool, list, dict, date, Secret, Optional[...] or Literal[...]

        stages/c/my nb.ipynb
          'my nb' is no Python identifier
          rename it to stages/c/my_nb.ipynb

        1 notebook and catalog.yml checked: 10 errors
        """)


def test_a_project_that_is_right_passes(make):
    done = make.step("a.a").step("b.b").register().run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 notebooks and catalog.yml checked: no errors\n"


def test_a_draft_is_noted_and_fails_nothing(make):
    done = make.step("a.a").run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == dedent("""\
        stages/a/a.ipynb
          note: is a draft: it is not registered, so no pipeline runs it
          dsml register stages/a/a.ipynb makes it a step

        1 notebook and catalog.yml checked: no errors
        """)


def test_nothing_of_a_notebook_is_run(make):
    mark = make.root / "was run"
    source = f"open({str(mark)!r}, 'w')\nimport no_such_module\nundefined\n1 / 0"
    cells = [cell(source), cell(f"{source}\nop_parameters = {{}}", "op_parameters"), cell(CONTEXT)]
    make.notebook("a.a", document(*cells, cell("%%bash\nexit 1"), cell("x = ("))).register()
    assert make.run("check").returncode == 0
    assert not mark.exists()


def test_a_catalog_that_cannot_be_read_is_the_one_mistake(make):
    assert error(make.catalog("version: 1\nproject: [\n").step("a.a")) == dedent("""\
        catalog.yml, line 3
          is no YAML: did not find expected node content
          mend the line; indent with spaces, quote text that holds ': ' or '#'""")


def test_a_check_of_one_file_shows_the_mistakes_of_that_file(make):
    make.step("a.a", '{"inns": {}}').step("b.b", '{"outts": {}}')
    assert error(make, "stages/b/b.ipynb") == dedent("""\
        stages/b/b.ipynb, cell 1 (op_parameters), line 1
          outts: op_parameters has no such key
          did you mean 'outs'?""")


def test_a_check_of_a_folder_shows_the_mistakes_of_what_is_in_it(make):
    make.step("a.a", '{"inns": {}}').step("ab.b", '{"outts": {}}')
    assert error(make, "stages/a").startswith("stages/a/a.ipynb, cell 1")


def test_a_check_of_the_project_folder_shows_all_mistakes(make):
    make.step("a.a", '{"inns": {}}')
    assert error(make, ".") == error(make)


def test_a_check_of_a_file_without_mistakes_passes(make):
    make.step("a.a", '{"inns": {}}').step("b.b")
    assert make.run("check", "catalog.yml").returncode == 0


def test_a_check_is_told_paths_from_where_it_is_started(make):
    make.step("a.a", '{"inns": {}}').step("b.b", '{"outts": {}}')
    done = make.run("check", "a.ipynb", cwd=make.root / "stages" / "a")
    assert done.returncode == 1
    assert done.stderr.startswith("stages/a/a.ipynb, cell 1 (op_parameters), line 1\n  inns:")


def test_a_path_that_is_not_there_is_wrong_usage(make):
    done = make.run("check", "stages/no.ipynb")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Path 'stages/no.ipynb' does not exist." in done.stderr


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["--json=x"]])
def test_an_unknown_option_is_wrong_usage(make, arguments):
    done = make.run("check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_of_a_project_the_message_says_so(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    done = make.run("check", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{folder}\n  neither this folder nor one above it has a catalog.yml\n"
        "  go to the folder of your project\n"
    )


def test_findings_as_json_have_place_text_name_and_severity(make):
    make.step("a.a", '{"inns": {}}').step("b.b")
    done = make.run("check", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == [
        {
            "path": "stages/a/a.ipynb",
            "cell": 1,
            "tag": "op_parameters",
            "line": 1,
            "what": "inns: op_parameters has no such key",
            "fix": "did you mean 'ins'?",
            "name": "unknown-key",
            "severity": "error",
        },
        {
            "path": "stages/b/b.ipynb",
            "cell": None,
            "tag": None,
            "line": None,
            "what": "is a draft: it is not registered, so no pipeline runs it",
            "fix": "dsml register stages/b/b.ipynb makes it a step",
            "name": "draft",
            "severity": "note",
        },
    ]


def test_no_findings_as_json_are_an_empty_list(make):
    done = make.run("check", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


# --- register


def test_register_says_what_it_did(make):
    make.step("a.a").step("b.b").register()
    make.step("a.a", '{"outs": {"x": "x.txt"}}').step("c.c")
    (make.root / "stages/b/b.ipynb").unlink()
    done = make.run("register")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "added    c.c\nchanged  a.a\nremoved  b.b\n"
    assert make.run("register").stdout == "the register is up to date\n"


def test_register_takes_paths(make):
    make.step("a.a").step("b.b")
    assert make.run("register", "b.ipynb", cwd=make.root / "stages/b").stdout == "added    b.b\n"


def test_register_writes_nothing_where_something_is_wrong(make):
    make.step("a.a").step("b.b", '{"inns": {}}')
    before = make.text
    done = make.run("register")
    assert (done.returncode, done.stdout, make.text) == (1, "", before)
    assert done.stderr == (
        "stages/b/b.ipynb, cell 1 (op_parameters), line 1\n"
        "  inns: op_parameters has no such key\n  did you mean 'ins'?\n"
    )
