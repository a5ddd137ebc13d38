"""Counts what was submitted to a waiting release run: a signed vote, or an attempt that is kept and limited.

Reads reviewers and the sealed secrets of their codes; writes votes and attempts. A code is judged at the moment the
server took it, counts once, and is never kept. Called by the release flow for each submission; `said_of` is how
`grownet vote` learns what became of one.
"""

from __future__ import annotations

import logging
from datetime import datetime

from errors import NotFound, TamperError, VoteRefused
from records import Record, Vote, utc_now
from stores.ledger import audit, people, votes
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger
from tasks import codes, runs
from tasks.board import void
from tasks.questions import Board, changed

log = logging.getLogger("grownet.release")
LENGTHS = {"reviewer": 64, "decision": 8, "reason": 500, "code": 16}  # what is kept of each typed field


class Counted(Record, frozen=True, kw_only=True):
    """What a submission came to. `said` is why, when it was no vote."""

    vote: bool
    said: str
    wait_seconds: float = 0.0


def count(board: Board, found: Ballot, submitted: runs.Typed | None) -> Counted:
    """Judges one submission and writes what it was: a signed vote, or an attempt. Counting it again changes nothing.

    Args:
        submitted: None for an empty form.
    """
    at = submitted.at if submitted else utc_now()
    form = codes.form(submitted, LENGTHS)
    if submitted and (before := said_of(board.ledger, found.id, form["reviewer"], at, at)) is not None:
        return before
    if why := changed(board, found, utc_now()):
        void(board, found, why)
        return Counted(vote=False, said=f"the ballot is void: {why}")
    try:
        vote, step = _vote(board, found, form, at)
        votes.record_vote(board.ledger, vote, step, signer=board.vault.signer)
    except VoteRefused as no:
        return _no_vote(board, found, form["reviewer"], str(no), at)
    except TamperError as broken:
        why = f"the enrolment of {form['reviewer']} cannot be trusted: {broken}"
        log.error("ballot %s: %s", found.id, why)
        return _no_vote(board, found, form["reviewer"], why, at)
    return Counted(vote=True, said=f"{vote.reviewer} ({vote.role}): {vote.decision}")


def _no_vote(board: Board, found: Ballot, reviewer: str, why: str, at: datetime) -> Counted:
    made = votes.record_invalid(board.ledger, found.id, reviewer, why, at)
    wait = codes.wait_after(made, board.config.defaults.approval.backoff_seconds)
    return Counted(vote=False, said=why, wait_seconds=wait)


def said_of(ledger: Ledger, ballot: str, reviewer: str, since: datetime, until: datetime | None) -> Counted | None:
    """What the release flow made of a reviewer's submission taken by the server in [since, until], or None so far."""
    for entry in reversed(audit.entries(ledger, ballot)):
        late = until is not None and entry.at > until
        if entry.action in {"vote", "vote.invalid"} and entry.detail["reviewer"] == reviewer and not late:
            if entry.at < since:
                return None
            return Counted(vote=entry.action == "vote", said=str(entry.detail.get("reason", "counted")))
    return None


def _vote(board: Board, found: Ballot, form: dict[str, str], at: datetime) -> tuple[Vote, int]:
    """The vote a form stands for, and the time step of its code.

    Raises:
        VoteRefused: for an empty or incomplete form, a stranger, too many attempts and a wrong code.
        TamperError: when the reviewer's row, or the sealed secret in it, is not the one enrolled.
    """
    missing = [name for name in LENGTHS if not form[name]]
    if missing or form["decision"] not in {"yes", "no"}:
        expected = "reviewer, decision (yes or no), reason and code"
        got = "an empty form" if len(missing) == len(LENGTHS) else f"no {missing}" if missing else form["decision"]
        raise VoteRefused("submission", expected=expected, got=got, do="fill in all four")
    name = form["reviewer"]
    try:
        known = people.reviewer(board.ledger, name)
    except NotFound:
        raise VoteRefused(f"reviewer {name!r}", expected="an enrolled reviewer", got="a stranger") from None
    votes.refuse_locked(board.ledger, found, name, at)  # before the code is looked at: a guess is not answered
    step = codes.step_of(board.vault, name, known.secret, form["code"], at)
    vote = Vote(
        ballot=found.id,
        subject=found.subject.digest,
        reviewer=name,
        role=known.role,
        decision="yes" if form["decision"] == "yes" else "no",
        reason=form["reason"],
        cast_at=at,
    )
    return vote, step
