"""Closes ballots that can come to nothing, and says so: out of time, or over what has changed since.

Run by the guard's loop for each model and for whatever else a ballot is open about, such as reviewers. The release flow
does the same when it runs again; a flow that is suspended, or whose worker is gone, does not.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from errors import ReleaseRefused
from guard import alerts
from guard.rollout import ACTOR, Hand, tell_once
from guard.watch import Watch
from records import OutboxEvent, utc_now
from stores.ledger import ballots, standing, votes
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger

log = logging.getLogger("grownet.guard")


def asked_besides(ledger: Ledger, models: Collection[str]) -> list[str]:
    """What a ballot is open about that is none of these models: reviewers, or a model that was configured once."""
    return [name for name in ballots.open_models(ledger) if name not in models]


def close_dead(hand: Hand, watch: Watch) -> None:
    """Ends the model's open ballot when its time is over or a yes could do nothing: what was asked for does not happen.

    Raises:
        TamperError: when the current plan is not signed by a key for plans.
    """
    found = ballots.open_for(hand.ledger, watch.model)
    if found is None:
        return
    now = utc_now()
    if found.question.expires_at <= now:
        cast = {vote.role for vote in votes.votes(hand.ledger, found.id)}
        missing = sorted(set(found.question.required_roles) - cast)
        alert = alerts.ballot_expired(found, missing, hand.defaults, now)
        _close(hand, watch, found, "expired", f"no vote in time of {', '.join(missing)}", alert)
    elif why := standing.outdated(hand.ledger, found, hand.signer.ring, now):
        _close(hand, watch, found, "void", why, alerts.ballot_void(found, why, hand.defaults, now))


def _close(  # noqa: PLR0917 - what to close, how, and what to say
    hand: Hand, watch: Watch, found: Ballot, status: ballots.Status, why: str, alert: OutboxEvent
) -> None:
    try:
        ballots.close(hand.ledger, found.id, status, why, actor=ACTOR, at=alert.at, epoch=hand.epoch)
    except ReleaseRefused as refused:  # decided at the last moment
        log.info("%s: %s", watch.model, refused)
        return
    log.info("%s: ballot %s is %s: %s", watch.model, found.id, status, why)
    tell_once(hand, watch, alert)
