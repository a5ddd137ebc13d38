"""Evaluates the decision table for a model and does what it says: the one place where a champion is rolled back on its KPI.

Reads the ledger through `guard.gather`. A ruling that says something new is written with its plan, incident, alerts and
retraining request in one transaction, under the epoch of the lease; one that says the same again writes nothing.
"""

from __future__ import annotations

import logging

from checks import plans as transitions
from checks.policy import CHANGES, row_of, rule
from configs.schema import Config
from guard import news
from guard.gather import gather
from guard.rollout import ACTOR, Hand
from guard.watch import View, Watch
from records import GuardVerdict, Incident, OutboxEvent, ReleasePlan, Ruling
from stores.ledger import plans

log = logging.getLogger("grownet.guard")


def decide(hand: Hand, watch: Watch, view: View, verdict: GuardVerdict | None, config: Config) -> bool:
    """Rules on what answers and on a canary; True when the plan is another one now.

    Raises:
        RevisionConflict: when another guard leads, or the plan changed since it was looked at.
    """
    for facts in gather(hand.ledger, watch, view, verdict, config.models[watch.model]):
        ruling = rule(facts, config.decisions)
        if watch.history.is_news(ruling):
            changed = _carry_out(hand, watch, view.plan, ruling)
            watch.history.add(ruling)
            if changed:
                return True
    return False


def canary_fell(hand: Hand, watch: Watch, view: View, verdict: GuardVerdict, config: Config) -> Ruling | None:
    """What the table says of a canary that the judge takes back for its KPI; None when it says something else first."""
    found = gather(hand.ledger, watch, view, verdict, config.models[watch.model])
    rulings = [rule(facts, config.decisions) for facts in found if facts.role == "canary"]
    return next((ruling for ruling in rulings if "take_back" in ruling.actions), None)


def _carry_out(hand: Hand, watch: Watch, plan: ReleasePlan, ruling: Ruling) -> bool:
    log.info("%s %s: %s (%s)", ruling.model, ruling.role, ruling.row, ruling.reason)
    incident = news.incident_of(ruling, plan, hand.defaults) if "incident" in ruling.actions else None
    events = _events(hand, watch, plan, ruling, incident)
    if not set(CHANGES) & set(ruling.actions):
        hand.tell(events, incident, ruling)
        return False
    moved = plans.change(
        hand.ledger,
        ruling.model,
        lambda current: moves(current, ruling),
        signer=hand.signer,
        actor=ACTOR,
        expected_revision=plan.revision,
        epoch=hand.epoch,
        events=events,
        incident=incident,
        ruling=ruling,
    )
    log.info("%s revision %d: %s", ruling.model, moved.revision, news.done(ruling, plan))
    return moved.revision != plan.revision


def moves(plan: ReleasePlan, ruling: Ruling) -> ReleasePlan:
    """The plan after what a ruling does, ways back first."""
    row = row_of(ruling)
    reason = f"{row.name}: {ruling.reason}"
    for action in (action for action in CHANGES if action in ruling.actions):
        if action == "freeze":
            plan = transitions.freeze(plan, what_for=row.freezes_for, at=ruling.at, actor=ACTOR, reason=reason)
        else:
            plan = getattr(transitions, action)(plan, at=ruling.at, actor=ACTOR, reason=reason)
    return plan


def _events(
    hand: Hand, watch: Watch, plan: ReleasePlan, ruling: Ruling, incident: Incident | None
) -> list[OutboxEvent]:
    """What is to be told: the ruling when it is a change of state, a retraining asked for, monitors that fell silent."""
    last = watch.history.last.get("canary" if ruling.role == "canary" else "answering")
    made = [
        news.of_ruling(ruling, plan, hand.defaults, incident) if news.is_told(ruling) else None,
        news.retraining(ruling) if "retrain" in ruling.actions else None,
        news.of_monitors(ruling, last, hand.defaults),
    ]
    return [event for event in made if event is not None]
