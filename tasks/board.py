"""The release flow's side of a ballot: open it, carry it out, close it. Submissions are counted in `tasks.counting`.

Writes ballots, reviewers and, on a quorum, the next plan, signed by the key that only the release flow holds.
Everything may be done again from the first line, also after a crash: the ledger knows what was done. Prefect itself is
not imported; the flow in flows/release.py gives the order.
"""

from __future__ import annotations

import contextlib
from datetime import datetime

import msgspec

from checks import plans as transitions
from configs.schema import Settings
from errors import AdmissionRefused, ReleaseRefused, RevisionConflict, TamperError, UsageError
from records import Artifact, Candidate, OutboxEvent, ReleasePlan, digest_of, utc_now
from stores.ledger import ballots, evidence, outbox, people, plans, votes
from stores.ledger.ballots import Ballot
from tasks import ballot_page, runs
from tasks.questions import MOVES, Asked, Board, arm_of, changed, compose, enrolled


def ask(board: Board, asked: Asked) -> Ballot:
    """The ballot of a release run: its own, one left behind by a run that died, or a new one.

    An open ballot that can no longer be carried out does not stand in the way: it is closed as void first.

    Raises:
        ReleaseRefused: when a yes could not be carried out, or another ballot of the model is open.
    """
    known = _known(board, asked)
    if known is not None:
        return known
    now = utc_now()
    question = compose(board, asked, now)
    _clear(board, asked.model, now)
    found = ballots.open_ballot(board.ledger, question, request=asked.run)
    outbox.add(board.ledger, [_announcement(board.settings, found, asked)], asked.opened_by)
    return found


def page(board: Board, found: Ballot, last: str, link: str = "") -> str:
    """What reviewers read now: the ballot's page under the votes so far."""
    return ballot_page.standing(found.question.page, votes.votes(board.ledger, found.id), found.question, last, link)


def lapse(board: Board, found: Ballot, at: datetime) -> Ballot:
    """Closes an open ballot whose time is over; any other is returned as it is."""
    if found.status != "open" or at < found.question.expires_at:
        return found
    missing = sorted(set(found.question.required_roles) - {vote.role for vote in votes.votes(board.ledger, found.id)})
    return ballots.close(
        board.ledger, found.id, "expired", f"nobody voted as {missing} in time", actor="release", at=at
    )


def void(board: Board, found: Ballot, why: str) -> Ballot:
    """Closes a ballot that is not over what there is now."""
    return ballots.close(board.ledger, found.id, "void", why, actor="release")


def carry_out(board: Board, found: Ballot) -> str:
    """Does what an approved ballot allows and says what holds now; done once, however often it is asked for.

    Raises:
        RevisionConflict: when somebody else changed the plan since the ballot opened; the ballot is void then.
        TamperError: when the artifact in the store is not the one voted on; the ballot is void then.
        ReleaseRefused: when the evidence changed; the ballot is void then.
    """
    if found.status == "released":
        return found.closed_reason
    if found.subject.verb == "enroll":
        return _enrol(board, found)
    if why := changed(board, found, utc_now()):
        void(board, found, why)
        do = "look at the plan as it is now and ask again"
        raise RevisionConflict(f"ballot {found.id} is void", expected="what was voted on", got=why, do=do)
    try:
        plan = _change(board, found)
    except (RevisionConflict, TamperError, ReleaseRefused) as error:
        void(board, found, str(error))
        raise
    return transitions.describe(plan)


def _change(board: Board, found: Ballot) -> ReleasePlan:
    now, who = utc_now(), ", ".join(f"{vote.reviewer} ({vote.role})" for vote in votes.votes(board.ledger, found.id))
    verb, actor, reason = found.subject.verb, "release", f"{found.subject.verb}: ballot {found.id}, yes of {who}"
    if verb != "promote":
        return _write(board, found, lambda plan: MOVES[verb](plan, at=now, actor=actor, reason=reason))
    assert found.question.rollout is not None  # a promotion's question has one
    rollout, salt = found.question.rollout, digest_of([found.id, "salt"])[:16]
    candidate = evidence.candidate(board.ledger, found.question.candidate)
    _untouched(board, candidate)
    arm = arm_of(candidate, found.subject, votes.approval(board.ledger, found.id))
    lifts = found.subject.names_freeze
    return _write(
        board,
        found,
        lambda plan: transitions.start_rollout(
            plan, arm, rollout, salt, lifts_freeze=lifts, at=now, actor=actor, reason=reason
        ),
    )


