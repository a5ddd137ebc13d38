"""What the journals tell of what serves a model: whom it answered, what came of it, and which segments they are in.

Reads the journals of all replicas, on this disk and in the lake; writes nothing. Used by the bias audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import pandas as pd

from checks import bias as judging
from configs.schema import Settings
from models.contract import Decided
from records import Answer, Feedback
from tasks.eyes import ODD
from tasks.reading import Sought, journals_of, with_outcomes
from tasks.served import Served


class Heard(NamedTuple):
    """One answer of the journals: who was answered, whether it was one of those compared, and the KPI if it is known."""

    subject: str
    chosen: float
    kpi: float | None
    line: Answer


def heard(settings: Settings, served: Served, since: datetime) -> tuple[list[Heard], int]:
    """What it answered and what came of it; and how many lines or outcomes could not be read."""

    def wanted(line: Answer) -> bool:
        mine = (line.model, line.version, line.artifact) == (served.name, served.version, served.artifact)
        return mine and not line.paired_with

    sought = Sought(served.name, (("version", "=", served.version), ("artifact", "=", served.artifact)))
    pairs = with_outcomes(journals_of(settings), wanted, sought, since, served.recipe.audit.live_rows)
    found, lost = list[Heard](), 0
    for line, feedback in pairs:
        try:
            found.append(_one(served, line, feedback))
        except ODD:
            lost += 1
    return found, lost


def _one(served: Served, line: Answer, feedback: Feedback | None) -> Heard:
    decided = msgspec.convert(line.decision, Decided)
    chosen = float(decided.items[:1] != () and decided.items[0] in served.recipe.audit.chosen)
    subject = line.subject or line.prediction_id  # who has no name is somebody of his own
    if feedback is None:
        return Heard(subject, chosen, None, line)
    outcome = msgspec.convert(feedback.outcome, served.module.Outcome)
    return Heard(subject, chosen, float(served.module.kpi(decided, outcome)), line)


def segments_of(served: Served, told: list[Heard]) -> tuple[list[Heard], pd.DataFrame]:
    """The segments of those who were answered; of what was asked, one figure an answer, where the snapshot knows too few.

    A model of messages or sessions is asked about new ones each time. Of the rules without any version nothing is known.
    """
    if served.features is None:
        return told, pd.DataFrame(
            {"known": pd.Series(dtype="object")}, index=pd.Index([], name="subject", dtype="object")
        )
    segments = served.module.segments(served.features)
    if len({one.subject for one in told} & set(segments.index)) >= served.recipe.gates.bias_min_rows:
        return told, segments
    asked = _inputs(served, told)
    apart = [one._replace(subject=one.line.prediction_id) for one in told if one.line.prediction_id in asked.index]
    return (apart, judging.by_inputs(asked)) if apart else (told, segments)


def _inputs(served: Served, told: Sequence[Heard]) -> pd.DataFrame:
    """What the model saw of each request that was kept and can be read; a row an answer."""
    requests, names = [], []
    for one in told:
        try:
            requests.append(msgspec.convert(one.line.features, served.module.Request))
            names.append(one.line.prediction_id)
        except msgspec.ValidationError:  # not kept, or of another time
            continue
    seen = served.module.observe(served.module.index(served.features), requests)
    return seen.set_axis(pd.Index(names, name="subject", dtype="object"))
