"""The warnings of `dsml check`: when they are given, when not, and how they are silenced."""

from __future__ import annotations

import json
import re
import time
from textwrap import dedent

import pytest

from dsml.contract.advice import ADVICE
from dsml.contract.problem import render
from dsml.contract.register import check_project

from .conftest import RUNTIME, cell, document

CONTEXT = "context = get_context(op_parameters)"
DECLARED = '{"ins": {"train": "a.a.x"}, "outs": {"model": "m.json"}}'
SAVE = 'context.save("model", {})'
LOAD = 'train = context.load("train")'


@pytest.fixture
def warnings(make):
    """The warnings about a notebook that reads `train` and writes `model`: `name cell line`."""

    def warnings(*sources, op_parameters=DECLARED, metadata=None):
        make.notebook(
            "a.a",
            document(
                cell('op_parameters = {"outs": {"x": "x.json"}}', "op_parameters"),
                cell(f"{CONTEXT}\ncontext.save('x', 1)"),
            ),
        )
        cells = [cell(f"op_parameters = {op_parameters}", "op_parameters"), *map(cell, sources)]
        for number, extra in (metadata or {}).items():
            cells[number - 1].update(extra)
        make.notebook("b.b", document(*cells))
        found = check_project(make.root)
        assert render(found.errors) == ""
        told = [p for p in found.problems if p.severity == "warning"]
        assert {problem.where.path for problem in told} <= {"stages/b/b.ipynb"}
        return [f"{p.name} {p.where.cell} {p.where.line or ''}".strip() for p in told]

    return warnings


# --- ins and outs

UNREAD, UNWRITTEN = "unused-in 1 1", "unwritten-out 1 1"


def test_a_notebook_that_reads_its_ins_and_writes_its_outs_is_not_warned_about(warnings):
    assert warnings(CONTEXT, LOAD, SAVE) == []


@pytest.mark.parametrize(
    "use",
    [
        'context.load("train")',
        "context.load( 'train' )",
        'context.load(name="train")',
        "pd.read_csv(context.ins.train)",
        'open(context.ins["train"])',
        'context.ins.get("train")',
        "ins = context.ins\nopen(ins.train)",
        'ins = context.ins\nopen(ins["train"])',
        "c = context\nc.load('train')",
        'fetch = context.load\nfetch("train")',
        "for name in context.ins:\n    print(context.load(name))",
        "for name, path in context.ins.items():\n    print(path)",
        "name = 'tr' + 'ain'\ncontext.load(name)",
        "prepare(context)",
        "data = [context]",
        "getattr(context.ins, 'train')",
        "x = {**context.ins}",
        "def read(context):\n    return context.load('train')\nread(context)",
        "def read():\n    return context.load('train')",
        "frames = list(map(context.load, context.ins))",
        '%time train = context.load("train")',
        "%%time\ntrain = context.load('train')",
        "!head {context.ins.train}",
        "%%bash\nhead $context",
        "context.setting",
    ],
)
def test_an_in_that_may_be_read_is_not_warned_about(warnings, use):
    assert UNREAD not in warnings(CONTEXT, use, SAVE)


@pytest.mark.parametrize(
    "use",
    [
        "",
        '# train = context.load("train")',
        'context.load("model")',
        "print(context.ins)",
        "context",
        'mycontext.load("train")',
        'self.context.load("train")',
        "context.outs.train",
        "context.config.train",
        'joblib.load("train")',
        "ins = context.ins",
        "%%bash\necho train",
        'f"{context}"',
    ],
)
def test_an_in_that_nothing_reads_is_warned_about(warnings, use):
    assert warnings(CONTEXT, use, SAVE) == [UNREAD]


@pytest.mark.parametrize(
    "use",
    [
        'context.save("model", 1)',
        "context.save(name='model', obj=1)",
        "m.dump(context.outs.model)",
        "context.outs['model'].write_text('')",
        "for out in context.outs.values(): out.touch()",
        "with context.outs.model.open('w') as f:\n    f.write('')",
        "finish(context.outs)",
    ],
)
def test_an_out_that_may_be_written_is_not_warned_about(warnings, use):
    assert warnings(CONTEXT, LOAD, use) == []


