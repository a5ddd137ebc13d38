"""Messages to real endpoints on loopback: a webhook, mail servers with and without TLS and login, Prefect's own schema."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import to_builtins
from msgspec.structs import replace

from errors import ConfigError, DeliveryFailed
from records import AlertBody, OutboxEvent
from stores import notify
from tests.ports import free_port

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BODY = AlertBody(
    what="hit of recommendation-v3 12.0% below recommendation-v2",
    evidence={"matured answers": 5400, "interval to": -0.0612345, "who": "<!channel> & co"},
    done="canary taken back in revision 12",
    owner="platform@example.org",
    next="Explain the drop.",
    link="grownet release show recommendation",
)
EVENT = OutboxEvent(
    id="alert-1",
    kind="alert",
    level="critical",
    model="recommendation",
    name="grownet.alert.critical",
    title="canary recommendation-v3 taken back: KPI drop",
    body=to_builtins(BODY),
    at=NOON,
)
PARTS = (
    "CRITICAL",
    "recommendation",
    "12.0% below",
    "5400",
    "-0.06123",
    "revision 12",
    "platform@",
    "Explain",
    "release show",
)


# ---- HTTP --------------------------------------------------------------------------------------------


@dataclass
class Web:
    """A web server that keeps what it was sent and answers what it is told to."""

    url: str = ""
    status: int = 200
    answer: bytes = b"ok"
    got: list[tuple[str, Any]] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.got.append((self.path, json.loads(body)))
            self.send_response(state.status)
            self.send_header("content-length", str(len(state.answer)))
            self.end_headers()
            self.wfile.write(state.answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_slack_gets_a_readable_alert(web: Web) -> None:
    notify.slack(f"{web.url}/services/T0/B0/secret", EVENT)
    [(path, payload)] = web.got
    assert path == "/services/T0/B0/secret"
    assert payload["text"] == "CRITICAL recommendation: canary recommendation-v3 taken back: KPI drop"
    shown = json.dumps(payload["blocks"])
    for part in PARTS:
        assert part in shown
    assert "alert-1" in shown


def test_what_people_typed_cannot_call_the_channel(web: Web) -> None:
    notify.slack(web.url, EVENT)
    shown = json.dumps(web.got[0][1]["blocks"])
    assert "<!channel>" not in shown
    assert "&lt;!channel&gt; &amp; co" in shown


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_slack_that_refuses_is_a_failure_without_its_address(web: Web, status: int) -> None:
    web.status, web.answer = status, b"no_service"
    with pytest.raises(DeliveryFailed, match=f"{status} no_service") as caught:
        notify.slack(f"{web.url}/services/secret", EVENT)
    assert "secret" not in str(caught.value)
    assert len(web.got) == 1  # trying again is the outbox's


def test_slack_that_is_away_is_a_failure_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DeliveryFailed, match="refused") as caught:
        notify.slack("http://127.0.0.1:9/services/secret", EVENT)
    assert "secret" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


def test_prefect_gets_an_event_whose_id_repeats(web: Web) -> None:
    web.status, web.answer = 204, b""
    notify.prefect(f"{web.url}/api", EVENT)
    notify.prefect(f"{web.url}/api", EVENT)
    [(path, first), (_, again)] = web.got
    assert path == "/api/events"
    assert first == again
    [event] = first
    assert event["event"] == "grownet.alert.critical"
    assert event["resource"]["prefect.resource.id"] == "grownet.model.recommendation"
    assert event["payload"]["model"] == "recommendation"
    assert event["payload"]["what"] == BODY.what
    assert notify.prefect_event(replace(EVENT, id="alert-2"))["id"] != event["id"]


@pytest.mark.parametrize("status", [422, 503])
def test_prefect_that_refuses_is_a_failure(web: Web, status: int) -> None:
    web.status, web.answer = status, b"database is locked"
    with pytest.raises(DeliveryFailed, match=f"{status} database is locked"):
        notify.prefect(f"{web.url}/api", EVENT)


def test_prefect_that_is_away_is_a_failure() -> None:
    with pytest.raises(DeliveryFailed, match="ConnectError"):
        notify.prefect("http://127.0.0.1:9/api", EVENT)


def test_prefect_accepts_the_shape() -> None:
    """Prefect's own schema reads it; in a process of its own, since the import is heavy."""
    code = (
        "import sys\nfrom prefect.server.events.schemas.events import Event\n"
        "event = Event.model_validate_json(sys.stdin.read())\n"
        "print(event.event, event.resource.id, event.payload['title'], event.id)"
    )
    given = json.dumps(notify.prefect_event(EVENT))
    out = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True, check=True)
    assert out.stdout.split()[:2] == ["grownet.alert.critical", "grownet.model.recommendation"]


