"""Real local endpoints for alerts: a Slack-shaped webhook and an SMTP server on loopback, both keeping what they got.

The demo and the tests start them; a house in production names its own by GROWNET_SLACK_URL and GROWNET_SMTP_URL.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Mailbox:
    """What arrived, in order: Slack payloads as dicts, mails as (subject, recipients, text)."""

    slack_url: str = ""
    smtp_url: str = ""
    slack: list[dict[str, Any]] = field(default_factory=list)
    mails: list[tuple[str, tuple[str, ...], str]] = field(default_factory=list)


class _Mails:
    def __init__(self, box: Mailbox) -> None:
        self._box = box

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's name)
        mail = message_from_bytes(envelope.content, policy=default)
        body = mail.get_body(("plain",))
        text = str(body.get_content()).replace("\r\n", "\n") if body else ""
        self._box.mails.append((str(mail["subject"]), tuple(envelope.rcpt_tos), text))
        return "250 kept"


def _handler(box: Mailbox) -> type[BaseHTTPRequestHandler]:
    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            box.slack.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
            """Stay silent: what came is in the mailbox."""

    return Webhook


@contextmanager
def endpoints() -> Iterator[Mailbox]:
    """Starts both on free loopback ports and stops them at the end."""
    box = Mailbox()
    web = ThreadingHTTPServer(("127.0.0.1", 0), _handler(box))
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, name="slack", daemon=True).start()
    mail = Controller(_Mails(box), hostname="127.0.0.1", port=_free_port(), ready_timeout=60)
    mail.start()
    box.slack_url = f"http://127.0.0.1:{web.server_port}/services/demo"
    box.smtp_url = f"smtp://127.0.0.1:{mail.port}"
    try:
        yield box
    finally:
        mail.stop()
        web.shutdown()
        web.server_close()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
