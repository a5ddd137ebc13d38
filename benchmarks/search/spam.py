"""Which learner should `spam` have? `grownet bench search spam` repeats the search behind its configuration.

Reads the bundled messages before 2011-08-27 only, where the holdout of `grownet bench quality spam` begins. Every point of
the grid is scored on folds of distinct texts, each judged by a machine that the other folds taught; the least Brier score
of the calibrated probabilities wins, for it is a figure of every text and not of the few that are hard. About two minutes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from benchmarks import bundled
from benchmarks.quality.spam import CUT
from benchmarks.search import report
from configs.load import load
from models import spam as model
from models.contract import configure, find
from models.kit import mailbox, teaching
from models.kit.spotting import likely
from models.kit.teaching import Lesson, Recipe

LOOKS = (("characters", "words"), ("characters",), ("words",))
COSTS = (0.1, 0.3, 1.0, 3.0)
LEAST = (2, 3, 5)
CLOSE = 1.01


def main(argv: Sequence[str]) -> None:
    """The trials, and the one chosen."""
    told = "{looks:20} cost {cost:<4g} least {least_texts}  Brier {brier:.5f}  F1 {f1:.4f}"
    report(argv, search, lambda made: told.format(**made), choose)


def search() -> Iterator[dict[str, Any]]:
    """Every point of the grid with its figures on the folds."""
    params, _ = configure(find("spam"), load().models["spam"])
    rows = known()
    for looks in LOOKS:
        lesson = teaching.prepared(rows["text"].tolist(), rows["is_spam"].to_numpy(np.bool_), looks)
        for cost, least in itertools.product(COSTS, LEAST):
            recipe = msgspec.structs.replace(model.recipe(params), looks=looks, cost=cost, least_texts=least)
            brier, f1 = figures(lesson, recipe)
            yield {"looks": "+".join(looks), "cost": cost, "least_texts": least, "brier": brier, "f1": f1}


def known() -> pd.DataFrame:
    """The distinct texts of all messages before the holdout."""
    table = bundled("spam")["messages"]
    return mailbox.distinct(table[table["received_at"] < CUT])


def figures(lesson: Lesson, recipe: Recipe) -> tuple[float, float]:
    """Brier score and F1 at the limit that the folds give."""
    margins = teaching.margins_of_folds(lesson, recipe)
    curve = teaching.fitting_curve(margins, lesson.spam, recipe)
    value = likely(margins, curve.steepness, curve.offset)
    marked = value >= curve.marked
    caught, wrong = int((marked & lesson.spam).sum()), int((marked & ~lesson.spam).sum())
    brier = float(np.mean((value - lesson.spam) ** 2))
    return round(brier, 6), round(2 * caught / (caught + wrong + int(lesson.spam.sum())), 4)


def choose(trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of those within a hundredth of the least Brier score, the one that learns from the fewest n-grams: what only a few
    texts hold may be somebody's name. Of equal ones the least cost."""
    least = min(float(trial["brier"]) for trial in trials)
    alike = [trial for trial in trials if float(trial["brier"]) <= CLOSE * least]
    return max(alike, key=lambda trial: (trial["least_texts"], -float(trial["cost"])))
