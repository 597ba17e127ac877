"""Parameters of the type `Secret`: the name is kept, and the content is nowhere to be found."""

from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from conftest import run_command
from dagster import DagsterInvalidConfigError

from dsml.contract.secret import is_variable
from dsml.orchestrate.client import _unpack_redacted
from dsml.orchestrate.definitions import load_definitions
from dsml.step.redact import MASK, RedactedStream, Redactor

from .projects import Step, instance_of, last_run, start, wait_until, write_notebook, write_project

# With what has to be escaped in Python, JSON, HTML and addresses.
SECRET = "tr0ub4dor&3/'<ä>\"\\ %zz+Q"
# What a grep looks for: the secret as it is, and as it is usually written.
FORMS = {
    "plain": SECRET,
    "repr": repr(SECRET)[1:-1],
    "JSON": json.dumps(SECRET)[1:-1],
    "HTML": html.escape(SECRET),
    "URL": quote(SECRET, safe=""),
    "form": quote_plus(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode().rstrip("="),
    "hex": SECRET.encode().hex(),
}
PARAMETERS = 'token: "Secret" = "THE_TOKEN"  # opens the door'
LEAKS = [
    # read in two ways
    """
    import base64, html, json, os, subprocess, sys
    from urllib.parse import quote, quote_plus
    secret = context.secret("token")
    assert secret == os.environ["THE_TOKEN"]
    """,
    # prints, in one piece and in several, to both streams, from a process, and encoded
    """
    print("whole", secret)
    for char in secret:
        print(char, end="", flush=True)
    print("", file=sys.stderr)
    print(secret[:9], end="", flush=True)
    print(secret[9:], file=sys.stderr, flush=True)
    print(repr(secret), json.dumps({"a": secret}), html.escape(secret), [secret])
    print(quote(secret), quote(secret, safe=""), quote_plus(secret))
    for before in ("", "u:", "x", "user:"):
        print(base64.b64encode((before + secret).encode()).decode())
    print(secret.encode().hex(), secret.encode())
    subprocess.run([sys.executable, "-c", "import os; print(os.environ['THE_TOKEN'])"])
    os.system('echo "$THE_TOKEN"; echo "$THE_TOKEN" >&2')
    os.write(1, secret.encode() + b"\\n")
    """,
    # shows
    """
    from IPython.display import HTML, JSON, Markdown, display
    display(HTML(html.escape(secret)), JSON({"a": [secret], secret: 1}), Markdown(secret))
    shown = display("later", display_id=True)
    shown.update(secret)
    import pandas as pd
    pd.DataFrame({"token": [secret]})
    """,
    # logs
    """
    context.log.warning("log %s", secret)
    context.log_param("param", secret)
    context.log_param(secret, 1)
    context.log_metric(secret, 0.5)
    context.log_text("text", f"text {secret}")
    pathlib = __import__("pathlib")
    pathlib.Path("/tmp", f"leak-{os.getpid()}.bin").write_bytes(b"\\xff\\x00" + secret.encode())
    context.log_artefact(f"/tmp/leak-{os.getpid()}.bin", "binary.bin")
    os.remove(f"/tmp/leak-{os.getpid()}.bin")
    with context.tracer.start_as_current_span(secret) as span:
        span.set_attribute("token", secret)
    """,
    # gives it as the result of a cell
    "{'token': secret}",
]
SAVES = 'context.save("done", "done")'
RAISES = """
def open_door(key):
    raise KeyError(key)
open_door(secret)
"""


def dedent(source: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in source.split("\n"))


def found_in(root: Path) -> list[str]:
    """The files below a folder that hold the secret, and in which form; databases included."""
    found = []
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and "dsml" not in path.relative_to(root).parts:
            content = path.read_bytes()
            found += [f"{path}: {n}" for n, form in FORMS.items() if form.encode() in content]
    return found


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess]:
    """A project after a run in which one step leaks and passes, and another leaks and fails."""
    root = tmp_path_factory.mktemp("secrets") / "a project"
    works = [dedent(source) for source in LEAKS]
    write_project(
        root,
        {
            "a.passes": Step([*works, SAVES], parameters=PARAMETERS, outs={"done": "done.txt"}),
            "a.fails": Step([*works, RAISES], parameters=PARAMETERS),
        },
        environments={"dev": {"storage": "artefacts", "mlflow": ".mlflow"}},
    )
    python = "def step_fn(context, *, token: 'Secret' = 'THE_TOKEN'):\n"
    python += "    print(context.secret('token'))\n    raise ValueError(context.secret('token'))\n"
    python = f'op_parameters = {{"description": "A function."}}\n\n\n{python}'
    (root / "stages" / "a" / "function.py").write_text(python)
    run_command(sys.executable, "-m", "dsml", "register", cwd=root)
    done = run_command(sys.executable, "-m", "dsml", "run", cwd=root, check=False, THE_TOKEN=SECRET)
    run_command(sys.executable, "-m", "dsml", "sync", cwd=root)
    run_command(sys.executable, "-m", "dsml", "report", "--out", "site", cwd=root)
    return root, done


