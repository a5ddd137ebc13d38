"""The story of each version of a model, as the ledger tells it: trained, judged, voted on, rolled out, taken back.

Reads candidates, evidence, ballots, votes and plans (every plan's signature is checked); writes nothing. Model cards and
release notes are made of it, so they can be made again at any time and come out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from checks.changes import change
from checks.plans import initial
from records import RULES, Arm, Candidate, Evidence, ReleasePlan, Vote
from stores.ledger import ballots, evidence, plans, votes
from stores.ledger.ballots import Ballot
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring


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
    """A ballot over a candidate, with its votes."""

    ballot: Ballot
    votes: tuple[Vote, ...]


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
    asked = [Asked(found, tuple(votes.votes(ledger, found.id))) for found in ballots.ballots(ledger, model)]
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
    judged = evidence.evidence_of(ledger, shown.id) if shown else []
    why = (evidence.discarded(ledger, shown.id) or "") if shown else ""
    told = tuple(moments.get(number, []))
    opened = over[0].ballot.subject.base_revision if over else None
    return Chapter(
        name=shown.versions.model.name if shown else _named(history, number),
        number=number,
        candidate=shown,
        trainings=len(mine),
        evidence=judged[-1] if judged else None,
        discarded=why,
        asked=over,
        moments=told,
        before=_before(history, opened, judged[-1] if judged else None),
        state=_state(history, number, over, judged, why),
    )


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


def _state(
    history: Sequence[ReleasePlan], number: int, asked: Sequence[Asked], judged: Sequence[Evidence], discarded: str
) -> str:
    plan = history[-1]
    if (serving := _in_plan(plan, number)) or number == RULES:
        return serving or "not serving"
    if any(before.canary and before.canary.number == number for before in history):
        return _gone(history, number)
    if asked:
        last = asked[-1].ballot
        return {"open": "waits for votes", "approved": "approved, not carried out yet"}.get(last.status, last.status)
    if discarded:
        return "discarded"
    return "passed its gates, nobody was asked yet" if judged else "trained, not judged yet"


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
