"""After every switch: do the replicas really serve what the plan says? Writes incidents' `restored_at`, and alerts.

Run by the guard's loop for each model after the judging. A replica that has not followed in time is escalated. An incident
that no plan answered is over when the decision table says so.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from guard import alerts
from guard.alerts import Standing
from guard.rollout import Hand, tell_once
from guard.watch import View, Watch
from records import Arm, Incident
from stores.ledger import incidents
from stores.ledger.counters import FEATURES, JOURNAL

log = logging.getLogger("grownet.guard")


def read_back(hand: Hand, watch: Watch, view: View) -> None:
    """Notes that an incident is restored once every living replica serves the current revision; escalates otherwise."""
    plan, at = view.plan, view.seen.at
    for incident in incidents.incidents(hand.ledger, plan.model, "open"):
        if incident.restored_at is None and (over := _over(incident, watch, view)) is not None:
            _restored(hand, incident, over)
    if view.seen.confirmed:
        return
    patience = timedelta(seconds=hand.defaults.guard.readback_seconds)
    if view.known_replicas and at - plan.created_at > patience:
        tell_once(hand, watch, alerts.not_followed(plan, view.replicas, view.seen.trips, hand.defaults, at))


def arm_trips(hand: Hand, watch: Watch, view: View) -> None:
    """Tells of replicas that refused or dropped what should answer, or stand beside it; rolling everything back over one
    replica's disk is for people. A canary is taken back by the judge."""
    plan = view.plan
    arms: dict[Standing, Arm | None]
    arms = {"previous": plan.previous, "control": plan.control, "champion": plan.champion}
    roles = {arm.artifact.content: role for role, arm in arms.items() if arm is not None and arm.artifact is not None}
    for trip in view.seen.trips:
        if trip.artifact in roles and trip.revision >= plan.revision:  # one of before is forgotten there as well
            tell_once(hand, watch, alerts.arm_refused(plan, roles[trip.artifact], trip, hand.defaults, view.seen.at))


def other_trips(hand: Hand, watch: Watch, view: View) -> None:
    """Tells of replicas that could not write their journal, or soon cannot, and of fresh features that one refused."""
    for trip in view.seen.trips:
        if trip.arm == JOURNAL:
            tell_once(hand, watch, alerts.journal_full(trip, hand.defaults, view.seen.at))
        elif trip.arm == FEATURES:
            tell_once(hand, watch, alerts.features_refused(trip, hand.defaults, view.seen.at))


def lost_replicas(hand: Hand, watch: Watch, view: View) -> None:
    """Tells of replicas that fell silent without leaving, which nobody waits for any more."""
    for state in view.lost:
        tell_once(hand, watch, alerts.replica_lost(state, hand.defaults, view.seen.at))


def _over(incident: Incident, watch: Watch, view: View) -> datetime | None:
    """When an incident was over; None while it goes on."""
    if incident.decided_at is not None:
        return view.seen.at if view.seen.confirmed and view.plan.revision >= incident.revision else None
    last = watch.history.last.get("answering")
    if last is None or last.at <= incident.detected_at:
        return None
    said = last.kpi if incident.kind in {"kpi_drop", "both_down"} else last.corruption
    return last.at if said == "no" else None


def _restored(hand: Hand, incident: Incident, at: datetime) -> None:
    hand.restored(incident, at)
    began = incident.first_bad_at or incident.detected_at
    log.info("%s %s restored, %.1f s after it began", incident.model, incident.id, (at - began).total_seconds())