@pytest.mark.slow
def test_no_file_below_the_project_holds_a_secret_that_notebooks_leak(leaky):
    root, done = leaky
    assert done.returncode == 1  # two of the steps raise
    assert found_in(root) == []
    assert not [form for form in FORMS.values() if form in done.stdout + done.stderr]
    looked_at = {path.suffix for path in root.rglob("*")}
    assert {".db", ".ipynb", ".html", ".jsonl", ".txt", ".bin", ".out", ".log"} <= looked_at


@pytest.mark.slow
def test_what_was_taken_out_is_masked_and_everything_else_is_there(leaky):
    root, _ = leaky
    (attempt,) = root.glob("artefacts/baseline/a/passes/*/attempts/1")
    log = (attempt / "log.txt").read_text()
    assert f"whole {MASK}\n" in log
    assert (attempt / "logged" / "text.txt").read_text() == f"text {MASK}"
    binary = (attempt / "logged" / "binary.bin").read_bytes()
    assert binary == b"\xff\x00" + b"*" * len(SECRET.encode())
    (failed,) = root.glob("artefacts/baseline/a/fails/*/attempts/1")
    record = json.loads((failed / "attempt.json").read_text())
    assert MASK in record["error"]
    assert record["error"].startswith("stages/a/fails.ipynb, cell")
    assert record["exception"] == "KeyError"


@pytest.mark.slow
def test_manifests_and_notebooks_hold_the_name_of_the_variable(leaky):
    root, _ = leaky
    (manifest,) = root.glob("artefacts/baseline/a/passes/*/manifest.json")
    parameters = json.loads(manifest.read_text())["parameters"]
    assert parameters["token"] == {"value": "THE_TOKEN", "source": "default"}


# --- a secret that is not there -------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_whose_secret_is_not_set_is_refused_before_anything_starts(tmp_path):
    root = tmp_path / "p"
    steps = {"a.first": Step(), "a.second": Step("context.secret('token')", parameters=PARAMETERS)}
    write_project(root, steps)
    done = run_command(sys.executable, "-m", "dsml", "run", cwd=root, check=False)
    assert done.returncode == 1
    assert "token: the variable THE_TOKEN is not set" in done.stderr
    assert "set it where the run is started: export THE_TOKEN=..." in done.stderr
    assert "Traceback" not in done.stderr
    assert last_run(root) is None


AS_THE_UI_DOES = """
import os, pathlib
from dsml.contract.project import load_project
from dsml.contract.request import resolve_request
from dsml.orchestrate.launch import create_run, execute, open_instance

project = load_project(pathlib.Path.cwd())
request = resolve_request(project)
with open_instance(project.root) as instance:
    run = create_run(project, request, instance)
    del os.environ["THE_TOKEN"]
    print(execute(project, request, run, instance, lambda entry: None).value)
"""


@pytest.mark.slow
def test_a_run_of_the_ui_whose_secret_is_not_set_fails_before_any_step(tmp_path):
    root = tmp_path / "p"
    steps = {"a.first": Step(), "a.second": Step("context.secret('token')", parameters=PARAMETERS)}
    write_project(root, steps)
    done = run_command(sys.executable, "-c", AS_THE_UI_DOES, cwd=root, THE_TOKEN=SECRET)
    assert done.stdout == "FAILURE\n"
    run = last_run(root)
    with instance_of(root) as instance:
        events = [e.dagster_event for e in instance.all_logs(run.run_id) if e.dagster_event]
    assert not [event for event in events if event.is_step_start]
    (failed,) = [event for event in events if event.is_run_failure]
    assert "token: the variable THE_TOKEN is not set" in str(failed.event_specific_data)


def test_a_step_whose_secret_is_not_set_fails_before_its_kernel_starts(run_step, monkeypatch):
    monkeypatch.delenv("THE_TOKEN", raising=False)
    ran = run_step("1 / 0", parameters=PARAMETERS)
    assert "token: the variable THE_TOKEN is not set" in ran.failure("a.b")


