"""What the guard tells people: one alert for each change of state, with evidence, what was done, owner and next step.

Pure: builds outbox events, delivers nothing. An id follows from what the alert is about, so that raising it again
(another tick, a restart, a second guard) writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from checks.alerts import HOUSE, alert
from checks.judge import state_of
from configs.schema import Defaults
from guard.watch import confirms, wrong_arms
from records import AlertBody, Arm, GuardVerdict, OutboxEvent, ReleasePlan, ReplicaState, Trip
from stores.ledger.ballots import Ballot

NEXT = {
    "refused_artifact": "Compare the artifact in the store with its digest; find out who wrote it. Train a new candidate.",
    "errors": "Read the service's log for the version named; train or build a new candidate. The hash is rejected for good.",
    "late": "See what slowed the version named (size, features, host). The hash is rejected for good.",
    "kpi_drop": "Explain the drop: cause, evidence, a second person (`grownet incident`). Until then it counts as unexplained.",
    "missing": "Find out why no feedback arrives (senders, keys, outcome delay), then `grownet release resume` by vote.",
    "sample_ratio": "Look for requests that miss an arm (retries, bots, replicas on another plan); nothing advances until then.",
    "both_bad": "Both arms fail alike, so it is not the release: look at hosts and inputs. Once mended, `grownet release restore` by vote.",
}  # fmt: skip
Standing = Literal["champion", "control", "previous"]  # arms that are not under judgement
Part = Literal["ballot", "rollout"]  # of what the guard does about a model
OWNED_BY_DEPLOY = {"refused_artifact", "errors", "late", "both_bad"}


def of_verdict(
    verdict: GuardVerdict, plan: ReleasePlan, defaults: Defaults, done: str, incident: str = ""
) -> OutboxEvent:
    """The alert of a verdict that needs people: once for each state of a step.

    Args:
        incident: id of the one that it opens.
    """
    state = state_of(verdict)
    told = {"rollback": f" taken back: {_words(state)}", "fallback": " and its control fail alike: the rules answer"}
    title = f"{_arm(verdict, plan)}{told.get(verdict.action, f': {_words(state)}')}"
    again = [plan.revision] if verdict.action == "fallback" else []  # people may restore it, and it may fall again
    return alert(
        key=[plan.model, plan.salt, plan.step, verdict.arm, state, *again],
        level="critical" if verdict.action in told else "warning",
        model=plan.model,
        title=title,
        body=AlertBody(
            what=verdict.reason,
            evidence=evidence(verdict) | ({"incident": incident} if incident else {}),
            done=done,
            owner=owner(state, defaults),
            next=NEXT[state],
            link=_command(plan.model),
        ),
        at=verdict.at,
    )


def owner(state: str, defaults: Defaults) -> str:
    """Whose stage failed: what broke in serving is Deploy's, what the figures say is Monitor's."""
    return defaults.owners.deploy if state in OWNED_BY_DEPLOY else defaults.owners.monitor


def not_followed(
    plan: ReleasePlan, living: tuple[ReplicaState, ...], trips: tuple[Trip, ...], defaults: Defaults, at: datetime
) -> OutboxEvent:
    """Replicas that do not serve the current revision although they had time to, and what they said of it."""
    said = {trip.replica: f"; it said: {trip.reason}" for trip in trips if trip.at >= plan.created_at}
    behind = {
        f"replica {state.replica}": f"{_standing(plan, state, at)}{said.get(state.replica, '')}"
        for state in living
        if not confirms(plan, (state,))
    }
    return alert(
        key=[plan.model, plan.revision, "not_followed"],
        level="critical",
        model=plan.model,
        title=f"replicas do not serve revision {plan.revision}",
        body=AlertBody(
            what=f"Revision {plan.revision} was written at {plan.created_at:%H:%M:%S} UTC ({plan.reason}) and is not served everywhere.",
            evidence=behind or {"replicas": "none has reported lately"},
            done="nothing: the plan stands",
            owner=defaults.owners.deploy,
            next="See whether the replica named reaches the ledger and the artifact store; restart it. A break-glass file forces the rules on it.",
            link=_command(plan.model),
        ),
        at=at,
    )


def replica_lost(state: ReplicaState, defaults: Defaults, at: datetime) -> OutboxEvent:
    """A replica that said nothing for long and did not leave; once for its models together, on the day it fell silent."""
    return alert(
        key=["replica_lost", state.replica, state.at.date().isoformat()],
        level="warning",
        model=state.model,
        title=f"replica {state.replica} is silent",
        body=AlertBody(
            what="It reported no more and did not say that it leaves: it died, or does not reach the ledger.",
            evidence={
                "replica": state.replica,
                "url": state.url,
                "revision": state.revision,
                "last": state.at.isoformat(),
            },
            done="nothing waits for it: plans count as served without it",
            owner=defaults.owners.deploy,
            next="Start it again, or see whether it reaches the ledger. Where it was taken away on purpose there is nothing to do.",
            link=_command(state.model),
        ),
        at=at,
    )


def arm_refused(plan: ReleasePlan, role: Standing, trip: Trip, defaults: Defaults, at: datetime) -> OutboxEvent:
    """A replica cannot serve an arm that the plan names, or dropped it by itself; others answer for it there."""
    arm: Arm = getattr(plan, role)
    refused, champion = trip.kind == "refused", role == "champion"
    done = "answers with what it still has, or with the rules" if champion else "goes on without it"
    return alert(
        key=[plan.model, plan.revision, trip.replica, trip.artifact, f"{role}_refused"],
        level="critical" if champion else "warning",
        model=plan.model,
        title=f"replica {trip.replica} {'refused' if refused else 'dropped'} {arm.name}",
        body=AlertBody(
            what=trip.reason,
            evidence={"replica": trip.replica, "role": role, "artifact": trip.artifact[:12], "at": trip.at.isoformat()},
            done=f"the replica {done}{'' if refused else ', until the next revision'}",
            owner=defaults.owners.deploy,
            next=f"{'Compare the artifact with its digest.' if refused else 'Read the log of that replica.'} "
            "`grownet release rollback` if other replicas do the same.",
            link=_command(plan.model),
        ),
        at=at,
    )


def journal_full(trip: Trip, defaults: Defaults, at: datetime) -> OutboxEvent:
    """A replica's disk has no room for its journal, or only its reserve; once for each revision and reason."""
    rules = defaults.service.journal_full == "rules"
    return alert(
        key=[trip.id],
        level="critical",
        model=trip.model,
        title=f"replica {trip.replica}: {trip.reason}",
        body=AlertBody(
            what=trip.reason,
            evidence={"replica": trip.replica, "at": trip.at.isoformat()},
            done="while the reserve lasts answers are journalled; then "
            + ("the rules answer, unjournalled, and say so" if rules else "requests are refused with 503"),
            owner=defaults.owners.deploy,
            next="Make room on that disk: is the lake away, or the monitor, so that nothing is cleared? `grownet ship "
            "--keep 0` ships at once and clears all that was read. The replica goes on by itself.",
            link="grownet ship --keep 0",
        ),
        at=at,
    )


