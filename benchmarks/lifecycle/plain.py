"""The stages of ingest and lifecycle called plainly, in a process of their own: the floor that orchestration is held against.

Called as `python -m benchmarks.lifecycle.plain ingest DATASET REASON` or `... lifecycle MODEL REASON` with the GROWNET_* environment of
a home; prints the seconds of each stage as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from configs.load import load, settings
from records import Order, utc_now

Made = TypeVar("Made")


class Watch:
    """Seconds by stage, named as the flow's tasks are."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, work: Callable[[], Made]) -> Made:
        began = time.perf_counter()
        made = work()
        self.seconds[stage] = time.perf_counter() - began
        return made


def ingest(dataset: str, _reason: str) -> dict[str, float]:
    """Every batch of a dataset."""
    from tasks.ingest import take_in

    watch, house = Watch(), settings()
    watch("take_batch", lambda: take_in(house, load(house.configs), dataset))
    return watch.seconds


def lifecycle(model: str, reason: str) -> dict[str, float]:
    """What the flow's tasks call, in the flow's order, but for asking people: that is a run of Prefect."""
    from tasks import features, paperwork, retrain, train, validate

    watch, house = Watch(), settings()
    config = load(house.configs)
    order = retrain.accepted(house, config, Order(model=model, reason=reason), utc_now())
    watch("look_back", lambda: retrain.earlier(house, order))
    watch("show_what_serves", lambda: paperwork.kept_up(house, config, model, registry=True))
    built = watch("build_features", lambda: features.build_features(house, config, model))
    candidate = watch("train_candidate", lambda: train.train(house, config, built, order))
    watch("judge", lambda: validate.judged(house, config, candidate))
    return watch.seconds


def main(argv: list[str]) -> None:
    """The stage of the command line, or an exit with usage."""
    stages: dict[str, Any] = {"ingest": ingest, "lifecycle": lifecycle}
    if len(argv) != 3 or argv[0] not in stages:
        sys.exit("usage: python -m benchmarks.lifecycle.plain ingest DATASET REASON | lifecycle MODEL REASON")
    print(json.dumps(stages[argv[0]](*argv[1:])))


if __name__ == "__main__":
    main(sys.argv[1:])
