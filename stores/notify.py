"""Hands a message to people and to Prefect: a Slack webhook, a mail server, Prefect's event API. One attempt each.

Reads the addresses in the settings; writes nothing of ours. Called by the guard's outbox, which tries again. The only
importer of slack_sdk. A failure is a DeliveryFailed that never carries an address, since those are secrets.
"""

from __future__ import annotations

import logging
import smtplib
import ssl
import urllib.error
import uuid
from email.message import EmailMessage
from email.utils import format_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import httpx
from msgspec import ValidationError, convert
from slack_sdk.webhook import WebhookClient

from errors import ConfigError, DeliveryFailed
from records import AlertBody, OutboxEvent

TIMEOUT_SECONDS = 5
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
EVENT_NAMESPACE = uuid.UUID("6f2d3f0e-5a0c-5e0f-9a63-0d6f1c7a4b11")  # ours; Prefect drops an id it has seen
SLACK_LIMIT = 2900  # a section's text may have 3000 characters
SYMBOLS = {
    "ok": ":white_check_mark:",
    "warning": ":warning:",
    "critical": ":red_circle:",
    "emergency": ":rotating_light:",
}

_silent = logging.getLogger("grownet.slack")  # slack_sdk logs the address of a failed call
_silent.setLevel(logging.CRITICAL + 1)


def slack(url: str, event: OutboxEvent) -> None:
    """Posts an alert to an incoming webhook.

    Raises:
        DeliveryFailed: when Slack cannot be reached or does not answer 200.
    """
    client = WebhookClient(url, timeout=TIMEOUT_SECONDS, logger=_silent, retry_handlers=[])
    try:
        response = client.send(text=headline(event), blocks=_blocks(event))
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise _failed("Slack", event, "an answer", _cause(error)) from None
    if response.status_code != 200:
        raise _failed("Slack", event, "status 200", f"{response.status_code} {response.body:.100}")


def email(smtp_url: str, sender: str, recipient: str, event: OutboxEvent) -> None:
    """Sends an alert to one address, in plain text. One address a mail: a refused one must not repeat the others.

    Args:
        smtp_url: `smtp://user:password@host:port` (STARTTLS when the server offers it, and always before a password
            leaves this machine) or `smtps://...` (TLS from the start).

    Raises:
        DeliveryFailed: when the server cannot be reached, is not trusted, or refuses login, sender or recipient.
    """
    try:
        with _open(smtp_url) as server:
            _secure(server, smtp_url, event)
            server.send_message(_mail(sender, recipient, event))
    except (OSError, smtplib.SMTPException) as error:  # ssl.SSLError is an OSError
        raise _failed("mail server", event, "the mail to be taken", _cause(error)) from None


