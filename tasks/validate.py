"""Judges a candidate before anybody is asked: all gates, with their figures, on the artifact that would be released.

Reads the candidate's bundle, the lake as it was in its snapshots, and the current plan. Writes evidence to the ledger
and beside the artifact, a page to `home/pages/models`, figures and verdict to MLflow; a candidate that does not pass is
discarded with its reason. Started by the lifecycle flow after training. Judging again gives what was found first.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checks import gates
from configs.load import config_digest, recipe_of
from configs.schema import Config, Settings
from errors import TamperError, UsageError
from models.contract import Model, find
from records import Candidate, Evidence, Gate, ReleasePlan, utc_now
from stores.artifacts import Artifacts, Bundle
from stores.ledger import evidence, plans
from stores.ledger.engine import Ledger
from stores.vault import Vault
from tasks import evidence_page, paperwork, places
from tasks.features import artifacts_of, history, newest
from tasks.measure import Findings, Rival, measure
from tasks.operate import opened
from tasks.retrain import same_again
from tasks.service_check import quietest
from tasks.threads import limited
from tasks.trial import split

log = logging.getLogger("grownet.validate")
UNNAMEABLE = re.compile(r"[^A-Za-z0-9_\-./: ]")  # MLflow refuses these in the name of a metric; a segment may have them


@dataclass(frozen=True)
class Judged:
    """Evidence, and where people read it."""

    evidence: Evidence
    page: Path
    card: Path  # the model card; it goes on changing with what becomes of the version


def validate(settings: Settings, config: Config, candidate: Candidate) -> Evidence:
    """The evidence about a candidate, `passed` or not; in the second case it is recorded as discarded.

    Raises:
        UsageError: when the configuration is not the one it was trained with.
        TamperError: when its artifact, or the current plan, was changed.
        StackError: when MLflow or the artifact store stays away; a repeat goes on.
    """
    return judged(settings, config, candidate).evidence


def judged(settings: Settings, config: Config, candidate: Candidate) -> Judged:
    """As `validate`, with the page."""
    digest = config_digest(config, candidate.model)
    if digest != candidate.config_digest:
        raise UsageError(
            f"configuration of {candidate.id}",
            expected=f"{candidate.config_digest[:12]}, as in training",
            got=digest[:12],
            do="train again with the configuration as it is now",
        )
    artifacts = artifacts_of(settings)
    with opened(settings, "flow") as ledger:
        plan = current_plan(settings, ledger, candidate.model)
        known = evidence.evidence_of(ledger, candidate.id)
        found = known[-1] if known else _judge(settings, config, candidate, plan, same_again(ledger, candidate))
        artifacts.put_document(found.to_json(), found.digest)
        page = evidence_page.write(settings.home / "pages", config, candidate, found, plan)
        _tell_registry(settings, candidate, found)
        evidence.save_evidence(ledger, found)
        if not found.passed:
            evidence.discard(ledger, candidate.id, found.reason)
    paperwork.kept_up(settings, config, candidate.model, registry=True)
    log.info("%s %s", candidate.id, "passed all gates" if found.passed else f"is discarded: {found.reason}")
    return Judged(found, page, settings.home / places.card(candidate.model, candidate.versions.model.name))


def current_plan(settings: Settings, ledger: Ledger, model: str) -> ReleasePlan | None:
    """The plan that serves a model now, its signature checked; None before the first release."""
    signed = plans.current(ledger, model)
    ring = Vault.open(settings.home, "reader", settings.kms_key_uri).verifier
    return plans.verify(signed, ring) if signed else None


def rival_of(plan: ReleasePlan | None, model: Model, artifacts: Artifacts) -> Rival | Gate:
    """The champion, loaded from its artifact; the rules when there is none; a gate when this code cannot read it."""
    if plan is None or plan.champion.artifact is None:
        return Rival()
    try:
        bundle = Bundle.unpack(artifacts.get(plan.champion.artifact))
        params = msgspec.convert(bundle.manifest.params, model.Params)
        fitted = model.load(bundle.model)
    except (TamperError, msgspec.ValidationError) as error:
        return gates.unreadable_champion(plan.champion.name, str(error))
    return Rival(name=plan.champion.name, fitted=fitted, params=params, trained_until=bundle.manifest.trained_until)


def _judge(settings: Settings, config: Config, candidate: Candidate, plan: ReleasePlan | None, fell: bool) -> Evidence:
    champion = plan.champion.artifact.content if plan and plan.champion.artifact else ""
    new = gates.new(candidate.artifact.content, champion, plan.rejected if plan else (), fell)
    if new.outcome == "fail":  # the rest was found out before
        return _evidence(candidate, [new], Findings(gates=(), metrics={}, intervals={}))
    recipe, model, artifacts = recipe_of(config, candidate.model), find(candidate.model), artifacts_of(settings)
    bundle = Bundle.unpack(artifacts.get(candidate.artifact))
    trial = history(settings, config, candidate.model, candidate.features.snapshots)
    with limited(settings.threads):
        found = measure(
            trial,
            model.load(bundle.model),
            rival_of(plan, model, artifacts),
            recipe,
            split(newest(candidate.features.snapshots), recipe.split),
            segment=candidate.segment,
        )
    service = quietest(settings, candidate.id, recipe.gates.latency_p99_seconds)
    process = [
        gates.service(service),
        gates.latency(service, recipe.gates.latency_p99_seconds),
        gates.size(candidate.artifact.size_bytes, recipe.gates.size_max_bytes),
    ]
    return _evidence(candidate, [new, *found.gates, *process], found)


def _evidence(candidate: Candidate, made: Sequence[Gate], found: Findings) -> Evidence:
    """As it will be read back: a 0 given for a float is 0.0 by then, and the digest is of those bytes."""
    fresh = Evidence(
        candidate=candidate.id,
        model=candidate.model,
        artifact=candidate.artifact.content,
        gates=tuple(made),
        metrics=found.metrics,
        intervals=found.intervals,
        created_at=utc_now(),
    )
    return Evidence.from_json(fresh.to_json())


def _tell_registry(settings: Settings, candidate: Candidate, found: Evidence) -> None:
    from stores.registry import Registry

    outcomes = {f"gate.{gate.name}": f"{gate.outcome}: {gate.reason}" for gate in found.gates}
    verdict = {"grownet.status": "passed" if found.passed else "discarded", "grownet.evidence": found.digest}
    reason = {} if found.passed else {"grownet.discarded": found.reason}
    metrics = {f"holdout/{UNNAMEABLE.sub(':', name)}": value for name, value in found.metrics.items()}
    Registry.open(settings.mlflow_url).judge(
        candidate.model, candidate.run_id, metrics, {**outcomes, **verdict, **reason}
    )