@pytest.mark.parametrize(
    "use", ["", 'context.load("model")', "context.ins.model", "# context.save('model', 1)"]
)
def test_an_out_that_nothing_writes_is_warned_about(warnings, use):
    assert UNWRITTEN in warnings(CONTEXT, LOAD, use)


@pytest.mark.parametrize(
    "context",
    [
        "context = dsml.get_context(op_parameters)",
        "context: Context = get_context(op_parameters)",
        "a = context = get_context(op_parameters)",
        "context = get_context(\n    op_parameters,\n    step='b.b',\n)",
    ],
)
def test_the_context_may_be_fetched_in_any_way(warnings, context):
    assert warnings(context, LOAD, SAVE) == []
    assert warnings(context) == [UNREAD, UNWRITTEN]


@pytest.mark.parametrize(
    "source",
    [
        "get_context(op_parameters).load('train')\nget_context(op_parameters).save('model', 1)",
        "from dsml import get_context as gc  # get_context(\ncontext = gc(op_parameters)",
        "(c := get_context(op_parameters)).load('train')",
        f"{CONTEXT}\nx = (\ncontext",
        "\n".join(f"def f{i}():\n    c{i} = c{i + 1}" for i in range(9)) + f"\nc9 = {CONTEXT[10:]}",
    ],
)
def test_where_it_cannot_be_told_nothing_is_said(warnings, source):
    assert warnings(source) == []


def test_the_warning_stands_at_the_declaration_and_says_how_to_mend_it(make):
    make.notebook(
        "b.b",
        document(
            cell('op_parameters = {\n\n"outs": {\n"model": "m.json"}}', "op_parameters"),
            cell(CONTEXT),
        ),
    ).register()
    assert make.notes == dedent("""\
        stages/b/b.ipynb, cell 1 (op_parameters), line 4
          warning: outs.model: no cell writes it
          write it with context.save("model", ...) or to context.outs.model, or take it out""")


# --- absolute paths


@pytest.mark.parametrize(
    "code",
    [
        'pd.read_csv("/home/ann/data.csv")',
        "path = '/Users/ann/data.csv'",
        'x = Path("/tmp")',
        r'x = "C:\\Users\\ann\\data.csv"',
        r'x = r"D:\data\x.csv"',
        'x = "C:/data/x.csv"',
        r'x = r"\\server\share\x.csv"',
        'x = f"/home/{user}/x.csv"',
        'open("/data/x.csv")',
        'pd.read_parquet(["/data/x.parquet", "b"])',
        'df.to_csv("/results/x.csv")',
        'np.save(file="/x.npy", arr=a)',
        'os.path.join("/data", "x")',
        '"/mnt/disk/" + name',
        'open("~/x.csv")',
        'x = ["/var/lib/x", 1]',
        "def f(path='/srv/x'): pass",
        'open("/a folder/x")',
        "%matplotlib inline\nx = '/opt/x'",
    ],
)
def test_an_absolute_path_is_warned_about(warnings, code):
    line = code.count("\n") + 1
    assert warnings(CONTEXT, LOAD, SAVE, code) == [f"absolute-path 5 {line}"]


@pytest.mark.parametrize(
    "code",
    [
        'requests.get("/home/page")',
        '@app.route("/tmp/x")\ndef f(): pass',
        'client.post("/api/v1/data", json={})',
        'x = "/api/v1/data"',
        'x = "/"',
        'x = a + "/tmp/x"',
        'x = f"{root}/home/x"',
        'x = "https://example.org/tmp/x"',
        'open("https://example.org/tmp/x")',
        'open("//example.org/x")',
        '"/tmp/x is no path, but a sentence that stands alone"',
        'name.startswith("/home/ann")',
        'assert name == "/tmp/x"',
        'name.replace("/home/ann/", "")',
        'open("/dev/null")',
        'open("/proc/cpuinfo")',
        'open("data/x.csv")',
        '"/".join(parts)',
        "x = 1  # '/home/ann/x'",
        r're.sub(r"\\d+\\w", "", x)',
        r'x = "\\alpha\\beta"',
        'x = "~"',
        "!ls '/home/ann'",
        "%cd '/home/ann'",
        "x = (\n'/home/ann'",
        "'''\n/home/ann/x\n'''",
        "x = '/homepage/x'",
    ],
)
def test_other_texts_that_begin_with_a_slash_are_not(warnings, code):
    assert warnings(CONTEXT, LOAD, SAVE, code) == []


