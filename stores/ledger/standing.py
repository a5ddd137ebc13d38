"""Whether a ballot is still over what there is now: its base revision, its evidence, its artifact.

Reads plans, candidates and evidence; writes nothing. Asked by the release flow before it opens, counts and carries out,
and by the guard, which closes ballots that can no longer be carried out.
"""

from __future__ import annotations

from datetime import datetime

from checks.plans import initial
from errors import ReleaseRefused
from records import Candidate, Evidence, ReleasePlan
from stores.ledger import evidence, plans
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring


def outdated(ledger: Ledger, found: Ballot, ring: Ring, at: datetime) -> str:
    """Why a ballot is not over what there is now, or an empty text: another revision, evidence or a discard since.

    Raises:
        TamperError: when the current plan is not signed by a key for plans.
    """
    subject = found.subject
    if subject.verb == "enroll":
        return ""
    plan = plan_now(ledger, subject.model, ring, at)
    if plan.revision != subject.base_revision:
        return (
            f"the plan went from revision {subject.base_revision} to {plan.revision}, "
            f"by {plan.actor} at {plan.created_at:%Y-%m-%d %H:%M:%S} UTC: {plan.reason}"
        )
    if not found.question.candidate:
        return ""
    candidate = evidence.candidate(ledger, found.question.candidate)
    try:
        proof = passed_evidence(ledger, candidate)
    except ReleaseRefused as error:
        return str(error)
    if proof.digest != subject.evidence or candidate.artifact.content != subject.artifact:
        return f"the evidence of {candidate.id} was {subject.evidence[:12]} and is {proof.digest[:12]}"
    return ""


def plan_now(ledger: Ledger, model: str, ring: Ring, at: datetime) -> ReleasePlan:
    """The verified current plan, or the one before any release."""
    signed = plans.current(ledger, model)
    return plans.verify(signed, ring) if signed else initial(model, at)


def passed_evidence(ledger: Ledger, candidate: Candidate) -> Evidence:
    """The newest evidence about a candidate.

    Raises:
        ReleaseRefused: when there is none, it did not pass, it is about other bytes, or the candidate was discarded.
    """
    thing, found = f"candidate {candidate.id}", evidence.evidence_of(ledger, candidate.id)
    if (why := evidence.discarded(ledger, candidate.id)) is not None:
        raise ReleaseRefused(thing, expected="one that was not discarded", got=why, do="train a new one")
    if not found:
        raise ReleaseRefused(thing, expected="evidence", got="none", do="validate it first")
    if found[-1].artifact != candidate.artifact.content:
        raise ReleaseRefused(thing, expected="evidence about its artifact", got=f"about {found[-1].artifact[:12]}")
    if not found[-1].passed:
        raise ReleaseRefused(
            thing, expected="gates that passed", got=found[-1].reason or "no gate", do="train a new one"
        )
    return found[-1]