def test_a_secret_of_three_characters_is_refused(run_step, monkeypatch):
    monkeypatch.setenv("THE_TOKEN", "abc")
    ran = run_step("1 / 0", parameters=PARAMETERS)
    assert "the content of THE_TOKEN has fewer than 4 characters" in ran.failure("a.b")
    assert "abc" not in ran.failure("a.b")


def test_a_secret_may_be_chosen_by_an_experiment_and_by_a_run(run_step, monkeypatch):
    monkeypatch.setenv("OTHER_TOKEN", "a wholly other token")
    ran = run_step(
        'context.log.info("got %s", len(context.secret("token")))',
        parameters=PARAMETERS,
        config={"token": "OTHER_TOKEN"},
    )
    assert ran.passed
    assert f"got {len('a wholly other token')}" in ran.log


def test_the_type_may_be_imported_where_the_parameters_are(run_step, monkeypatch):
    monkeypatch.setenv("THE_TOKEN", "a wholly other token")
    ran = run_step(
        'context.log.info("got %s", len(context.secret("token")))',
        parameters='from dsml import Secret\n\ntoken: Secret = "THE_TOKEN"  # opens the door',
    )
    assert ran.passed
    assert f"got {len('a wholly other token')}" in ran.log


def test_an_optional_secret_need_not_be_given(run_step):
    ran = run_step(
        'context.save("is_none", context.config.token is None)',
        parameters='token: "Secret | None" = None',
        outs={"is_none": "n.json"},
    )
    assert ran.passed


# --- what is refused ------------------------------------------------------------------------------

WRITTEN = "hf_abcdefghijklmnopqrstuvwxyz123456"


@pytest.mark.parametrize(
    "text",
    [WRITTEN, "AKIAABCDEFGHIJKLMNOP", "A1B2C3D4E5F6A7B8C9D0", "secret", "", "A B", "X=1", "ÄÖ"],
)
def test_a_value_that_is_no_name_of_a_variable_is_none(text):
    assert not is_variable(text)


@pytest.mark.parametrize(
    "text", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB1_PASSWORD", "TOKEN", "_X"]
)
def test_names_of_variables_are_accepted(text):
    assert is_variable(text)


def check(root: Path) -> str:
    done = run_command(sys.executable, "-m", "dsml", "check", cwd=root, check=False)
    return done.stdout + done.stderr


def test_check_finds_a_secret_in_the_place_of_a_name_without_showing_it(tmp_path):
    root = write_project(tmp_path / "p", {"a.b": Step()})
    write_notebook(root, "a.b", Step(parameters=f'token: "Secret" = "{WRITTEN}"'))
    catalog = root / "catalog.yml"
    text = catalog.read_text().replace(
        "baseline: {}", f"baseline: {{config: {{a.b: {{token: {WRITTEN}}}}}}}"
    )
    catalog.write_text(text)
    told = check(root)
    assert "token: the value is no name of a variable of the environment" in told
    assert "experiments.baseline.config.a.b.token: the value is no name" in told
    assert "write the name of a variable of the environment, such as HF_TOKEN" in told
    assert WRITTEN not in told


def test_a_secret_given_to_a_run_is_refused_without_showing_it(tmp_path):
    root = write_project(tmp_path / "p", {"a.b": Step(parameters=PARAMETERS)})
    done = run_command(
        *(sys.executable, "-m", "dsml", "run", "--set", f"a.b.token={WRITTEN}"),
        cwd=root,
        check=False,
    )
    assert "--set a.b.token=***: the value is no name of a variable" in done.stderr
    assert WRITTEN not in done.stderr + done.stdout
    assert last_run(root) is None


def test_a_secret_typed_into_the_launchpad_is_refused_before_the_run_is_recorded(tmp_path):
    root = write_project(tmp_path / "p", {"a.b": Step(parameters=PARAMETERS)})
    job = load_definitions(root).resolve_job_def("all")
    config = {"ops": {"a__b": {"config": {"token": WRITTEN}}}}
    with pytest.raises(DagsterInvalidConfigError, match="it is no name of a variable"):
        job.execute_in_process(partition_key="baseline", run_config=config)


@pytest.mark.parametrize("kind", ["list[Secret]", "dict[str, Secret]"])
def test_a_secret_is_no_part_of_another_parameter(tmp_path, kind):
    root = write_project(tmp_path / "p", {"a.b": Step()}, with_databases=False)
    value = "[]" if kind.startswith("list") else "{}"
    write_notebook(root, "a.b", Step(parameters=f'tokens: "{kind}" = {value}'))
    assert "a Secret is a parameter of its own, and no part of another" in check(root)


