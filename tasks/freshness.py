"""The refresh flow's tasks: which models there are, and the features of one of them built anew.

Read settings and configuration themselves, so that runs carry names. A busy ledger, a lake or a store that is away is tried
again; doing it again writes nothing.
"""

from __future__ import annotations

from prefect import get_run_logger

from configs.load import load, settings
from errors import LedgerUnavailable, StackError
from tasks import refresh, steps
from tasks.monitor import chosen
from tasks.refresh import Renewal

step = steps.step(LedgerUnavailable, StackError)


@step
def models_to_refresh(model: str) -> list[str]:
    """The model, or all that are enabled."""
    return chosen(load(settings().configs), model)


@step
def refresh_features(model: str) -> list[Renewal]:
    """What came of each version of a model that serves or stands ready; a refusal is a warning in the log, and an alert."""
    house = settings()
    found = refresh.refresh(house, load(house.configs), model)
    for one in found:
        say = get_run_logger().warning if one.result == "refused" else get_run_logger().info
        say("%s", refresh.describe([one]))
    return found
