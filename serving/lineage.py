"""From the plan a replica knows to the one the ledger has now: each change between them was its signer's to make.

Reads the releases, ballots and votes of the ledger; writes nothing. Called by the plan follower for a plan whose own
signature was checked, so that a key of the guard or of an operator cannot do here what takes a vote.
"""

from __future__ import annotations

import msgspec

from checks.authority import authorise, needs_vote
from checks.ballots import judge_votes, verify_vote
from checks.keys import key_kind
from checks.plans import arms, initial
from errors import AdmissionRefused, NotFound, ReleaseRefused, TamperError
from records import BallotSubject, ReleasePlan, SignedPlan
from stores.ledger import ballots, plans, votes
from stores.ledger.engine import Ledger
from stores.ledger.plans import Release
from stores.ledger.signing import Ring


def refuse_unauthorised(ledger: Ledger, signed: SignedPlan, seen: ReleasePlan | None, ring: Ring) -> None:
    """Walks the revisions after `seen`, or all of them when no plan is known, up to the signed one.

    Raises:
        AdmissionRefused: when one is missing, not signed, or not its signer's to make.
    """
    newest, last = signed.plan, None
    before = seen or initial(newest.model, newest.created_at)
    for row in plans.releases(ledger, newest.model, after=before.revision):
        if row.revision > newest.revision:
            break
        try:
            after = _next(row, before, ring)
            authorise(before, after, row.signed.key, _voted(ledger, row, before, after, ring))
        except (ReleaseRefused, NotFound, TamperError, msgspec.DecodeError) as error:
            raise AdmissionRefused(
                f"release plan of {newest.model}, revision {row.revision}",
                expected="a change that its signer may make",
                got=str(error),
                do="find out who wrote it: run `grownet audit verify`",
            ) from error
        before, last = after, row.signed
    if last != signed:
        raise AdmissionRefused(
            f"release plan of {newest.model}",
            expected=f"every revision after {seen.revision if seen else 0} in the ledger",
            got=f"none after {before.revision} that leads to {newest.revision}",
            do="restore the ledger from its newest backup",
        )


def _next(row: Release, before: ReleasePlan, ring: Ring) -> ReleasePlan:
    after = plans.verify(row.signed, ring)
    if (after.model, after.revision) != (before.model, before.revision + 1):
        expected = f"revision {before.revision + 1} of {before.model}"
        raise TamperError("release plan", expected=expected, got=f"revision {after.revision} of {after.model}")
    return after


def _voted(ledger: Ledger, row: Release, before: ReleasePlan, after: ReleasePlan, ring: Ring) -> BallotSubject | None:
    """What was voted on: an arm carries its own ballot, whose votes admission counts; others are counted here."""
    brought = [arm.approval for arm in arms(after) if arm not in arms(before) and arm.approval is not None]
    if brought:
        return brought[0].subject
    if key_kind(row.signed.key) != "release" or not needs_vote(before, after):
        return None
    found = ballots.ballot(ledger, row.ballot)
    cast = votes.votes(ledger, found.id)
    for vote in cast:
        verify_vote(vote, found.subject, ring.verify)
    about = (found.subject.model, found.subject.base_revision)
    verdict = judge_votes(found.subject.digest, cast, found.question.required_roles)
    if about != (before.model, before.revision) or verdict != "approved":
        raise TamperError(
            f"ballot {found.id}",
            expected=f"an approved one over revision {before.revision} of {before.model}",
            got=f"{verdict}, over revision {about[1]} of {about[0]}",
        )
    return found.subject