def features_refused(trip: Trip, defaults: Defaults, at: datetime) -> OutboxEvent:
    """A replica did not take a feature snapshot; once for each revision and reason."""
    return alert(
        key=[trip.id],
        level="warning",
        model=trip.model,
        title=f"replica {trip.replica} refused fresh features",
        body=AlertBody(
            what=trip.reason,
            evidence={"replica": trip.replica, "revision": trip.revision, "at": trip.at.isoformat()},
            done="it goes on with the features it had; no version is touched",
            owner=defaults.owners.feature,
            next="Other replicas too: look at what the refresh flow published (`grownet audit verify`). This one only: at its disk.",
            link=_command(trip.model),
        ),
        at=at,
    )


def ballot_expired(ballot: Ballot, missing: Sequence[str], defaults: Defaults, at: datetime) -> OutboxEvent:
    """A question that nobody answered in time."""
    question = ballot.question
    return alert(
        key=[ballot.id, "expired"],
        level="warning",
        model=ballot.model,
        title=f"nobody decided the ballot to {ballot.subject.verb}",
        body=AlertBody(
            what=f"Ballot {ballot.id}, opened at {question.opened_at:%Y-%m-%d %H:%M} UTC by {question.opened_by}, ran out.",
            evidence={"roles without a vote": ", ".join(missing), "candidate": question.candidate or "none"},
            done="the ballot is closed; what it asked for does not happen",
            owner=defaults.owners.approve,
            next="Ask again when reviewers have time; enrol more if a role has nobody.",
            link=_command(ballot.model),
        ),
        at=at,
    )


