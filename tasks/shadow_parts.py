"""Makes of what was read what is compared: who said what with which KPI, and the segment each pair is in.

Reads nothing itself. Segments are those of the bias audit (`tasks.heard`). Called by `tasks.shadow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import msgspec
import pandas as pd

from checks import bias as judging
from checks.shadow import Pair, Said
from models.contract import Decided
from tasks.eyes import ODD
from tasks.heard import Heard, segments_of
from tasks.served import Served
from tasks.shadow_pairs import Both


class Parts(NamedTuple):
    """The segments, and what they know each pair by."""

    keys: dict[str, str]  # by the id of the answer
    segments: pd.DataFrame  # by key
    by: str  # what they are made of, or why there are none
    edges: str  # where the thirds of numbers end


def parted(served: Served, both: Sequence[Both]) -> Parts:
    """In which segments the pairs are.

    Args:
        served: the candidate, whose features say it.
    """
    told = [Heard(_subject(one), 0.0, None, one.live) for one in both]
    if served.broken or not told:
        keys = {one.line.prediction_id: one.subject for one in told}
        return Parts(keys, pd.DataFrame(index=pd.Index([], dtype="object")), served.broken, "")
    known, segments = segments_of(served, told)
    keys = {one.line.prediction_id: one.subject for one in (*told, *known)}
    placed = judging.placed(segments, pd.Index(sorted({one.subject for one in known})))
    if judging.EDGES not in segments.attrs:
        return Parts(keys, placed, "the subjects of the candidate's features", "")
    edges = "; ".join(f"{kind} {ends}" for kind, ends in sorted(segments.attrs[judging.EDGES].items()))
    return Parts(keys, placed, "what was asked, an answer at a time", edges)


def paired(served: Served, both: Sequence[Both], keys: dict[str, str]) -> tuple[list[Pair], int]:
    """What was said, as it is compared, and how many outcomes do not fit the model."""
    pairs, odd = [], 0
    for one in both:
        kpis = None
        if one.outcome is not None:
            try:
                kpis = _kpis(served, one)
            except ODD:
                odd += 1
        key, said = keys[one.live.prediction_id], (_said(one.champion), _said(one.candidate))
        pairs.append(Pair(_subject(one), key, one.live.bucket, *said, kpis))
    return pairs, odd


def _subject(one: Both) -> str:
    """Who has no name is somebody of his own."""
    return one.live.subject or one.live.prediction_id


def _kpis(served: Served, one: Both) -> tuple[float, float]:
    """Of (candidate, champion) on the same outcome; where it depends on the answer it tells of the one that was given."""
    outcome, kpi = msgspec.convert(one.outcome, served.module.Outcome), served.module.kpi
    if served.module.JUDGE == "paired":
        return float(kpi(one.candidate, outcome)), float(kpi(one.champion, outcome))
    return nan, float(kpi(one.champion, outcome)) if one.live.arm == "champion" else nan


def _said(decided: Decided) -> Said:
    value = nan if decided.value is None else decided.value
    return Said(decided.items, decided.scores[0] if decided.scores else value, value, bool(decided.overruled))