# ---- mail --------------------------------------------------------------------------------------------


@dataclass
class Box:
    """What a mail server took: recipients and the parsed mail; `refuse` is an address it does not know."""

    refuse: str = ""
    mails: list[tuple[list[str], Any]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        if address == self.refuse:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((list(envelope.rcpt_tos), message_from_bytes(envelope.content, policy=default)))
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def login(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"pass:word", handled=False)


@contextmanager
def mail_server(box: Box, **options: Any) -> Iterator[int]:
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), ready_timeout=60, **options)
    controller.start()
    try:
        yield int(controller.port)
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_mail_is_readable_and_its_id_repeats() -> None:
    box = Box()
    with mail_server(box) as port:
        for _ in range(2):
            notify.email(f"smtp://127.0.0.1:{port}", "grownet@example.org", "sre@example.org", EVENT)
    assert box.encrypted == [False, False]
    (recipients, mail), (_, again) = box.mails
    assert recipients == ["sre@example.org"]
    assert mail["subject"] == "[grownet] CRITICAL recommendation: canary recommendation-v3 taken back: KPI drop"
    assert mail["from"] == "grownet@example.org"
    assert mail["message-id"] == again["message-id"] == "<alert-1@example.org>"
    said = mail.get_body(("plain",)).get_content()
    for part in PARTS:
        assert part in said


def test_a_title_with_a_line_break_makes_no_second_header() -> None:
    box = Box()
    with mail_server(box) as port:
        event = replace(EVENT, title="a\r\nBcc: stranger@example.org")
        notify.email(f"smtp://127.0.0.1:{port}", "grownet@example.org", "sre@example.org", event)
    [(recipients, mail)] = box.mails
    assert recipients == ["sre@example.org"]
    assert mail["bcc"] is None


def test_starttls_and_login(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    box = Box()
    options = {
        "tls_context": server_tls(certificate),
        "require_starttls": True,
        "auth_required": True,
        "authenticator": box.login,
    }
    with mail_server(box, **options) as port:
        notify.email(f"smtp://us%40er:pass%3Aword@127.0.0.1:{port}", "grownet@example.org", "sre@example.org", EVENT)
        with pytest.raises(DeliveryFailed, match="SMTPAuthenticationError 535") as caught:
            notify.email(f"smtp://user:wrong@127.0.0.1:{port}", "grownet@example.org", "sre@example.org", EVENT)
    assert "wrong" not in str(caught.value)
    assert box.logins[0] == (b"us@er", b"pass:word")
    assert box.encrypted == [True]


def test_a_server_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    box = Box()
    options = {"tls_context": server_tls(certificate)}
    with mail_server(box, **options) as port, pytest.raises(DeliveryFailed, match="mail to be taken"):
        notify.email(f"smtp://127.0.0.1:{port}", "grownet@example.org", "sre@example.org", EVENT)
    assert box.mails == []


def test_tls_from_the_start(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    box = Box()
    with mail_server(box, ssl_context=server_tls(certificate)) as port:
        notify.email(f"smtps://127.0.0.1:{port}", "grownet@example.org", "sre@example.org", EVENT)
    assert len(box.mails) == 1  # the server speaks nothing but TLS


def test_a_password_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "LOOPBACK", frozenset[str]())  # as if the server were elsewhere
    box = Box()
    options = {"auth_require_tls": False, "authenticator": box.login}
    with mail_server(box, **options) as port, pytest.raises(DeliveryFailed, match="STARTTLS before a password"):
        notify.email(f"smtp://user:pass@127.0.0.1:{port}", "grownet@example.org", "sre@example.org", EVENT)
    assert (box.logins, box.mails) == ([], [])


def test_a_refused_recipient_is_a_failure() -> None:
    box = Box(refuse="gone@example.org")
    with mail_server(box) as port, pytest.raises(DeliveryFailed, match="SMTPRecipientsRefused"):
        notify.email(f"smtp://127.0.0.1:{port}", "grownet@example.org", "gone@example.org", EVENT)
    assert box.mails == []


def test_a_mail_server_that_is_away_is_a_failure() -> None:
    with pytest.raises(DeliveryFailed, match="refused"):
        notify.email("smtp://user:secret@127.0.0.1:9", "grownet@example.org", "sre@example.org", EVENT)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "smtp://", "127.0.0.1:25"])
def test_an_address_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="GROWNET_SMTP_URL"):
        notify.email(url, "grownet@example.org", "sre@example.org", EVENT)


def test_an_alert_in_another_form_still_says_what_it_has(web: Web) -> None:
    odd = replace(EVENT, body={"surprise": 7})
    assert "surprise: 7" in notify.text(odd)
    notify.slack(web.url, odd)
    assert "surprise: 7" in json.dumps(web.got[0][1])