# --- secrets

AWS = "AKIA" + "ABCDEFGH12345678"
GITHUB = "ghp_" + "a1" * 18


@pytest.mark.parametrize(
    "code",
    [
        'password = "hunter2"',
        "DB_PASSWORD: str = 'hunter2'",
        'api_key = "abc"',
        'apiKey = "abc"',
        'openai.api_key = "abc"',
        'token = "a8s7d6f5g4h3"',
        'os.environ["AWS_SECRET_ACCESS_KEY"] = "wJalrXUtnFEMI"',
        'connect(user="x", password="hunter2")',
        '{"client_secret": "s3cr3t"}',
        'x = {"db-password": b"hunter2"}',
        'os.getenv("DB_PASSWORD", "hunter2")',
        "def connect(host, password='hunter2'): pass",
        "def connect(*, passwd='hunter2'): pass",
        "(secret := 'hunter2')",
        f"key = '{AWS}'",
        f"# {GITHUB}",
        f"%env X={GITHUB}",
        "!curl -H 'Authorization: Bearer sk-proj-" + "aB3" * 10 + "'",
        "pem = '''-----BEGIN RSA PRIVATE KEY-----\nabc'''",
        "engine = 'postgresql://ann:hunter2@db.example.org/x'",
        f'token = "{GITHUB}"',
    ],
)
def test_a_secret_is_warned_about_once(warnings, code):
    assert warnings(CONTEXT, LOAD, SAVE, code) == ["secret 5 1"]


@pytest.mark.parametrize(
    "code",
    [
        'password = ""',
        "password = None",
        'password = os.environ["DB_PASSWORD"]',
        'password = getpass("Password: ")',
        'password = "<your password>"',
        'password = "..."',
        'password = "***"',
        'password = "changeme"',
        'password = "$DB_PASSWORD"',
        'password = "${DB_PASSWORD}"',
        'password = f"{word}"',
        'token = "GITHUB_TOKEN"',
        'token = "the"',
        'unk_token = "[UNK]"',
        'tokenizer = "bert-base-uncased-2024"',
        'tokens = "a8s7d6f5g4h3"',
        'sort_key = "date"',
        'key = "a8s7d6f5g4h3"',
        'dtype = {"token": "category"}',
        'password_column = "pw"',
        "print('wrong password')",
        "url = 'https://example.org:8080/@ann'",
        "url = f'postgresql://{user}:{password}@host'",
        "url = 'postgresql://user:<password>@host'",
        "name = 'task-0123456789-abcdefghijkl'",
        "import secrets\nvalue = secrets.token_hex(8)",
        "x = (\npassword = 'hunter2'",
    ],
)
def test_what_only_looks_a_little_like_a_secret_is_not(warnings, code):
    assert warnings(CONTEXT, LOAD, SAVE, code) == []


def test_a_secret_is_not_repeated_in_its_message(make):
    make.notebook(
        "b.b",
        document(
            cell("op_parameters = {}", "op_parameters"), cell(f"password = 'hunter2'\n# {AWS}")
        ),
    ).register()
    fix = 'read it when it is needed: os.environ["NAME"]; if it was committed, make a new one'
    assert make.notes == (
        f"stages/b/b.ipynb, cell 2, line 1\n  warning: password: a secret is written here\n"
        f"  {fix}\n\n"
        f"stages/b/b.ipynb, cell 2, line 2\n  warning: an access key of AWS is written here\n"
        f"  {fix}"
    )


# --- stored outputs


