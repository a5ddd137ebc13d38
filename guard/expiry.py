"""Closes ballots that nobody decided in time, and says so. Run by the guard's loop for each model.

The release flow does the same when it runs again; a flow that is suspended, or whose worker is gone, does not.
"""

from __future__ import annotations

import logging

from errors import ReleaseRefused
from guard import alerts
from guard.rollout import ACTOR, Hand, tell_once
from guard.watch import Watch
from records import utc_now
from stores.ledger import ballots, votes

log = logging.getLogger("grownet.guard")


def close_expired(hand: Hand, watch: Watch) -> None:
    """Ends the model's open ballot when its time is over: whatever was asked for does not happen."""
    found = ballots.open_for(hand.ledger, watch.model)
    now = utc_now()
    if found is None or found.question.expires_at > now:
        return
    cast = {vote.role for vote in votes.votes(hand.ledger, found.id)}
    missing = sorted(set(found.question.required_roles) - cast)
    hand.tell()  # refused when another guard leads by now
    try:
        ballots.close(hand.ledger, found.id, "expired", f"no vote in time of {', '.join(missing)}", actor=ACTOR, at=now)
    except ReleaseRefused as refused:  # decided at the last moment
        log.info("%s: %s", watch.model, refused)
        return
    log.info("%s: ballot %s expired without %s", watch.model, found.id, ", ".join(missing))
    tell_once(hand, watch, alerts.ballot_expired(found, missing, hand.defaults, now))
