"""Does what a verdict says: moves a rollout on, takes it back, holds it. With `guard.decide` the only
automatic writer of plans: this one follows the judge of a rollout, that one the decision table.

Reads nothing; writes verdict, plan, incident and alert to the ledger, under the epoch of the guard's lease. A change is
decided on one revision; when somebody wrote in between it is refused, and the next tick looks again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from checks import plans as transitions
from checks.case import trips_of
from checks.incidents import first_bad
from checks.judge import matured_since, memory_of, state_of
from configs.schema import Defaults
from guard import alerts
from guard.watch import View, Watch
from records import GuardVerdict, Incident, OutboxEvent, ReleasePlan, Ruling, digest_of, utc_now
from stores.ledger import incidents, leases, outbox, plans, rulings, verdicts
from stores.ledger.engine import Ledger
from stores.ledger.signing import Signer

log = logging.getLogger("grownet.guard")
ACTOR = "guard"
BACK = frozenset({"rollback", "fallback"})  # each opens an incident
SAVE_SECONDS = 10.0  # an unchanged verdict is written again no more often, so that people see the sample still needed
TELL = frozenset({"sample_ratio", "errors", "late"})  # states without an action that people must hear of


@dataclass(frozen=True)
class Hand:
    """What the guard writes with: nothing is written under an epoch that is over."""

    ledger: Ledger
    signer: Signer
    defaults: Defaults
    epoch: int

    def tell(
        self, events: Sequence[OutboxEvent] = (), incident: Incident | None = None, ruling: Ruling | None = None
    ) -> None:
        """Writes alerts, an incident and a ruling that come without a change of plan."""
        with self.ledger.write(ACTOR) as transaction:
            leases.refuse_stale(transaction, leases.GUARD, self.epoch)
            outbox.queue(transaction, events)
            if incident is not None:
                incidents.store(transaction, incident)
            if ruling is not None:
                rulings.store(transaction, ruling)

    def restored(self, incident: Incident, at: datetime) -> None:
        """Notes when an incident was over; people may write about it at the same time."""
        with self.ledger.write(ACTOR) as transaction:
            leases.refuse_stale(transaction, leases.GUARD, self.epoch)
            incidents.restored(transaction, incident.id, at)


def carry_out(hand: Hand, watch: Watch, view: View, verdict: GuardVerdict, ruling: Ruling | None = None) -> bool:
    """Stores the verdict when it is news, and does what it says; True when the plan is another one now.

    Args:
        ruling: what the decision table says of the same canary, to be kept with its taking back.

    Raises:
        RevisionConflict: when another guard leads, or the plan changed since it was looked at.
    """
    _save(hand, watch, verdict)
    if verdict.action != "none":
        _act(hand, view, verdict, ruling)
        if ruling is not None:
            watch.history.add(ruling)
        return True
    if state_of(verdict) in TELL:
        tell_once(hand, watch, alerts.of_verdict(verdict, view.plan, hand.defaults, "nothing was changed"))
    return False


def _save(hand: Hand, watch: Watch, verdict: GuardVerdict) -> None:
    last = watch.saved
    if last is not None and _says(last) == _says(verdict):
        old = (verdict.at - last.at).total_seconds() >= SAVE_SECONDS
        if not old or last.matured == verdict.matured:
            return
    verdicts.save(hand.ledger, verdict, ACTOR, hand.epoch)
    if last is None or _says(last) != _says(verdict):
        log.info("%s r%d %s %s: %s", verdict.model, verdict.revision, verdict.arm, state_of(verdict), verdict.reason)
    watch.saved = verdict


def _says(verdict: GuardVerdict) -> tuple[object, ...]:
    return verdict.revision, verdict.arm, verdict.kpi, verdict.action, state_of(verdict)


def _act(hand: Hand, view: View, verdict: GuardVerdict, ruling: Ruling | None) -> None:
    plan = view.plan
    done = _done(verdict, plan)
    incident = incident_of(verdict, view, hand.defaults, done) if verdict.action in BACK else None
    told = verdict.action in {*BACK, "hold"}
    alert = alerts.of_verdict(verdict, plan, hand.defaults, done, incident.id if incident else "") if told else None
    moved = plans.change(
        hand.ledger,
        plan.model,
        lambda current: _transition(verdict, current),
        signer=hand.signer,
        actor=ACTOR,
        expected_revision=plan.revision,
        epoch=hand.epoch,
        events=[alert] if alert is not None else [],
        incident=incident,
        ruling=ruling,
    )
    log.info("%s revision %d: %s", plan.model, moved.revision, done)


def _transition(verdict: GuardVerdict, plan: ReleasePlan) -> ReleasePlan:
    reason = f"{state_of(verdict)}: {verdict.reason}"
    back = transitions.take_back if verdict.arm == "canary" else transitions.rollback
    moves = {"advance": transitions.advance, "promote": transitions.advance, "hold": transitions.hold}
    move = moves | {"rollback": back, "fallback": transitions.fallback}
    return move[verdict.action](plan, at=verdict.at, actor=ACTOR, reason=reason)


def _done(verdict: GuardVerdict, plan: ReleasePlan) -> str:
    """What the action does, in words; it is written before it is known to have happened, in the same transaction."""
    revision = plan.revision + 1
    if verdict.action == "hold":
        return f"the rollout is on hold since revision {revision}"
    if verdict.action == "fallback":
        return f"the rules answer since revision {revision}; the models come back by a vote"
    if verdict.action == "rollback" and verdict.arm == "canary":
        return (
            f"canary taken back in revision {revision}; {plan.champion.name} answers, the artifact is rejected for good"
        )
    if verdict.action == "rollback":
        return (
            f"rolled back in revision {revision}; {plan.previous.name if plan.previous else 'the rules'} answers again"
        )
    step = transitions.next_step(plan)
    return f"{verdict.action}d to {step.percent:g} %" if step else verdict.action


def incident_of(verdict: GuardVerdict, view: View, defaults: Defaults, done: str) -> Incident:
    """The incident of something taken back: one for each rollout and arm, so one automatic rollback for each. What people
    restored after a fallback may fall again."""
    key = [verdict.model, view.plan.salt, verdict.arm]
    again = [view.plan.revision] if verdict.action == "fallback" else []
    return Incident(
        id=f"incident-{digest_of([*key, *again])[:16]}",
        model=verdict.model,
        level="critical",
        kind=state_of(verdict),
        summary=verdict.reason,
        evidence=alerts.evidence(verdict),
        first_bad_at=_first_bad(verdict, view),
        detected_at=verdict.at,
        decided_at=utc_now(),
        failed_requests=int(verdict.inputs["now"]["errors"]),
        owner=alerts.owner(state_of(verdict), defaults),
        actions=(done,),
    )


def _first_bad(verdict: GuardVerdict, view: View) -> datetime | None:
    """When it began, by the wall clock: event times may be years ago in a replay."""
    memory, plan = memory_of(verdict), view.plan
    arm = plan.canary if verdict.arm == "canary" else plan.champion
    tripped = [trip.at for trip in trips_of(view.seen, arm)] if arm is not None else []
    known: dict[str, list[datetime | None]] = {
        "refused_artifact": [*tripped],
        "errors": [memory.own.errors.since, *tripped],
        "late": [memory.own.late.since, *tripped],
        "both_bad": [memory.own.errors.since, memory.own.late.since, *tripped],
        "kpi_drop": [matured_since(verdict)],
    }
    return first_bad([at for at in known[state_of(verdict)] if at is not None], verdict.at)


def tell_once(hand: Hand, watch: Watch, alert: OutboxEvent) -> None:
    if alert.id not in watch.said:
        hand.tell([alert])
        watch.said.add(alert.id)
