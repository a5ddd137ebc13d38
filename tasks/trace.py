"""Questions an auditor or an engineer asks: what answered this, what served then, how does every model stand.

Reads the journal on this disk and in the lake, the ledger and the artifact store; writes nothing, needs neither Prefect
nor MLflow.
Behind `grownet trace`, `served`, `models` and `release show`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from checks.plans import DRIFT, initial
from checks.plans import describe as describe_plan
from checks.prediction_ids import parse
from configs.schema import Config, Settings
from errors import NotFound
from records import Arm, Candidate, Evidence, ReleasePlan, Ruling, Snapshot, utc_now
from stores import lookup
from stores.lake import Lake
from stores.ledger import ballots, batches, evidence, incidents, plans, rulings, verdicts, votes
from stores.ledger.engine import Ledger
from stores.lookup import Found
from stores.shipped import Shipped
from stores.vault import Vault
from tasks import places, snapshot_facts, stops
from tasks.incidents import facts as incident_facts
from tasks.operate import opened

RECENT = 10


def trace(settings: Settings, config: Config, prediction_id: str) -> dict[str, Any]:
    """From an answer to the plan it was given under, the people who approved it, the commit, the configuration,
    the data version and the expectations its rows met.

    Raises:
        NotFound: when neither a journal here nor the lake knows the answer.
        TamperError: when a line, the plan's signature or the evidence does not match.
    """
    found = _found(settings, prediction_id)
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    answer = found.answer
    with opened(settings, "reader") as ledger:
        release = plans.release(ledger, answer.model, answer.revision)
        plan = plans.verify(release.signed, ring) if release else initial(answer.model, answer.received_at)
        arm = next((arm for arm in _arms(plan) if arm.number == answer.version), None)
        facts: dict[str, Any] = {
            "answer": answer,
            "paired": found.paired,
            "feedback": found.feedback,
            "release": {"revision": plan.revision, "actor": plan.actor, "reason": plan.reason, "at": plan.created_at},
            "served_by": arm.name if arm else "rules",
            "features": snapshot_facts.looked_up(ledger, plan, answer.snapshot),
        }
        if arm is not None and not arm.is_rules:
            facts |= _origin(ledger, arm, config)
    return facts


def _found(settings: Settings, prediction_id: str) -> Found:
    """From the journal on this disk; else from the lake, with what stands here of it still."""
    root = settings.home / "journal"
    try:
        return lookup.read(root, prediction_id)
    except NotFound:
        folder = root / parse(prediction_id).replica
    lines = [*Shipped(Lake(settings.lake_uri)).about(prediction_id), *lookup.about(folder, prediction_id)]
    found = lookup.joined(lines).get(prediction_id)
    if found is None:
        where = f"its line in {folder}, or in the lake"
        raise NotFound(f"answer {prediction_id}", expected=where, got="none", do="look on the machine of that replica")
    return found


def _origin(ledger: Ledger, arm: Arm, config: Config) -> dict[str, Any]:
    assert arm.artifact is not None  # an arm that is not the rules has one
    found = evidence.candidate_of_artifact(ledger, arm.artifact.content)
    approval = arm.approval
    facts: dict[str, Any] = {
        "artifact": arm.artifact,
        "versions": arm.versions,
        "config_digest": arm.config,
        "votes": list(approval.votes) if approval else [],
        "ballot": approval.subject if approval else None,
    }
    if found is None:
        return facts
    return facts | {
        "candidate": found.id,
        "commit": found.commit,
        "authors": list(found.authors),
        "mlflow_run": found.run_id,
        "card": str(places.card(found.model, found.versions.model.name)),
        "trained_until": found.trained_until,
        "reason": found.reason,
        "gates": list(evidence.evidence(ledger, arm.evidence).gates) if arm.evidence else [],
        "data": [_data(ledger, snapshot) for snapshot in found.features.snapshots],
        "owners": list(config.models[found.model].owners) if found.model in config.models else [],
    }


def _data(ledger: Ledger, snapshot: Snapshot) -> dict[str, Any]:
    known = {batch.id: batch for batch in batches.batches(ledger, snapshot.table)}
    rows = [known[name] for name in snapshot.batches if name in known]
    return {
        "table": snapshot.table,
        "version": snapshot.version,
        "delta_version": snapshot.delta_version,
        "rows": snapshot.rows,
        "batches": [
            {"id": row.id, "digest": row.digest, "rows": row.rows, "quarantined": row.quarantined} for row in rows
        ],
        "expectations": sorted({row.suite for row in rows}),
    }


def served(settings: Settings, model: str, at: datetime) -> dict[str, Any]:
    """The plan that was current at a time, and how many answers each arm gave in that minute."""
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        signed = plans.at(ledger, model, at)
    plan = plans.verify(signed, ring) if signed else initial(model, at)
    start = at.replace(second=0, microsecond=0)
    end = start + timedelta(minutes=1)
    here = {one.prediction_id: one for one in lookup.answers(settings.home / "journal", model, start, end)}
    shipped = {one.prediction_id: one for one in Shipped(Lake(settings.lake_uri)).replied(model, start, end)}
    counts: dict[str, int] = {}
    for answer in (shipped | here).values():
        key = f"{answer.arm} v{answer.version} r{answer.revision}"
        counts[key] = counts.get(key, 0) + 1
    return {"model": model, "at": at, "plan": plan, "in_words": describe_plan(plan), "answers_that_minute": counts}


def current_plan(settings: Settings, model: str) -> tuple[ReleasePlan, str]:
    """The current plan, checked, and the same in words."""
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        plan = _plan(ledger, model, ring)
        features = snapshot_facts.standing(ledger, plan, utc_now())
        stopped = stops.words(stops.standing(ledger, plan))
        return plan, "\n  ".join(filter(None, (describe_plan(plan), snapshot_facts.words(features), *stopped)))


def _plan(ledger: Ledger, model: str, ring: Any) -> ReleasePlan:
    signed = plans.current(ledger, model)
    return plans.verify(signed, ring) if signed else initial(model, utc_now())


def overview(settings: Settings, config: Config) -> list[dict[str, Any]]:
    """One entry per configured model: plan, freeze, candidates, open ballot, newest verdicts and rulings, incidents."""
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    with opened(settings, "reader") as ledger:
        return [_standing(ledger, name, config, ring) for name in sorted(config.models)]


def _standing(ledger: Ledger, name: str, config: Config, ring: Any) -> dict[str, Any]:
    plan = _plan(ledger, name, ring)
    waiting = ballots.open_for(ledger, name)
    return {
        "model": name,
        "enabled": config.models[name].enabled,
        "owners": list(config.models[name].owners),
        "serves": "rules" if plan.mode == "rules" else plan.champion.name,
        "plan": plan,
        "in_words": describe_plan(plan),
        "features": snapshot_facts.standing(ledger, plan, utc_now()),
        "candidates": [_candidate(ledger, found) for found in evidence.candidates(ledger, name)],
        "ballot": _ballot(ledger, waiting) if waiting else None,
        "frozen": _freeze(plan),
        "stops": stops.standing(ledger, plan),
        "verdicts": verdicts.verdicts(ledger, name)[-RECENT:],
        "rulings": [_ruling(found) for found in rulings.rulings(ledger, name)[-RECENT:]],
        "incidents": [incident_facts(item) for item in incidents.incidents(ledger, name)],
    }


def _candidate(ledger: Ledger, found: Candidate) -> dict[str, Any]:
    judged = evidence.evidence_of(ledger, found.id)
    return {
        "id": found.id,
        "name": found.versions.model.name,
        "data": found.versions.data.name,
        "card": str(places.card(found.model, found.versions.model.name)),
        "trained_until": found.trained_until,
        "reason": found.reason,
        "gates": _outcomes(judged[-1]) if judged else {},
        "verdict": found.verdict,
        "segment": found.segment,
        "period": found.period,
        "discarded": evidence.discarded(ledger, found.id),
    }


def _freeze(plan: ReleasePlan) -> str:
    """What a plan is frozen for, and until when; empty when it is not."""
    if not plan.frozen:
        return ""
    if plan.frozen_for == DRIFT:
        return "for drift, until enough clean windows or a vote"
    return f"{f'for {plan.frozen_for}' if plan.frozen_for else 'by a person'}, until a vote"


def _ruling(found: Ruling) -> dict[str, Any]:
    """What of a ruling people look at first; `grownet replay` shows the rest."""
    names = ("id", "role", "version", "row", "level", "corruption", "drift", "kpi", "actions", "reason", "at")
    return {name: getattr(found, name) for name in names}


def _outcomes(judged: Evidence) -> dict[str, str]:
    return {gate.name: gate.outcome for gate in judged.gates}


def _ballot(ledger: Ledger, waiting: ballots.Ballot) -> dict[str, Any]:
    cast = votes.votes(ledger, waiting.id)
    return {
        "id": waiting.id,
        "verb": waiting.subject.verb,
        "candidate": waiting.question.candidate,
        "expires_at": waiting.question.expires_at,
        "votes": {vote.role: vote.decision for vote in cast},
        "missing": sorted(set(waiting.question.required_roles) - {vote.role for vote in cast}),
    }


def describe(facts: list[dict[str, Any]]) -> str:
    """`overview` for people, a paragraph a model."""
    return "\n\n".join("\n".join(_lines(item)) for item in facts)


def _lines(item: dict[str, Any]) -> Iterator[str]:
    off = f"{item['model']} is switched off; enabled: true in its configuration switches it on"
    yield str(item["in_words"]) if item["enabled"] else off
    if item["features"]:
        yield f"  {snapshot_facts.words(item['features'])}"
    for found in item["candidates"]:
        state = (
            f"discarded: {found['discarded']}"
            if found["discarded"]
            else ", ".join(f"{name} {outcome}" for name, outcome in found["gates"].items())
        )
        asked = [f"asked for by {found['verdict']}"] if found["verdict"] else []
        why = ", ".join([found["data"], *asked, *([f"for {found['segment']}"] if found["segment"] else [])])
        yield f"  candidate {found['name']} ({why}): {state or 'not judged yet'}"
    if item["ballot"]:
        ballot = item["ballot"]
        yield f"  ballot to {ballot['verb']} is open, waiting for {', '.join(ballot['missing'])}"
    if item["plan"].canary is not None:
        yield f"  beside the champion: `grownet shadow {item['model']}` compares them"
    for verdict in item["verdicts"][-1:]:
        yield f"  guard: {verdict.arm} {verdict.kpi}, {verdict.reason}"
    for ruling in item["rulings"][-1:]:
        did = f"; {', '.join(ruling['actions'])}" if ruling["actions"] else ""
        yield f"  ruling {ruling['id']} ({ruling['level']}): {ruling['row']}, {ruling['reason']}{did}"
    if item["frozen"]:
        yield f"  frozen {item['frozen']}"
    for line in stops.words(item["stops"]):
        yield f"  {line}"
    for incident in item["incidents"]:
        if incident["status"] == "open":
            going = "goes on" if incident["seconds_to_restore"] is None else "over, not explained"
            yield f"  incident {incident['id']} ({incident['level']}, {going}): {incident['summary']}"


def _arms(plan: ReleasePlan) -> list[Arm]:
    return [arm for arm in (plan.champion, plan.canary, plan.control, plan.previous) if arm is not None]
