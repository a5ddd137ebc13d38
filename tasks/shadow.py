"""The shadow report: how a candidate answers the requests that the champion answers, before anybody gets its answers.

Reads the plan, counters and trips of the ledger, the journals on this disk and in the lake, and the candidate's artifact for
the segments; changes nothing. Behind `grownet shadow`, whose page `tasks.shadow_page` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import NamedTuple

import msgspec

from checks import shadow as comparing
from checks import tallies
from checks.plans import describe as describe_plan
from checks.shadow import Figures, How, Kpi, Move
from configs.load import recipe_of
from configs.schema import Config, ModelConfig, Settings
from errors import NotFound
from records import Counter, Record, ReleasePlan, Trip
from stores.ledger import counters, plans
from stores.ledger.engine import Ledger
from stores.ledger.signing import Ring
from stores.vault import Vault
from tasks import places
from tasks.operate import opened
from tasks.reading import journals_of
from tasks.served import Served, served_by
from tasks.shadow_pairs import Read, about, read
from tasks.shadow_parts import paired, parted
from tasks.threads import limited


class Work(Record, frozen=True, kw_only=True):
    """What the replicas counted of the rollout so far. `unscored` is what was dropped, refused or still waits: known only
    while the candidate answers nobody, since afterwards its own answers are among the scored."""

    answers: int  # of the champion, that could be scored beside
    scored: int  # by the candidate, its failures among them
    failed: int
    late: int
    unscored: int | None


class Compared(Record, frozen=True, kw_only=True):
    """What of it was found in the journals on this disk and in the lake."""

    seen: int  # scores
    pairs: int  # with their answer, and compared
    sampled: bool  # there were more than fit
    failed: int
    late: int
    unreadable: int
    alone: int
    outcomes: int  # pairs with feedback
    odd_outcomes: int  # feedback that does not fit the model
    first: datetime | None  # received
    last: datetime | None


class Report(Record, frozen=True, kw_only=True):
    """A candidate beside the champion."""

    model: str
    candidate: str
    champion: str
    standing: str
    revision: int  # the last under which it was the canary
    since: datetime
    found_at: datetime
    judge: str  # split or paired
    kpi: str
    margin: (
        float  # of the rollout: a KPI that falls by more is a drop; a number that differs by more is another decision
    )
    counted: Work
    compared: Compared
    overall: Figures
    segments: tuple[Figures, ...]
    by: str  # what segments are made of
    edges: str  # where the thirds of numbers end
    moves: tuple[Move, ...]
    guard: Kpi | None  # what the guard's counters say of the whole rollout, in pairs
    trips: tuple[str, ...]
    report: str  # page below home


class Ground(NamedTuple):
    """What the ledger says of the shadow that is asked about."""

    plan: ReleasePlan  # the last with the candidate as canary
    current: ReleasePlan
    rows: list[Counter]
    trips: list[Trip]


def report(settings: Settings, config: Config, model: str, at: datetime) -> Report:
    """Compares the candidate that shadows, or the one that did so last, with its champion.

    Raises:
        NotFound: for a model that is not there, and when no candidate of it ever stood beside the champion.
        UsageError: for a model that is switched off.
        TamperError: when a plan is not what was signed.
        DataError: when the lake cannot be read.
    """
    recipe = recipe_of(config, model)
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        ground = _ground(ledger, ring, model)
    found = read(journals_of(settings), about(ground.plan))
    candidate = msgspec.structs.replace(ground.plan, mode="model", champion=ground.plan.canary)
    with limited(settings.threads):
        return made(ground, found, served_by(settings, config, candidate), recipe, at)


def made(ground: Ground, found: Read, served: Served, recipe: ModelConfig, at: datetime) -> Report:
    """The report from what was read.

    Args:
        served: the candidate, whose features say which segment somebody is in.
    """
    plan, how = ground.plan, _how(ground.plan, served, recipe)
    assert plan.canary is not None  # it was chosen for that
    parts = parted(served, found.pairs)
    pairs, odd = paired(served, found.pairs, parts.keys)
    frame = comparing.table(pairs, how.change)
    received = [one.live.received_at for one in found.pairs]
    return Report(
        model=plan.model,
        candidate=plan.canary.name,
        champion=plan.champion.name,
        standing=_standing(ground),
        revision=plan.revision,
        since=plan.rollout_started_at or plan.created_at,
        found_at=at,
        judge=served.module.JUDGE,
        kpi=recipe.kpi,
        margin=how.change,
        counted=_work(plan, ground.rows),
        compared=Compared(
            seen=found.seen,
            pairs=len(pairs),
            sampled=found.sampled,
            failed=found.failed,
            late=found.late,
            unreadable=found.unreadable,
            alone=found.alone,
            outcomes=sum(one.kpis is not None for one in pairs),
            odd_outcomes=odd,
            first=min(received, default=None),
            last=max(received, default=None),
        ),
        overall=comparing.figures(frame, how),
        segments=comparing.by_segment(frame, parts.segments, how),
        by=parts.by,
        edges=parts.edges,
        moves=comparing.moves(pairs),
        guard=_guard(plan, ground.rows) if how.paired else None,
        trips=tuple(f"{one.at:%Y-%m-%d %H:%M:%S} {one.replica}, {one.kind}: {one.reason}" for one in ground.trips),
        report=str(places.shadow(plan.model, plan.canary.name)),
    )


def _ground(ledger: Ledger, ring: Ring, model: str) -> Ground:
    signed = plans.current(ledger, model)
    current = plans.verify(signed, ring) if signed else None
    last = next((one for one in reversed(plans.history(ledger, model)) if one.plan.canary is not None), None)
    if current is None or last is None:
        stands = describe_plan(current) if current else "nothing was released yet"
        do = "a candidate that the board voted for begins in the shadow: `grownet retrain`, then the ballot"
        raise NotFound(f"shadow of {model}", expected="a candidate beside the champion", got=stands, do=do)
    plan = plans.verify(last, ring)
    content = plan.canary.artifact.content if plan.canary and plan.canary.artifact else ""
    trips = [one for one in counters.trips(ledger, model, plan.rollout_started_at) if one.artifact == content]
    return Ground(plan, current, counters.totals(ledger, model, plan.salt), trips)


def _standing(ground: Ground) -> str:
    """What became of the candidate."""
    candidate, current = ground.plan.canary, ground.current
    assert candidate is not None  # it was chosen for that
    content = candidate.artifact.content if candidate.artifact else ""
    if current.canary == candidate:
        return f"answers {current.canary_percent:g} %" if current.canary_percent else "in the shadow"
    if content in current.rejected:
        return "was taken back, for good"
    return "is the champion now" if current.champion == candidate else "does not stand beside it any more"


def _how(plan: ReleasePlan, served: Served, recipe: ModelConfig) -> How:
    assert plan.rollout is not None  # a canary has one
    gates = plan.rollout.gates
    return How(
        paired=served.module.JUDGE == "paired",
        change=gates.margin_fail,
        min_rows=recipe.gates.bias_min_rows,
        alpha=gates.alpha,
        tuned_at=tallies.tuned_at(plan.rollout),
        bins=recipe.monitor.bins,
        floor_psi=recipe.monitor.floor_psi,
        samples=recipe.gates.bootstrap_samples,
        seed=recipe.seed,
    )


def _work(plan: ReleasePlan, rows: Sequence[Counter]) -> Work:
    assert plan.canary is not None  # it was chosen for that
    live = tallies.tally(rows, "champion", plan.champion.number)
    parts = [tallies.tally(rows, role, plan.canary.number) for role in ("canary", "shadow")]
    answers, scored = live.answers - live.errors - live.late, sum(one.answers for one in parts)
    return Work(
        answers=answers,
        scored=scored,
        failed=sum(one.errors for one in parts),
        late=sum(one.late for one in parts),
        unscored=max(answers - scored, 0) if plan.step == 0 and plan.canary_percent == 0 else None,
    )


def _guard(plan: ReleasePlan, rows: Sequence[Counter]) -> Kpi | None:
    who = tallies.sides(plan)
    if who is None or plan.rollout is None:
        return None
    found = tallies.compare(rows, who, plan.rollout)
    low, high = (end if isfinite(end) else None for end in (found.effect.low, found.effect.high))
    said = {"effect": found.effect.effect, "low": low, "high": high}
    return Kpi(matured=found.matured, champion=found.control_kpi, candidate=found.kpi, **said)