def prefect(prefect_url: str, event: OutboxEvent) -> None:
    """Posts an event to Prefect's API (3.8: POST /events takes a list and answers 204).

    Raises:
        DeliveryFailed: when the server cannot be reached or answers anything but success; a raw caller must expect
            503 while its SQLite is locked.
    """
    try:
        response = httpx.post(f"{prefect_url}/events", json=[prefect_event(event)], timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise _failed("Prefect", event, "an answer", type(error).__name__) from None
    if not response.is_success:
        raise _failed("Prefect", event, "status 204", f"{response.status_code} {response.text:.200}")


def prefect_event(event: OutboxEvent) -> dict[str, Any]:
    """The event as Prefect 3.8's schema `Event` has it. Its id follows from ours, so that a repeat is no second event."""
    return {
        "id": str(uuid.uuid5(EVENT_NAMESPACE, event.id)),
        "event": event.name,
        "occurred": event.at.isoformat(),
        "resource": {
            "prefect.resource.id": f"grownet.model.{event.model}",
            "prefect.resource.name": event.model,
        },
        "related": [],
        "payload": {
            "event_id": event.id,
            "model": event.model,
            "level": event.level,
            "title": event.title,
            **event.body,
        },
    }


def headline(event: OutboxEvent) -> str:
    """One line: level, model, what happened."""
    return f"{event.level.upper()} {event.model}: {event.title}"


def text(event: OutboxEvent) -> str:
    """The alert as a page of plain text."""
    body = _body(event)
    evidence = [f"  {line}" for line in _evidence(body)]
    sections = [(title, f"  {said}") for title, said in _sections(body)]
    if evidence:
        sections.insert(0, ("Evidence", "\n".join(evidence)))
    parts = [headline(event), body.what, *(f"{title}\n{said}" for title, said in sections), _note(event)]
    return "\n\n".join(part for part in parts if part)


def _body(event: OutboxEvent) -> AlertBody:
    """The typed body. One that was written otherwise is shown as it is: an alert is never lost over its form."""
    try:
        return convert(event.body, AlertBody)
    except ValidationError:
        return AlertBody(what="", evidence=event.body, done="not said", owner="not said", next="not said", link="")


def _sections(body: AlertBody) -> list[tuple[str, str]]:
    said = [("Already done", body.done), ("Owner", body.owner), ("Next step", body.next), ("Look here", body.link)]
    return [(title, text) for title, text in said if text]


def _evidence(body: AlertBody) -> list[str]:
    return [
        f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in body.evidence.items()
    ]


def _note(event: OutboxEvent) -> str:
    return f"{event.at:%Y-%m-%d %H:%M:%S} UTC, alert {event.id}"


def _blocks(event: OutboxEvent) -> list[dict[str, Any]]:
    body = _body(event)
    evidence = "\n".join(f"• {_escaped(line)}" for line in _evidence(body))
    sections = [f"{SYMBOLS[event.level]} *{_escaped(headline(event))}*\n{_escaped(body.what)}"]
    sections += [f"*Evidence*\n{evidence}"] if evidence else []
    sections += [f"*{title}*\n{_escaped(said)}" for title, said in _sections(body)]
    made: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": section[:SLACK_LIMIT]}} for section in sections
    ]
    return [*made, {"type": "context", "elements": [{"type": "plain_text", "text": _note(event)}]}]


def _escaped(said: str) -> str:
    """Slack reads <...> as links and mentions; a reason typed by somebody must not call the whole channel."""
    return said.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mail(sender: str, recipient: str, event: OutboxEvent) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, recipient
    mail["Subject"] = " ".join(f"[grownet] {headline(event)}".split())
    mail["Date"] = format_datetime(event.at)
    mail["Message-ID"] = f"<{event.id}@{sender.rpartition('@')[2]}>"  # the same for a repeat, so that mailboxes fold it
    mail.set_content(text(event))
    return mail


def _open(smtp_url: str) -> smtplib.SMTP:
    url = _parts(smtp_url)
    host = str(url.hostname)
    if url.scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT_SECONDS)


def _secure(server: smtplib.SMTP, smtp_url: str, event: OutboxEvent) -> None:
    """Encrypts as far as the server can and logs in when the URL has a user; never a password in the clear."""
    url = _parts(smtp_url)
    server.ehlo()
    if url.scheme == "smtp" and server.has_extn("starttls"):
        server.starttls(context=ssl.create_default_context())
        server.ehlo()
    elif url.scheme == "smtp" and url.username and url.hostname not in LOOPBACK:
        raise _failed("mail server", event, "STARTTLS before a password is sent", "a server without it")
    if url.username:
        server.login(unquote(url.username), unquote(url.password or ""))


def _parts(smtp_url: str) -> SplitResult:
    url = urlsplit(smtp_url)
    if url.scheme not in {"smtp", "smtps"} or not url.hostname:
        raise ConfigError(["environment: GROWNET_SMTP_URL: expected smtp://host:port or smtps://host:port"])
    return url


def _cause(error: Exception) -> str:
    """What went wrong without the address it went wrong at."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__


def _failed(where: str, event: OutboxEvent, expected: str, got: str) -> DeliveryFailed:
    return DeliveryFailed(
        f"{where}: alert {event.id}", expected=expected, got=got, do="it stays in the outbox and is tried again"
    )
