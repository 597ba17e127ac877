"""Failed runs are told: to a mail server and a web server that are really there."""

from __future__ import annotations

import email
import email.policy
import json
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from conftest import free_port, run_command
from dagster._utils.error import SerializableErrorInfo

from dsml.contract.problem import render
from dsml.orchestrate.channels import SETTINGS, Message, channels, send
from dsml.orchestrate.definitions import load_definitions
from dsml.orchestrate.history import failure_text

from .projects import Step, last_run, write_project
from .ticks import daemon

NAME = "notify_failures"
FAILING = {"load.files": Step(["print('so far')", "raise ValueError('no <b> & no a')"])}


@pytest.fixture(autouse=True)
def _settings(root, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(root / ".dagster"))
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


class Mails:
    """What a mail server was given."""

    def __init__(self):
        self.mails = []
        self.logins = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, mail))
        return "250 taken"

    def authenticate(self, _server, _session, _envelope, _mechanism, data):
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"right", handled=False)


def serve_mails(handler, monkeypatch, **options):
    port = free_port()  # aiosmtpd has to be told one
    controller = Controller(handler, hostname="localhost", port=port, **options)
    controller.start()
    monkeypatch.setenv("DSML_SMTP_HOST", "localhost")
    monkeypatch.setenv("DSML_SMTP_PORT", str(port))
    return controller


@pytest.fixture
def mails(monkeypatch):
    """A mail server without encryption, which the environment names."""
    handler = Mails()
    controller = serve_mails(handler, monkeypatch)
    monkeypatch.setenv("DSML_SMTP_STARTTLS", "0")
    monkeypatch.setenv("DSML_MAIL_FROM", "dsml@example.org")
    monkeypatch.setenv("DSML_MAIL_TO", "a@example.org, b@example.org")
    yield handler
    controller.stop()


