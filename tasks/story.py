"""The story of each version of a model, as the ledger tells it: trained, judged, voted on, rolled out, taken back.

Reads candidates, evidence, ballots, votes and plans; writes nothing. Signatures of plans and votes are checked, and
evidence against what was voted on and what the audit log tells: what was changed since is named and not repeated. Model
cards and release notes are made of it, so they can be made again at any time and come out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from checks.ballots import verify_vote
from checks.changes import change
from checks.plans import initial
from errors import AdmissionRefused
from records import RULES, Arm, Candidate, Evidence, ReleasePlan, Vote
from stores.ledger import audit, ballots, evidence, plans, votes
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring

CHANGED = "Its evidence was changed since the vote: not believed, so no figure of it stands here."
UNTOLD = "Its evidence is not what the audit log tells of: not believed, so no figure of it stands here."


@dataclass(frozen=True)
class Moment:
    """One revision of the plan."""

    at: datetime
    revision: int
    actor: str
    what: str
    reason: str
    promotes: bool = False


@dataclass(frozen=True)
class Asked:
    """A ballot over a candidate, with the votes that are signed as they should be."""

    ballot: Ballot
    votes: tuple[Vote, ...]
    forged: tuple[Vote, ...] = ()  # rows that nobody signed as they stand now

    @property
    def covers(self) -> str:
        """The digest of the evidence that was voted on; empty when no vote that holds is over this subject."""
        return "" if self.forged and not self.votes else self.ballot.subject.evidence


@dataclass(frozen=True)
class Chapter:
    """One version. `candidate` is the one that people were asked about, else the newest with the version's bytes."""

    name: str
    number: int
    candidate: Candidate | None  # None for the rules
    trainings: int  # how often these very bytes were trained
    evidence: Evidence | None
    discarded: str
    asked: tuple[Asked, ...]
    moments: tuple[Moment, ...]
    before: Arm  # the champion it was compared with
    state: str  # where it stands now, in words
    doubt: str = ""  # why its evidence is not believed; there is none then

    @property
    def promoted(self) -> bool:
        """True when it ever answered everything but the control's share."""
        return any(moment.promotes for moment in self.moments)


@dataclass(frozen=True)
class Story:
    """All versions of a model, newest number first; the rules last, when something happened to them."""

    model: str
    plan: ReleasePlan
    chapters: tuple[Chapter, ...]

    def of(self, number: int) -> Chapter | None:
        return next((chapter for chapter in self.chapters if chapter.number == number), None)

    def predecessor(self, chapter: Chapter) -> Chapter | None:
        """The champion it was compared with; after the rules, the last version before it that was promoted."""
        if chapter.before.number != RULES:
            return self.of(chapter.before.number)
        return next((one for one in self.chapters if one.number < chapter.number and one.promoted), None)


def tell(ledger: Ledger, model: str, ring: Ring) -> Story:
    """The story of a model up to now.

    Raises:
        TamperError: for a plan that no key for plans signed.
    """
    history = [plans.verify(signed, ring) for signed in plans.history(ledger, model)]
    known = evidence.candidates(ledger, model)
    first = (
        history[0].created_at if history else known[0].created_at if known else datetime.fromtimestamp(0).astimezone()
    )
    history = [initial(model, first), *history]
    moments = _moments(history)
    asked = [_asked(ledger, found, ring) for found in ballots.ballots(ledger, model)]
    numbers = sorted({one.number for one in known} | set(moments), reverse=True)
    return Story(
        model, history[-1], tuple(_chapter(ledger, number, known, asked, history, moments) for number in numbers)
    )


def fresh(candidate: Candidate) -> Chapter:
    """The first page of a story: trained, and nobody has judged it."""
    rules = initial(candidate.model, candidate.created_at).champion
    return Chapter(
        name=candidate.versions.model.name,
        number=candidate.number,
        candidate=candidate,
        trainings=1,
        evidence=None,
        discarded="",
        asked=(),
        moments=(),
        before=rules,
        state="trained, not judged yet",
    )


def _moments(history: Sequence[ReleasePlan]) -> dict[int, list[Moment]]:
    found: dict[int, list[Moment]] = {}
    for before, after in pairwise(history):
        about, what = change(before, after)
        promotes = before.canary is not None and after.champion == before.canary
        told = Moment(after.created_at, after.revision, after.actor, what, after.reason, promotes)
        found.setdefault(about.number, []).append(told)
    return found


def _asked(ledger: Ledger, found: Ballot, ring: Ring) -> Asked:
    cast = votes.votes(ledger, found.id)
    held = tuple(vote for vote in cast if _holds(vote, found, ring))
    return Asked(found, held, tuple(vote for vote in cast if vote not in held))