def ballot_void(ballot: Ballot, why: str, defaults: Defaults, at: datetime) -> OutboxEvent:
    """A question that is no longer over what there is."""
    return alert(
        key=[ballot.id, "void"],
        level="warning",
        model=ballot.model,
        title=f"the ballot to {ballot.subject.verb} is void",
        body=AlertBody(
            what=f"Ballot {ballot.id}, opened by {ballot.question.opened_by}, is not over what there is now: {why}",
            evidence={"changed": why, "candidate": ballot.question.candidate or "none"},
            done="the ballot is closed; what it asked for does not happen, and another one may be opened",
            owner=defaults.owners.approve,
            next="Look at the plan as it is now and ask again if it is still wanted.",
            link=_command(ballot.model),
        ),
        at=at,
    )


def guard_failing(model: str, part: Part, error: str, defaults: Defaults, at: datetime) -> OutboxEvent:
    """The guard cannot judge one model, or not close its ballot; the others are watched as before."""
    ballot = part == "ballot"
    return alert(
        key=[model, part, error, at.isoformat()],
        level="warning" if ballot else "critical",
        model=model,
        title=f"the guard cannot watch {'the ballot of ' if ballot else ''}this model",
        body=AlertBody(
            what=error,
            evidence={},
            done=f"nothing; {'its rollout and ' if ballot else ''}other models are watched as before",
            owner=defaults.owners.monitor,
            next="Find out who wrote it: `grownet audit verify`. Until then the ballot does not expire by itself."
            if ballot
            else "Mend the cause; until then nothing is advanced or taken back. `grownet release hold` or `fallback` are there.",
            link=_command(model),
        ),
        at=at,
    )


def courier_died(error: str, defaults: Defaults, at: datetime) -> OutboxEvent:
    """The thread that delivers alerts ended; it was begun again, but some may be late."""
    return alert(
        key=[error, at.isoformat(), "courier_died"],
        level="warning",
        model=HOUSE,
        title="the delivery of alerts failed",
        body=AlertBody(
            what=error,
            evidence={},
            done="the delivery was begun again; every model is watched as before",
            owner=defaults.owners.monitor,
            next="Mend the cause, see the guard's log; alerts that wait in the outbox may be late.",
            link="grownet doctor",
        ),
        at=at,
    )


def evidence(verdict: GuardVerdict) -> dict[str, Any]:
    """The figures of a verdict by name, for people."""
    inputs = verdict.inputs
    found = {
        "revision": verdict.revision,
        "version": verdict.version,
        "kpi": inputs["kpi"],
        "kpi of the control": inputs["control_kpi"],
        "relative effect": verdict.effect,
        "interval from": verdict.low,
        "interval to": verdict.high,
        "matured answers": verdict.matured,
        "earlier answers left out": (inputs.get("later") or {}).get("after"),
        "answers": inputs["now"]["answers"],
        "errors": inputs["now"]["errors"],
        "late": inputs["now"]["late"],
        "verdict": verdict.id,
    }
    return {name: value for name, value in found.items() if value is not None}


def _standing(plan: ReleasePlan, state: ReplicaState, at: datetime) -> str:
    wrong = wrong_arms(plan, state)
    heard = f"heard {(at - state.at).total_seconds():.0f} s ago at revision {state.revision}"
    return f"{heard}, without the planned {' and '.join(wrong)}" if wrong else heard


def _arm(verdict: GuardVerdict, plan: ReleasePlan) -> str:
    arm = plan.canary if verdict.arm == "canary" else plan.champion
    return f"{verdict.arm} {arm.name if arm else verdict.version}"


def _words(state: str) -> str:
    return state.replace("_", " ").replace("kpi", "KPI")


def _command(model: str) -> str:
    return f"grownet release show {model}"
