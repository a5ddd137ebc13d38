"""The lifecycle flow's tasks: each reads settings and configuration itself, calls one stage, and says what came of it.

Runs carry names and records, no frames and no addresses. A server or a ledger that is away is tried again; what was
refused or did not pass is not. Every stage may be repeated without harm.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State

from checks import fairness
from checks.periods import Every
from configs.load import load, settings
from errors import LedgerUnavailable, StackError
from models.contract import find
from records import Candidate, Evidence, FeatureSet, Order, Record, utc_now
from tasks import evidence_page, features, paperwork, retrain, runs, steps, train, unfinished, validate
from tasks.steps import artifact


class Before(Record, frozen=True, kw_only=True):
    """What was done about an order when it was asked for before."""

    candidate: Candidate | None = None
    ended: str = ""  # how, when nothing is left to do


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """When a run that started by itself fails: nobody looks at it, so its owner is told."""
    del flow  # Prefect gives it
    house = settings()
    unfinished.failed(house, load(house.configs), str(flow_run.id), flow_run.parameters, state.message or "")


stage = steps.step(StackError, LedgerUnavailable, delays=[5, 30, 120])


@stage
def start_due(cadence: Every) -> str:
    """A lifecycle run for each model of a cadence, once a period; which, in words."""
    house = settings()
    found = retrain.start_due(house, load(house.configs), cadence, utc_now())
    said = ", ".join(f"{model}: {run}" for model, run in found.items()) or f"no model is trained {cadence}"
    get_run_logger().info("%s", said)
    return said


@stage
def accept(order: Order) -> Order:
    """Refuses an order that cannot be carried out, before anything is done; with the reason that is kept."""
    house = settings()
    return retrain.accepted(house, load(house.configs), order, utc_now())


@stage
def look_back(order: Order) -> Before:
    """What was done about the same verdict or period: nothing, a candidate to go on with, or all of it."""
    house = settings()
    found = retrain.earlier(house, order)
    before = Before(candidate=found, ended=retrain.ended(house, found) if found else "")
    if found:
        get_run_logger().info("asked for before: %s", before.ended or f"going on with {found.id}")
    return before


@stage
def show_what_serves(model: str) -> None:
    """Cards in MLflow, as the ledger has them now: the last release moved on after its own flow had ended."""
    house = settings()
    paperwork.kept_up(house, load(house.configs), model, registry=True)


@stage
def build_features(order: Order) -> FeatureSet:
    """Features as of the newest row of the newest snapshots; a segment that nobody is in is refused here."""
    house = settings()
    built = features.build_features(house, load(house.configs), order.model)
    if order.segment:
        known = find(order.model).segments(features.artifacts_of(house).frame(built))
        fairness.refuse_unknown(known, order.segment)
    get_run_logger().info("%s of %s: %d rows as of %s", built.version.name, order.model, built.rows, built.as_of)
    return built


@stage
def train_candidate(order: Order, built: FeatureSet) -> Candidate:
    """A candidate nobody has judged yet."""
    house = settings()
    candidate = train.train(house, load(house.configs), built, order)
    get_run_logger().info("%s, learned from rows before %s", candidate.id, candidate.trained_until)
    return candidate


@stage
def judge(candidate: Candidate) -> Evidence:
    """All gates; the page about it is an artifact of the run, and a discard that nobody waits for is told."""
    house = settings()
    config = load(house.configs)
    found = validate.judged(house, config, candidate)
    text = evidence_page.markdown(candidate, found.evidence, (found.page, found.card), config.models[candidate.model])
    artifact(f"evidence {candidate.id}", text, f"gates of {candidate.id}")
    said = "passed all gates" if found.evidence.passed else f"is discarded: {found.evidence.reason}"
    get_run_logger().info("%s %s (%s)", candidate.id, said, found.page)
    if not found.evidence.passed:
        unfinished.discarded(house, config, candidate, found.evidence)
    return found.evidence


@stage
def ask_for_release(candidate: Candidate) -> str:
    """Starts the release flow as a run of its own, unless one is under way for this candidate; the id of that run."""
    about = {"model": candidate.model, "candidate": candidate.id, "detail": candidate.reason}
    run = runs.start_once(settings(), runs.RELEASE, about, candidate.id)
    get_run_logger().info("asked for the release of %s: run %s", candidate.id, run)
    return run