@pytest.mark.parametrize(
    "extra",
    [
        {"outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}]},
        {"execution_count": 3},
        {"prompt_number": 1},
    ],
)
def test_stored_outputs_and_execution_counts_are_warned_about(warnings, extra):
    assert warnings(CONTEXT, LOAD, SAVE, metadata={3: extra}) == ["stored-outputs 3"]


def test_stored_outputs_are_told_once_a_notebook(make):
    made = document(cell("op_parameters = {}", "op_parameters"), *(cell("1") for _ in range(3)))
    for each in made["cells"]:
        each["execution_count"] = 1
    make.notebook("b.b", made).register()
    assert make.notes == dedent("""\
        stages/b/b.ipynb, cell 1 (op_parameters)
          warning: 4 cells hold stored outputs or execution counts, which git keeps for ever
          make format, or: nbstripout --keep-id stages/b/b.ipynb""")


# --- silence

BOTH = "x = '/home/ann/x'\npassword = 'hunter2'"


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("# dsml: ignore[absolute-path]", ["secret 5 2"]),
        ("#dsml:ignore[ secret ]", ["absolute-path 5 1"]),
        ("# dsml: ignore[secret, absolute-path]", []),
        ("# it has to be so  # dsml: ignore[secret] because", ["absolute-path 5 1"]),
        ("# dsml: ignore[secret]\n# dsml: ignore[absolute-path]", []),
        ("# dsml: ignore", []),
        ("# dsml: ignored", ["absolute-path 5 1", "secret 5 2"]),
        ("# dsml: ignore[]", ["absolute-path 5 1", "secret 5 2"]),
    ],
)
def test_a_comment_silences_the_warnings_of_its_cell(warnings, comment, left):
    assert warnings(CONTEXT, LOAD, SAVE, f"{BOTH}\n{comment}") == left


def test_a_comment_does_not_reach_into_other_cells(warnings):
    assert warnings(CONTEXT, LOAD, SAVE, "# dsml: ignore", BOTH) == [
        "absolute-path 6 1",
        "secret 6 2",
    ]


def test_unused_ins_and_outs_are_silenced_where_they_are_declared(warnings):
    declared = f"{DECLARED}  # dsml: ignore[unused-in]"
    assert warnings(CONTEXT, op_parameters=declared) == [UNWRITTEN]
    assert warnings(CONTEXT, op_parameters=f"{DECLARED}  # dsml: ignore") == []


def test_stored_outputs_are_silenced_cell_by_cell(warnings):
    counted = {"execution_count": 1}
    keep = f"{SAVE}  # dsml: ignore[stored-outputs]"
    assert warnings(CONTEXT, LOAD, keep, metadata={4: counted}) == []
    assert warnings(CONTEXT, LOAD, keep, metadata={3: counted, 4: counted}) == ["stored-outputs 3"]


def test_an_unknown_name_is_answered_with_the_nearest(make):
    made = document(
        cell("op_parameters = {}", "op_parameters"),
        cell("1\n# dsml: ignore[secret, absolut-path]"),
    )
    assert make.notebook("b.b", made).register().notes == dedent("""\
        stages/b/b.ipynb, cell 2, line 2
          warning: dsml: ignore: there is no warning 'absolut-path'
          did you mean 'absolute-path'?""")


# --- the whole


def test_warnings_are_given_where_the_contract_is_broken_as_well(make):
    make.notebook("b.b", document(cell("x = '/home/ann/x'")))
    names = sorted(problem.name for problem in check_project(make.root).problems)
    assert names == ["absolute-path", "no-op-parameters"]


def test_the_readme_of_a_project_lists_every_warning_with_its_meaning():
    readme = (RUNTIME / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Checks and warnings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", section, re.MULTILINE)
    assert dict(rows) == dict(ADVICE)


def test_the_time_that_warnings_take_grows_with_the_notebooks_only(warnings, make):
    """A cell of 20,000 lines, and some of pathological words."""
    long = "x_y = get(a)  # " + "word " * 20 + "\n"
    start = time.process_time()
    hostile = [
        "a_" * 100_000,
        "-sk-" * 50_000,
        "://a:" * 50_000,
        "#" * 100_000,
        "password" * 20_000,
    ]
    cells = [f"y = '{text}'" for text in hostile]
    assert warnings(CONTEXT, LOAD, SAVE, long * 20_000, *cells) == []
    assert time.process_time() - start < 3


def test_no_code_is_run_and_nothing_but_json_is_read(make):
    """Whatever a source holds, warnings are found or not, and nothing else happens."""
    odd = ["\0", "\ud800", "f'{", "'" * 7, "((" * 500, "-" * 5000 + "1", "lambda: (yield)"]
    sources = [f"{CONTEXT}\npassword = '/home/x'\n{text}" for text in odd]
    made = document(cell(f"op_parameters = {DECLARED}", "op_parameters"), *map(cell, sources))
    make.file("stages/b/b.ipynb", json.dumps(made))
    assert check_project(make.root).problems


def test_a_fresh_project_is_not_warned_about(digits, empty):
    assert [render(check_project(project).problems) for project in (digits, empty)] == ["", ""]
