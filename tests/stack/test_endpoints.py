"""The local endpoints keep what a real Slack client and a real SMTP client send."""

import smtplib
from email.message import EmailMessage
from urllib.parse import urlsplit

import httpx

from stack.endpoints import endpoints


def test_slack_and_mail_arrive() -> None:
    with endpoints() as box:
        assert httpx.post(box.slack_url, json={"text": "hallo Grüße"}).text == "ok"
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = "Über", "a@example.org", "b@example.org"
        mail.set_content("text ✓")
        where = urlsplit(box.smtp_url)
        with smtplib.SMTP(str(where.hostname), where.port or 0) as client:
            client.send_message(mail)
    assert box.slack == [{"text": "hallo Grüße"}]
    assert box.mails == [("Über", ("b@example.org",), "text ✓\n")]
