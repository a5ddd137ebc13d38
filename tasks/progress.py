"""The progress flow's tasks: where each model's release is, as a bar and a page in the Prefect UI, and as MLflow's aliases.

Read the plan as it is now, never what an event says of it; write artifacts and aliases, and no plan: the guard moves that. An event that
comes late, twice or in another order so shows the same. A server or a ledger that is away is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from prefect import get_run_logger

from checks.progress import Progress, progress
from configs.load import load, recipe_of, settings
from configs.schema import Settings
from errors import LedgerUnavailable, StackError
from records import ReleasePlan, utc_now
from stores.ledger import ballots, plans, verdicts
from stores.ledger.ballots import Ballot
from stores.vault import Vault
from tasks import aliases, progress_page, runs, steps
from tasks.operate import opened

Made = TypeVar("Made")
ROUNDS = 5  # of showing a plan that changes meanwhile
MLFLOW_SECONDS = 10.0  # that one try waits for MLflow: the next change waits for this run to end
LOOK_SECONDS = 3.0  # between two looks at the line
QUIET_SECONDS, LONGEST_SECONDS = 15.0, 120.0  # a run ends when none came for so long, and when it was there for so long

step = steps.step(LedgerUnavailable, StackError, delays=[2, 10])


@dataclass(frozen=True)
class Seen:
    """A model's release at one look."""

    found: Progress
    history: list[ReleasePlan]  # the current one last
    waiting: Ballot | None


def asked_for(model: str) -> Iterator[set[str]]:
    """Whose release is to be shown: this run's, at once; then those of runs that come to wait behind it, which it takes over.

    A rollout that steps on every few seconds so costs one start of a process and no queue. A run by the schedule looks once.
    What waits is cancelled only after it was shown: a run that is killed leaves the others in line.
    """
    house, began = settings(), time.monotonic()
    names, heard = {model}, began
    while True:
        waiting = _in_line(house)
        if names := names | set(waiting.values()):
            yield names
            heard = time.monotonic()
        with suppress(StackError):  # who is left in line shows it once more
            for run in waiting:
                runs.cancel(house, run, "the run under way showed the newest plan")
        if not model or time.monotonic() >= min(heard + QUIET_SECONDS, began + LONGEST_SECONDS):
            return
        names = set()
        time.sleep(LOOK_SECONDS)


def _in_line(house: Settings) -> dict[str, str]:
    """The runs behind this one; none while Prefect is away, which keeps nobody from telling MLflow."""
    with suppress(StackError):
        return runs.in_line(house, "progress")
    return {}


@step
def models_to_show(asked: Set[str], own: str) -> list[str]:
    """Those asked for, and all that are enabled for an empty name; where nothing was ever decided is left out.

    Args:
        own: of this run: refused when there is no such model, and others' are left out.
    """
    house = settings()
    config = load(house.configs)
    if own:
        recipe_of(config, own)  # raises, and says which there are
    with opened(house, "reader") as ledger:
        decided = set(plans.models(ledger)) & config.models.keys()
    return sorted((asked | set(config.enabled if "" in asked else ())) & decided)


@step
def show(model: str) -> str:
    """Brings bar and page of a model up to date; where its rollout is, in words."""
    house = settings()
    said = _until_current(house, model, lambda: _shown(look(house, model)))
    get_run_logger().info("%s", said)
    return said


@step
def mirror_aliases(models: Sequence[str]) -> None:
    """Sets MLflow's aliases of the models to what the ledger says now.

    Raises:
        StackError: while MLflow is away; the run is red then, and the next one sets them.
    """
    house = settings()
    for model in models:
        found = _until_current(house, model, partial(aliases.mirror, house, model, MLFLOW_SECONDS))
        get_run_logger().info("aliases of %s in MLflow: %s", model, found or "none")


def look(house: Settings, model: str) -> Seen:
    """Plan, newest verdict and open ballot of a model of which something was decided. Raises TamperError for a forged plan."""
    ring = Vault.open(house.home, "reader", house.kms_key_uri).verifier
    with opened(house, "reader") as ledger:
        history = plans.history(ledger, model)
        plan = plans.verify(history[-1], ring)
        found = progress(plan, verdicts.newest(ledger, model), utc_now())
        return Seen(found, [one.plan for one in history], ballots.open_for(ledger, model))


def _until_current(house: Settings, model: str, work: Callable[[], Made]) -> Made:
    """Works on the plan as it is, and again when somebody changed it meanwhile: what is written last is how things are."""
    for _ in range(ROUNDS):
        before = _revision(house, model)
        made = work()
        if _revision(house, model) == before:
            break
    return made


def _revision(house: Settings, model: str) -> int:
    with opened(house, "reader") as ledger:
        signed = plans.current(ledger, model)
    return signed.plan.revision if signed else 0


def _shown(seen: Seen) -> str:
    """A bar for each revision, brought up to date while it stands; a page whenever what it says is another thing."""
    model = seen.found.plan.model
    line = progress_page.line(seen.found, seen.waiting)
    steps.bar(f"progress {model}", seen.found.percent, line, progress_page.mark(seen.found.plan))
    page = progress_page.markdown(seen.found, seen.history, seen.waiting)
    last = steps.newest(f"rollout {model}")
    if last is None or last.data != page:
        steps.artifact(f"rollout {model}", page, progress_page.headline(seen.found))
    return line
