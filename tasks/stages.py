"""The lifecycle flow's tasks: each reads settings and configuration itself, calls one stage, and says what came of it.

Runs carry names and records, no frames and no addresses. A server or a ledger that is away is tried again; what was
refused or did not pass is not. Every stage may be repeated without harm.
"""

from __future__ import annotations

import re
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from configs.load import load, settings
from errors import LedgerUnavailable, StackError, UsageError
from records import Candidate, Evidence, FeatureSet
from stores.ledger import verdicts
from tasks import aliases, evidence_page, features, runs, train, validate
from tasks.operate import opened


def passing(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """True for what may be better in a moment."""
    return isinstance(state.result(raise_on_failure=False), StackError | LedgerUnavailable)


stage = task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[5, 30, 120],
    retry_condition_fn=passing,
)


@stage
def accept(model: str, reason: str, verdict: str, segment: str) -> str:
    """Refuses an order that cannot be carried out, before anything is done; the reason that is kept.

    Raises:
        UsageError: without a reason, for another model's verdict, or for a segment (one model for all, today).
        NotFound: for a model or a verdict that does not exist.
    """
    house = settings()
    features.recipe_of(load(house.configs), model)
    if not reason.strip():
        raise UsageError("reason", expected="why this training is asked for", got="nothing", do="say it in a sentence")
    if segment:
        raise UsageError(
            "segment", expected="none: a model is trained for everybody", got=segment, do="leave it out, or add a model"
        )
    if not verdict:
        return reason.strip()
    with opened(house, "reader") as ledger:
        about = verdicts.verdict(ledger, verdict).model
    if about != model:
        raise UsageError(f"verdict {verdict}", expected=f"one about {model}", got=f"one about {about}")
    return f"{reason.strip()} (verdict {verdict})"


@stage
def show_what_serves(model: str) -> None:
    """The aliases in MLflow, as the ledger has them now: the last release moved on after its own flow had ended."""
    get_run_logger().info("aliases of %s in MLflow: %s", model, aliases.mirror(settings(), model) or "none")


@stage
def build_features(model: str) -> FeatureSet:
    """Features as of the newest row of the newest snapshots."""
    house = settings()
    built = features.build_features(house, load(house.configs), model)
    get_run_logger().info("%s of %s: %d rows as of %s", built.version.name, model, built.rows, built.as_of)
    return built


@stage
def train_candidate(model: str, built: FeatureSet, reason: str) -> Candidate:
    """A candidate nobody has judged yet."""
    house = settings()
    candidate = train.train(house, load(house.configs), model, built, reason)
    get_run_logger().info("%s, learned from rows before %s", candidate.id, candidate.trained_until)
    return candidate


@stage
def judge(candidate: Candidate) -> Evidence:
    """All gates; the page about it is an artifact of the run."""
    house = settings()
    config = load(house.configs)
    found = validate.judged(house, config, candidate)
    text = evidence_page.markdown(candidate, found.evidence, found.page, config.models[candidate.model])
    key = re.sub(r"[^a-z0-9]+", "-", f"evidence {candidate.id}".lower()).strip("-")
    create_markdown_artifact(text, key=key, description=f"gates of {candidate.id}")
    said = "passed all gates" if found.evidence.passed else f"is discarded: {found.evidence.reason}"
    get_run_logger().info("%s %s (%s)", candidate.id, said, found.page)
    return found.evidence


@stage
def ask_for_release(candidate: Candidate) -> str:
    """Starts the release flow as a run of its own, once per candidate; the id of that run."""
    about = {"model": candidate.model, "candidate": candidate.id, "detail": candidate.reason}
    run = runs.start_deployment(settings(), runs.RELEASE, about, key=candidate.id)
    get_run_logger().info("asked for the release of %s: run %s", candidate.id, run)
    return run