def _write(board: Board, found: Ballot, transition: plans.Transition) -> ReleasePlan:
    signer = board.vault.signer
    return plans.change(board.ledger, found.model, transition, signer=signer, actor="release", ballot=found.id)


def _enrol(board: Board, found: Ballot) -> str:
    """Counts the votes again, writes the reviewer and closes the ballot: all of it or none."""
    try:
        with board.ledger.write("release") as transaction:
            transaction.head()  # one at a time, also on Postgres
            asked = ballots.required(transaction, found.id)
            if asked.status == "released":
                return asked.closed_reason
            votes.refuse_unvoted(transaction, asked, board.vault.verifier)
            new = enrolled(asked.subject.detail, board.config)
            people.enrol(transaction, msgspec.structs.replace(new, enrolled_by=f"ballot {asked.id}"))
            said = f"{new.name} is enrolled as {new.role}"
            ballots.settle(transaction, asked, "released", said, utc_now())
    except (AdmissionRefused, TamperError, ReleaseRefused, UsageError) as error:
        void(board, found, str(error))
        raise
    return said


def _untouched(board: Board, candidate: Candidate) -> None:
    """Reads artifact and features back: what is released is byte by byte what was voted on. Raises TamperError."""
    from stores.artifacts import Artifacts  # imports pandas, which a vote need not wait for

    store = Artifacts(board.settings.artifacts_uri, board.vault.encrypt, board.vault.decrypt)
    features = candidate.features
    for artifact in (candidate.artifact, Artifact(uri=features.uri, content=features.content, size_bytes=0)):
        store.get(artifact)


def _clear(board: Board, model: str, at: datetime) -> None:
    """Closes the model's open ballot when what it was over has changed: a yes to it could do nothing."""
    found = ballots.open_for(board.ledger, model)
    why = changed(board, found, at) if found else ""
    if found and why:
        with contextlib.suppress(ReleaseRefused):  # closed in another way a moment ago
            void(board, found, why)


def _known(board: Board, asked: Asked) -> Ballot | None:
    """This run's own ballot in whatever state, or an undecided or unreleased one over the same that lost its run."""
    same = [found for found in ballots.ballots(board.ledger, asked.model) if _same(found, asked)]
    own = [found for found in same if found.question.opened_by == asked.opened_by]
    if own:
        return own[0]
    now = utc_now()
    left = [found for found in same if found.status == "approved" or (found.status == "open" and not _over(found, now))]
    left = [found for found in left if not changed(board, found, now)]
    orphans = [found for found in left if not runs.alive(board.settings, found.question.opened_by.split()[-1])]
    return orphans[-1] if orphans else None


def _same(found: Ballot, asked: Asked) -> bool:
    subject = found.subject
    return (subject.verb, subject.detail, found.question.candidate) == (asked.verb, asked.detail, asked.candidate)


def _over(found: Ballot, at: datetime) -> bool:
    return found.question.expires_at <= at


def _announcement(settings: Settings, found: Ballot, asked: Asked) -> OutboxEvent:
    """Tells whoever listens that people are waited for; its id makes a repeat harmless."""
    body = {
        "verb": asked.verb,
        "ballot": found.id,
        "roles": list(found.question.required_roles),
        "until": found.question.expires_at.isoformat(),
        "link": f"{settings.prefect_ui_url}/runs/flow-run/{asked.run}",
    }
    return OutboxEvent(
        id=f"ballot-{found.id}",
        kind="event",
        level="ok",
        model=found.model,
        name="grownet.ballot.opened",
        title=f"{found.model}: a ballot to {asked.verb} waits for votes",
        body=body,
        at=found.question.opened_at,
    )