def _holds(vote: Vote, found: Ballot, ring: Ring) -> bool:
    try:
        verify_vote(vote, found.subject, ring.verify)
    except AdmissionRefused:
        return False
    return True


def _chapter(  # noqa: PLR0917 - everything that was read about a model, once
    ledger: Ledger,
    number: int,
    known: Sequence[Candidate],
    asked: Sequence[Asked],
    history: Sequence[ReleasePlan],
    moments: dict[int, list[Moment]],
) -> Chapter:
    mine = [one for one in known if one.number == number]
    over = tuple(one for one in asked if one.ballot.subject.artifact in {each.artifact.content for each in mine})
    shown = _shown(ledger, mine, over)
    judged, doubt = _judged(ledger, shown, over)
    why = (evidence.discarded(ledger, shown.id) or "") if shown else ""
    told = tuple(moments.get(number, []))
    opened = over[0].ballot.subject.base_revision if over else None
    return Chapter(
        name=shown.versions.model.name if shown else _named(history, number),
        number=number,
        candidate=shown,
        trainings=len(mine),
        evidence=judged,
        discarded=why,
        asked=over,
        moments=told,
        before=_before(history, opened, judged),
        state=_state(history, number, over, why, _unasked(judged, doubt)),
        doubt=doubt,
    )


def _judged(ledger: Ledger, shown: Candidate | None, asked: Sequence[Asked]) -> tuple[Evidence | None, str]:
    """The evidence that people voted on, else the newest; or why it is not believed."""
    found = evidence.evidence_of(ledger, shown.id) if shown else []
    if shown is None or not (found or asked):
        return None, ""
    about = [one for one in asked if one.ballot.question.candidate in {shown.id, ""}]
    if about:
        found = [one for one in found if one.digest == about[-1].covers]
    told = {entry.detail.get("digest") for entry in audit.entries(ledger, shown.model) if entry.action == "evidence"}
    if not found:
        return None, CHANGED if about else ""
    return (found[-1], "") if found[-1].digest in told else (None, UNTOLD)


def _unasked(judged: Evidence | None, doubt: str) -> str:
    """The state of a version that nobody was asked about."""
    if doubt:
        return "its evidence is not believed"
    return "passed its gates, nobody was asked yet" if judged else "trained, not judged yet"


def _shown(ledger: Ledger, mine: Sequence[Candidate], asked: Sequence[Asked]) -> Candidate | None:
    """Equal bytes may be trained again; what people voted on counts, then what passed its gates, then the newest."""
    voted = {one.ballot.question.candidate for one in asked}
    ranked = sorted(
        mine,
        key=lambda one: (
            one.id in voted,
            any(found.passed for found in evidence.evidence_of(ledger, one.id)),
            one.created_at,
        ),
    )
    return ranked[-1] if ranked else None


def _before(history: Sequence[ReleasePlan], opened: int | None, judged: Evidence | None) -> Arm:
    """The champion when the ballot opened, or when it was judged."""
    if opened is not None:
        return next((plan.champion for plan in history if plan.revision == opened), history[0].champion)
    if judged is None:
        return history[0].champion
    return [history[0], *(plan for plan in history[1:] if plan.created_at <= judged.created_at)][-1].champion


def _named(history: Sequence[ReleasePlan], number: int) -> str:
    arms = [arm for plan in history for arm in (plan.champion, plan.canary) if arm is not None]
    return next((arm.name for arm in arms if arm.number == number), "rules")


def _state(history: Sequence[ReleasePlan], number: int, asked: Sequence[Asked], discarded: str, unasked: str) -> str:
    plan = history[-1]
    if (serving := _in_plan(plan, number)) or number == RULES:
        return serving or "not serving"
    if any(before.canary and before.canary.number == number for before in history):
        return _gone(history, number)
    if asked:
        last = asked[-1].ballot
        return {"open": "waits for votes", "approved": "approved, not carried out yet"}.get(last.status, last.status)
    return "discarded" if discarded else unasked


def _in_plan(plan: ReleasePlan, number: int) -> str:
    if plan.canary is not None and plan.canary.number == number:
        return f"canary, {plan.canary_percent:g} %" if plan.canary_percent else "canary, in the shadow"
    if plan.champion.number != number:
        return "control and ready to come back" if plan.control is not None and plan.control.number == number else ""
    return "serves" if plan.mode == "model" or number == RULES else "loaded, while the rules answer"


def _gone(history: Sequence[ReleasePlan], number: int) -> str:
    """How a version that was in a rollout left."""
    for before, after in reversed(list(pairwise(history))):
        if before.canary is not None and before.canary.number == number and after.canary != before.canary:
            return change(before, after).what
        if before.champion.number == number and after.champion.number != number:
            replaced = after.previous is not None and after.previous.number == number
            return f"replaced by {after.champion.name}" if replaced else f"rolled back to {after.champion.name}"
    return "not serving"