@pytest.fixture
def posts(monkeypatch):
    """What a web server was given; its address ends with what only we know."""
    given = []

    class Handler(BaseHTTPRequestHandler):
        answer = (200, {}, b"ok")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            given.append((self.path, self.headers["Content-Type"], json.loads(body)))
            status, headers, text = self.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = HTTPServer(("localhost", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    given_to = type("Posts", (), {"given": given, "handler": Handler, "port": server.server_port})
    monkeypatch.setenv("DSML_WEBHOOK_URL", f"http://localhost:{server.server_port}/hooks/secret")
    yield given_to
    server.shutdown()
    thread.join()
    server.server_close()


def project(root, steps=None):
    return write_project(root, steps or FAILING, experiments={"wide": {}})


def fail(d, root):
    """A run that fails, on the instance of a daemon."""
    job = load_definitions(root).resolve_job_def("all")
    done = job.execute_in_process(partition_key="wide", instance=d.instance, raise_on_error=False)
    assert not done.success
    return done.run_id


# --- a failed run ---------------------------------------------------------------------------------


def test_a_failed_run_is_told_by_mail_and_to_a_webhook(root, mails, posts, monkeypatch):
    monkeypatch.setenv("DSML_UI_URL", "https://dagster.example.org/")
    with daemon(project(root, {**FAILING, "load.other": Step("1 / 0")})) as d:
        d.look_at(NAME)
        run_id = fail(d, root)
        assert d.look_at(NAME).status.value == "SUCCESS"
        d.look_at(NAME)
    ((sender, to, mail),) = mails.mails
    assert (sender, to) == ("dsml@example.org", ["a@example.org", "b@example.org"])
    assert (mail["Subject"], mail["To"]) == ("small: all failed", "a@example.org, b@example.org")
    text = mail.get_content().replace("\r\n", "\n")
    head, other = text.index("load.files failed\n"), text.index("load.other failed\n")
    assert text[: min(head, other)] == (
        f"project:    small\npipeline:   all\nexperiment: wide\nrun:        {run_id}\n\n"
    )
    assert "  stages/load/files.ipynb, cell 6, line 1\n    ValueError: no <b> & no a\n" in text
    assert "ZeroDivisionError: division by zero" in text
    assert text.endswith(
        f"\nlook into it: dsml show {run_id[:8]}\n\nhttps://dagster.example.org/runs/{run_id}\n"
    )
    ((path, kind, body),) = posts.given
    assert (path, kind, list(body)) == ("/hooks/secret", "application/json", ["text"])
    assert body["text"].startswith("*small: all failed*\n```project:    small\n")
    assert "ValueError: no &lt;b&gt; &amp; no a" in body["text"]
    assert body["text"].endswith(f"```\n<https://dagster.example.org/runs/{run_id}>")


def test_of_an_error_within_another_the_innermost_is_told():
    within = SerializableErrorInfo("ValueError: no rows\n", [], "ValueError")
    error = SerializableErrorInfo("Error occurred while executing op", [], "Outer", cause=within)
    data = SimpleNamespace(user_failure_data=None, error=error)
    assert failure_text(SimpleNamespace(event_specific_data=data)) == "ValueError: no rows"


def test_nothing_is_told_of_runs_before_the_first_look(root, mails):
    with daemon(project(root)) as d:
        fail(d, root)
        d.look_at(NAME)
        d.look_at(NAME)
    assert mails.mails == []


def test_nothing_is_told_of_a_run_that_passes(root, mails):
    with daemon(project(root, {"a.b": Step()})) as d:
        d.look_at(NAME)
        job = load_definitions(root).resolve_job_def("all")
        assert job.execute_in_process(partition_key="wide", instance=d.instance).success
        d.look_at(NAME)
    assert mails.mails == []


def test_without_settings_nobody_looks_for_failed_runs(root):
    with daemon(project(root)) as d:
        d.look_at_sensors()
        assert d.ticks(NAME) == []


def test_one_that_was_started_without_settings_says_what_it_needs(root):
    with daemon(project(root)) as d:
        d.start(NAME)
        d.look_at(NAME)
        fail(d, root)
        assert d.look_at(NAME).tick_data.skip_reason == (
            "nothing says where to: set DSML_SMTP_HOST or DSML_WEBHOOK_URL"
        )


def test_one_channel_that_fails_stops_no_other_and_is_told_by_the_tick(root, mails, posts):
    posts.handler.answer = (404, {}, b"no_service")
    with daemon(project(root)) as d:
        d.look_at(NAME)
        fail(d, root)
        tick = d.look_at(NAME)
        assert len(mails.mails) == 1
        assert tick.status.value == "FAILURE"
        assert f"webhook at localhost:{posts.port}" in tick.error.message
        assert "it could not be sent: 404 Not Found no_service" in tick.error.message
        assert "secret" not in str(tick.error)
        d.look_at(NAME)
    assert len(mails.mails) == 1  # not told again


@pytest.mark.slow
def test_runs_of_the_command_line_are_told_and_those_of_another_project_are_not(
    root, tmp_path, posts
):
    other = write_project(tmp_path / "other", FAILING)
    with daemon(project(root)) as d:
        d.look_at(NAME)
        for folder in (root, other):
            home = {"DAGSTER_HOME": str(root / ".dagster")}
            command = (sys.executable, "-m", "dsml", "run")
            assert run_command(*command, cwd=folder, check=False, **home).returncode == 1
        assert d.look_at(NAME).status.value == "SUCCESS"
        d.look_at(NAME)
    ((_, _, body),) = posts.given
    assert "project:    small\npipeline:   all\nexperiment: wide\n" in body["text"]


# --- settings -------------------------------------------------------------------------------------

TEST = Message("a test", "text")


@pytest.fixture
def authority(monkeypatch, tmp_path):
    """A certificate authority that this process trusts."""
    found = trustme.CA()
    found.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return found


def encryption(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def encrypted(monkeypatch, authority):
    """A mail server that takes mail after STARTTLS and a login alone."""
    handler = Mails()
    controller = serve_mails(
        handler,
        monkeypatch,
        tls_context=encryption(authority),
        require_starttls=True,
        authenticator=handler.authenticate,
        auth_required=True,
    )
    monkeypatch.setenv("DSML_SMTP_USER", "me@example.org")
    monkeypatch.setenv("DSML_MAIL_TO", "a@example.org")
    yield handler
    controller.stop()


def test_mail_is_encrypted_and_logged_in_for(encrypted, monkeypatch):
    monkeypatch.setenv("DSML_SMTP_PASSWORD", "right")
    sent, problems = send(TEST)
    assert problems == []
    assert sent == [f"mail by localhost:{os.environ['DSML_SMTP_PORT']}"]
    assert encrypted.logins == [("me@example.org", "right")]
    assert [sender for sender, _, _ in encrypted.mails] == ["me@example.org"]


def test_a_wrong_password_is_told_without_being_shown(encrypted, monkeypatch):
    monkeypatch.setenv("DSML_SMTP_PASSWORD", "a-wrong-one")
    told = render(send(TEST)[1])
    assert "it could not be sent: 5.7.8 Authentication credentials invalid" in told
    assert "try: dsml notify --test" in told
    assert "a-wrong-one" not in told


def test_a_server_whose_certificate_nobody_vouches_for_gets_no_password(encrypted, monkeypatch):
    monkeypatch.setenv("DSML_SMTP_PASSWORD", "right")
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate verify failed" in render(send(TEST)[1])
    assert encrypted.logins == []


def test_a_server_that_cannot_encrypt_gets_no_mail_unless_the_settings_say_so(mails, monkeypatch):
    monkeypatch.delenv("DSML_SMTP_STARTTLS")
    told = render(send(TEST)[1])
    assert "STARTTLS extension not supported by server" in told
    assert mails.mails == []


def test_a_server_that_is_not_there_is_told(mails, monkeypatch):
    monkeypatch.setenv("DSML_SMTP_PORT", "1")
    told = render(send(TEST)[1])
    assert told.startswith("mail by localhost:1\n  it could not be sent: ")
    assert "refused" in told


def test_a_subject_of_several_lines_becomes_one(mails):
    send(Message("a\nBcc: c@example.org", "text"))
    ((_, to, mail),) = mails.mails
    assert (mail["Subject"], mail["Bcc"], len(to)) == ("a Bcc: c@example.org", None, 2)


def test_a_webhook_is_not_followed_elsewhere(posts):
    posts.handler.answer = (302, {"Location": f"http://localhost:{posts.port}/other"}, b"")
    assert "it could not be sent: 302 Found" in render(send(TEST)[1])
    assert [path for path, _, _ in posts.given] == ["/hooks/secret"]


@pytest.mark.parametrize(
    "url", ["https://", "http://h/a secret", "https://h:x/secret", "ftp://h/secret", "secret"]
)
def test_an_address_that_is_none_is_told_without_being_shown(monkeypatch, url):
    monkeypatch.setenv("DSML_WEBHOOK_URL", url)
    told = render(send(TEST)[1])
    assert told.startswith("DSML_WEBHOOK_URL\n  is no address of http or https\n")
    assert "secret" not in told


WRONG = {
    "DSML_SMTP_PORT": ("mail", "'mail' is no port", "set it to 587, 465 or 25"),
    "DSML_SMTP_STARTTLS": ("maybe", "'maybe' is neither 1 nor 0", "set it to 1 or 0"),
    "DSML_MAIL_FROM": ("me", "'me' is no mail address", "write it as name@example.org"),
    "DSML_MAIL_TO": (" ,", "is missing", "set it to who is written to, with commas between"),
    "DSML_WEBHOOK_URL": (
        "file:///etc/passwd",
        "is no address of http or https",
        "set it to an address that begins with https://",
    ),
    "DSML_SMTP_PASSWRD": ("x", "there is no such setting", "did you mean 'DSML_SMTP_PASSWORD'?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_told_by_its_name(mails, monkeypatch, name):
    value, what, fix = WRONG[name]
    monkeypatch.setenv(name, value)
    problems = []
    channels(problems)
    assert render(problems) == f"{name}\n  {what}\n  {fix}"


# --- dsml notify ----------------------------------------------------------------------------------


def notify(root, *arguments):
    command = (sys.executable, "-m", "dsml", "notify", *arguments)
    return run_command(*command, cwd=root, check=False)


def test_a_test_message_is_sent_and_told_of(root, mails, posts):
    done = notify(project(root), "--test")
    port = os.environ["DSML_SMTP_PORT"]
    assert (
        done.stdout == f"sent: mail by localhost:{port}\nsent: webhook at localhost:{posts.port}\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert mails.mails[0][2]["Subject"] == "a project: a test"
    assert "Nothing has failed." in posts.given[0][2]["text"]


def test_a_test_message_that_nobody_takes_fails(root, posts):
    posts.handler.answer = (500, {}, b"")
    done = notify(project(root), "--test")
    assert (done.returncode, done.stdout) == (1, "")
    assert "it could not be sent: 500 Internal Server Error" in done.stderr


def test_without_settings_it_is_told_what_can_be_set(root):
    done = notify(project(root), "--test")
    assert done.returncode == 1
    assert done.stdout.startswith("nobody is told of failed runs; set in the environment:\n")
    assert all(f"  {name} " in done.stdout for name in SETTINGS)
    assert notify(root).returncode == 0
    assert last_run(root) is None


def test_where_failed_runs_are_told_is_shown_without_telling_anybody(root, mails, posts):
    done = notify(project(root))
    assert done.stdout.splitlines() == [
        f"mail by localhost:{os.environ['DSML_SMTP_PORT']}",
        f"webhook at localhost:{posts.port}",
        "try it: dsml notify --test",
    ]
    assert (mails.mails, posts.given) == ([], [])


def test_an_environment_that_is_silent_has_a_sensor_that_does_not_run(root, monkeypatch):
    monkeypatch.setenv("DSML_WEBHOOK_URL", "http://localhost:9/")
    environments = {"dev": {"storage": "artefacts"}, "test": {"storage": "t", "notify": False}}
    write_project(root, FAILING, environments=environments)
    found = {}
    for name in environments:
        monkeypatch.setenv("DSML_ENV", name)
        sensors = load_definitions(root).sensors or ()
        found[name] = next(s.default_status.value for s in sensors if s.name == NAME)
    assert found == {"dev": "RUNNING", "test": "STOPPED"}