@pytest.mark.parametrize(
    "declared", ['Field(Secret, default_value="HF_TOKEN")', '{"type": "Secret", "default": "X"}']
)
def test_config_schema_declares_secrets_too(declared):
    import ast

    from dsml.contract.cells import Cell
    from dsml.contract.config_schema import read_config_schema

    node = ast.parse(f'{{"token": {declared}}}', mode="eval").body
    problems: list = []
    found = read_config_schema(node, Cell("x.ipynb", 1, "code", ""), problems)
    assert not problems
    assert found["token"].type.is_secret


def test_dagstermill_takes_no_steps_with_secrets(tmp_path):
    root = write_project(
        tmp_path / "p",
        {"a.b": Step(parameters=PARAMETERS)},
        pipelines={"all": {"engine": "dagstermill"}},
    )
    assert "token: dagstermill keeps no secret out of what it writes" in check(root)


# --- how it is taken out --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_secret_is_found_in_a_stream_however_it_is_divided(size):
    stream = RedactedStream(Redactor([SECRET]))
    text = f"a {SECRET} b {SECRET[:7]} {SECRET}{SECRET[:3]}"
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    passed = "".join(map(stream.feed, pieces)) + stream.rest()
    assert passed == f"a {MASK} b {SECRET[:7]} {MASK}{SECRET[:3]}"


def test_what_cannot_begin_a_secret_is_passed_on_at_once():
    stream = RedactedStream(Redactor(["abcdef"]))
    assert stream.feed("no secret in here\n") == "no secret in here\n"


def test_words_of_the_protocol_stay_whatever_the_secret_is():
    message = {"execution_state": "idle", "name": "stdout", "text": "idle"}
    read = _unpack_redacted(Redactor(["idle"]), json.dumps(message).encode())
    assert read == {"execution_state": "idle", "name": "stdout", "text": MASK}


def test_each_line_of_a_key_is_taken_out():
    key = "-----BEGIN KEY-----\nabcdefghijkl\nmnopqrstuvwx\n-----END KEY-----\n"
    assert Redactor([key]).text("> mnopqrstuvwx <") == f"> {MASK} <"


@pytest.mark.parametrize("before", [b"", b"u", b"u:", b"user", b"user:"])
@pytest.mark.parametrize("after", [b"", b":", b":x", b"::x"])
def test_a_secret_inside_of_something_in_base64_is_taken_out(before, after):
    secret = "correct horse battery"
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    left = Redactor([secret]).text(encoded).replace(MASK, "")
    # of the characters at the ends some bits are those of the secret's first and last byte
    assert len(left) <= -(-4 * (len(before) + len(after) + 4) // 3) + 4
    assert base64.b64encode(secret.encode()[3:-3]).decode()[4:-4] not in left


def test_by_hand_a_notebook_reads_its_secret_and_logs_without_it(tmp_path, monkeypatch):
    work = 'context.log_param("p", context.secret("token"))'
    root = write_project(tmp_path / "p", {"a.b": Step(work, parameters=PARAMETERS)})
    run_command(
        *(sys.executable, "-m", "jupyter", "execute", "stages/a/b.ipynb"),
        cwd=root,
        THE_TOKEN=SECRET,
    )
    (record,) = root.glob("artefacts/.scratch/**/record.jsonl")
    assert json.loads(record.read_text().splitlines()[0])["value"] == MASK


def test_a_notebook_without_secrets_installs_no_filter(run_step):
    ran = run_step(
        'import sys\ncontext.save("loaded", "dsml.step.redact" in sys.modules)',
        parameters="n: int = 1",
        outs={"loaded": "loaded.json"},
    )
    (file,) = ran.root.glob("artefacts/baseline/a/b/*/loaded.json")
    assert json.loads(file.read_text()) is False


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_no_secret_in_what_it_had_recorded(tmp_path):
    work = 'context.log_param("p", context.secret("token"))\nprint(context.secret("token"))'
    root = write_project(
        tmp_path / "p",
        {"a.b": Step([work, "import time; time.sleep(60)"], parameters=PARAMETERS)},
    )
    process = start(root, "run", THE_TOKEN=SECRET)
    try:
        wait_until(
            lambda: any(f.stat().st_size for f in root.glob("artefacts/.staging/**/log.txt"))
        )
    finally:
        os.killpg(process.pid, 9)
        process.communicate(timeout=10)
    assert list(root.glob("artefacts/.staging/**/record.jsonl"))
    assert found_in(root) == []
