"""What people type into a waiting run, as text, and the one-time code in it: judged as of the moment the server took it.

Reads the sealed secret it is given; writes nothing. `tasks.counting` uses it for votes, `tasks.operator_codes` for what operators do;
a new secret is shown once, in a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING

from checks.ballots import matching_step
from errors import CodeRefused
from stores.vault import Vault, provisioning_uri

if TYPE_CHECKING:
    from tasks.runs import Typed

DOUBLINGS = 32  # of the wait after a submission that did not count
LONGEST_WAIT_SECONDS = 30.0  # before the form is offered again


def form(submitted: Typed | None, lengths: Mapping[str, int]) -> dict[str, str]:
    """The typed fields as text: cut, stripped, empty where nothing or no text was given.

    Args:
        submitted: None for an empty form.
        lengths: how much of each field is kept.
    """
    values = submitted.values if submitted else {}
    return {
        name: given.strip()[:length] if isinstance(given := values.get(name), str) else ""
        for name, length in lengths.items()
    }


def step_of(vault: Vault, owner: str, sealed: str, code: str, at: datetime) -> int:
    """The time step of the owner's code.

    Args:
        owner: as the secret was sealed for.
        at: when the server took the code.

    Raises:
        CodeRefused: for a code of another moment, or none.
        TamperError: when the sealed secret is not the owner's.
    """
    step = matching_step(vault.open_code(owner, sealed), code, at)
    if step is None:
        expected, do = "the code shown at that moment", "type the next one from your authenticator"
        raise CodeRefused(f"code of {owner}", expected=expected, got="another one", do=do)
    return step


def wait_after(missed: int, first_seconds: float) -> float:
    """Seconds until the form is offered again after so many submissions that did not count."""
    return min(first_seconds * 2.0 ** min(missed - 1, DOUBLINGS), LONGEST_WAIT_SECONDS)


def shown_once(name: str, secret: str, then: str) -> dict[str, str]:
    """A new secret for a terminal: as an address, as text, and as a QR code with what to do; `then` says since when it counts."""
    import segno

    uri, drawn = provisioning_uri(name, secret), StringIO()
    segno.make(uri).terminal(out=drawn, compact=True)
    text = (
        f"{drawn.getvalue()}\nScan this with an authenticator, or type the key {secret}. It is not shown again. {then}"
    )
    return {"secret": secret, "uri": uri, "text": text}
