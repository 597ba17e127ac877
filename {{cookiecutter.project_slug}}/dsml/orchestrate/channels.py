"""Where messages are sent: by mail and to a webhook, as the environment says. Nothing of Dagster.

The webhook gets ``{"text": ...}``, which Slack, Mattermost and Rocket.Chat understand.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsml.contract.problem import Problem, ProjectError, Where, suggest

if TYPE_CHECKING:
    from email.message import EmailMessage

TIMEOUT = 10.0  # seconds for each step of a connection
_SUBMISSION = 587  # the port at which mail servers take mail with STARTTLS
_SMTPS = 465  # the one at which everything is encrypted from the beginning
_PREFIXES = ("DSML_SMTP_", "DSML_MAIL_", "DSML_WEBHOOK_")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

SETTINGS: Mapping[str, str] = {
    "DSML_SMTP_HOST": "the mail server",
    "DSML_SMTP_PORT": "its port; by default 587, and 465 is encrypted from the beginning",
    "DSML_SMTP_USER": "the name to log in with; without it nobody logs in",
    "DSML_SMTP_PASSWORD": "the password to log in with",
    "DSML_SMTP_STARTTLS": "0 where the server cannot encrypt; by default it must",
    "DSML_MAIL_FROM": "the sender; by default the user",
    "DSML_MAIL_TO": "who is written to, with commas between",
    "DSML_WEBHOOK_URL": "the address that a message is posted to",
    "DSML_UI_URL": "where the Dagster UI is, for links: https://dagster.example.org",
}


@dataclass(frozen=True)
class Message:
    """What is to be told: a line, a text, and where more stands ("" for nowhere)."""

    subject: str
    body: str
    link: str = ""


@dataclass(frozen=True)
class Channel:
    """One way to tell it; ``send`` raises what the library raises where that fails."""

    name: str
    send: Callable[[Message], None]


def is_configured() -> bool:
    """Whether the environment says where messages are to go."""
    return any(os.environ.get(name) for name in ("DSML_SMTP_HOST", "DSML_WEBHOOK_URL"))


def send(message: Message) -> tuple[list[str], list[Problem]]:
    """Send a message by all channels: those that took it, and why others did not."""
    problems: list[Problem] = []
    sent: list[str] = []
    for channel in channels(problems):
        try:
            channel.send(message)
        except Exception as error:  # whatever it is, it stops no other channel
            what = f"it could not be sent: {_reason(error)}"
            fix = "look at the settings and the network, then try: dsml notify --test"
            problems.append(Problem(Where(channel.name), what, fix, "not-sent"))
        else:
            sent.append(channel.name)
    return sent, problems


def _reason(error: Exception) -> str:
    """An error in one line; the library's own has the server's answer as bytes."""
    answer = getattr(error, "smtp_error", None)
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else str(error)
    return " ".join(text.split()) or type(error).__name__


def channels(problems: list[Problem]) -> list[Channel]:
    """The channels that the environment sets up; what is wrong with the settings is reported."""
    found: list[Channel] = []
    for name, make in (("DSML_SMTP_HOST", _mail), ("DSML_WEBHOOK_URL", _webhook)):
        if os.environ.get(name):
            try:
                found.append(make())
            except ProjectError as error:
                problems += error.problems
    for name in os.environ:
        if name.startswith(_PREFIXES) and name not in SETTINGS:
            what, fix = "there is no such setting", suggest(name, SETTINGS)
            problems.append(Problem(Where(name), what, fix, "unknown-setting"))
    return found


def _refused(name: str, what: str, fix: str) -> ProjectError:
    return ProjectError([Problem(Where(name), what, fix, "setting")])


# --- mail -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MailServer:
    host: str
    port: int
    user: str
    password: str
    starttls: bool
    sender: str
    to: tuple[str, ...]

    def send(self, message: Message) -> None:
        import smtplib
        import ssl

        context = ssl.create_default_context()
        if self.port == _SMTPS:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=TIMEOUT, context=context
            )
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)
        with server:
            if self.starttls and self.port != _SMTPS:
                server.starttls(context=context)
            if self.user:
                server.login(self.user, self.password)
            server.send_message(self._compose(message), self.sender, self.to)

    def _compose(self, message: Message) -> EmailMessage:
        from email.message import EmailMessage
        from email.utils import formatdate, make_msgid

        mail = EmailMessage()
        mail["Subject"] = " ".join(message.subject.split())
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.to)
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain="dsml.invalid")
        link = f"\n\n{message.link}" if message.link else ""
        mail.set_content(f"{message.body}{link}\n")
        return mail


def _mail() -> Channel:
    setting = os.environ.get
    host, user = setting("DSML_SMTP_HOST", ""), setting("DSML_SMTP_USER", "")
    sender = setting("DSML_MAIL_FROM") or user
    to = tuple(part.strip() for part in setting("DSML_MAIL_TO", "").split(",") if part.strip())
    for name, addresses in (("DSML_MAIL_FROM", (sender,)), ("DSML_MAIL_TO", to)):
        if not addresses or not addresses[0]:
            raise _refused(name, "is missing", f"set it to {SETTINGS[name]}")
        for address in addresses:
            if "@" not in address or any(char.isspace() for char in address):
                fix = "write it as name@example.org"
                raise _refused(name, f"{address!r} is no mail address", fix)
    server = _MailServer(
        host, _port(), user, setting("DSML_SMTP_PASSWORD", ""), _starttls(), sender, to
    )
    return Channel(f"mail by {host}:{server.port}", server.send)


def _port() -> int:
    text = os.environ.get("DSML_SMTP_PORT") or str(_SUBMISSION)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**16):
        raise _refused("DSML_SMTP_PORT", f"{text!r} is no port", "set it to 587, 465 or 25")
    return int(text)


def _starttls() -> bool:
    text = (os.environ.get("DSML_SMTP_STARTTLS") or "1").lower()
    if text not in (*_YES, *_NO):
        raise _refused("DSML_SMTP_STARTTLS", f"{text!r} is neither 1 nor 0", "set it to 1 or 0")
    return text in _YES


# --- webhook --------------------------------------------------------------------------------------


def _webhook() -> Channel:
    from urllib.parse import urlsplit

    url = os.environ["DSML_WEBHOOK_URL"]
    fix = "set it to an address that begins with https://"
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        valid = valid and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        valid = False
    if not valid:  # the address is not shown: who knows it can write to the channel
        raise _refused("DSML_WEBHOOK_URL", "is no address of http or https", fix)
    return Channel(f"webhook at {host}", lambda message: _post(url, message))


def _post(url: str, message: Message) -> None:
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """A redirected POST would arrive as a GET, without the message."""

        def redirect_request(self, *_: object) -> None:
            return None

    link = f"\n<{message.link}>" if message.link else ""
    text = f"*{_slack(message.subject)}*\n```{_slack(message.body)}```{link}"
    data = json.dumps({"text": text}).encode()
    request = Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - http(s) only
    try:
        with build_opener(Stay).open(request, timeout=TIMEOUT):
            pass
    except HTTPError as error:
        answer = error.read(200).decode(errors="replace")
        raise OSError(f"{error.code} {error.reason} {answer}".strip()) from None


def _slack(text: str) -> str:
    """Text in Slack's markup, in which three characters of HTML stand for themselves alone."""
    return html.escape(text, quote=False).replace("```", "'''")
