"""How a candidate answers beside the champion: rank overlap, score shift, decision flips, and the KPI effect that may be
expected, over all pairs and by segment.

Pure. A pair is one request that both answered, one of them off the path. Read by `tasks.shadow`. Nothing here decides: the
guard judges by its counters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isfinite, isnan, nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from checks import drift, sequential
from checks.assignment import BUCKETS
from checks.metrics import paired_bootstrap
from checks.overlap import at_top, jaccard, rank_biased
from records import Record

Floats = npt.NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_MOVES = 12
ALL = "all"


class Said(NamedTuple):
    """What one arm decided. `score` is the first score, else the value; NaN where there is none."""

    items: tuple[str, ...]
    score: float
    value: float
    overruled: bool

    @property
    def is_number(self) -> bool:
        """Whether the decision is the value: of one item the value says how sure it is, of several what they add up to."""
        return not isnan(self.value) and len(self.items) != 1


class Pair(NamedTuple):
    """What both said to one request. `kpis` are (candidate, champion) on the same outcome, NaN where it tells nothing of one."""

    subject: str
    key: str  # what segments are made of: the subject, or the answer
    bucket: int
    champion: Said
    candidate: Said
    kpis: tuple[float, float] | None = None


class How(NamedTuple):
    """By what is compared."""

    paired: bool  # the outcome does not depend on the answer, so both can be measured by it
    change: float  # relative, from which on a number is another decision
    min_rows: int  # a smaller segment is counted and not judged
    alpha: float  # of the always-valid interval
    tuned_at: float
    bins: int
    floor_psi: float  # a smaller shift is of no practical size
    samples: int  # of the bootstrap
    seed: int


class Score(Record, frozen=True, kw_only=True):
    """First scores, or values, of pairs where both gave one; `low` and `high` of the mean difference at 95 %, by subject."""

    pairs: int
    champion: float
    candidate: float
    difference: float
    low: float | None = None  # not taken by segment
    high: float | None = None
    champion_quantiles: tuple[float, ...]  # at QUANTILES
    candidate_quantiles: tuple[float, ...]
    psi: float
    chance: float  # what the PSI of two samples of one distribution stays below in 99 % of cases
    shifted: bool  # above chance and above the floor of practical size


class Kpi(Record, frozen=True, kw_only=True):
    """The KPI on the same outcomes. Without `effect` it cannot be said (yet); of a split judge only the champion's is known,
    where both said the same and where they did not."""

    matured: int
    champion: float | None = None
    candidate: float | None = None
    effect: float | None = None  # relative to the champion
    low: float | None = None
    high: float | None = None
    where_same: float | None = None
    where_other: float | None = None


class Figures(Record, frozen=True, kw_only=True):
    """All pairs, or those of one segment. Of one that is too small only the counts are there."""

    kind: str = ""
    name: str = ALL
    pairs: int
    subjects: int  # of a segment of what was asked, answers
    enough: bool
    flips: float | None = None  # share of the requests with another decision
    same: float | None = None  # share with the same items, in the same order, and the same value; not of labels
    jaccard: float | None = None
    top: float | None = None
    rank_biased: float | None = None
    champion_overruled: float | None = None
    candidate_overruled: float | None = None
    score: Score | None = None
    kpi: Kpi | None = None


class Move(Record, frozen=True, kw_only=True):
    """How often the candidate says one thing where the champion says another."""

    champion: str
    candidate: str
    count: int


def table(pairs: Sequence[Pair], change: float) -> pd.DataFrame:
    """A row a pair; overlaps are missing where the decision is no list, scores and KPIs where there is none."""
    columns = [*Pair._fields[:3], "flip", "same", "jaccard", "top", "rank_biased", "champion_overruled"]
    columns += ["candidate_overruled", "champion_score", "candidate_score", "kpi", "champion_kpi"]
    frame = pd.DataFrame([_row(pair, change) for pair in pairs], columns=columns)
    whole = {"subject": "object", "key": "object", "bucket": "int64"}
    return frame.astype({name: whole.get(name, "float64") for name in columns})


def _row(pair: Pair, change: float) -> tuple[object, ...]:
    ours, theirs = pair.candidate, pair.champion
    lists = max(len(ours.items), len(theirs.items)) > 1 and not (ours.is_number or theirs.is_number)
    overlaps = [float("nan")] * 3
    if lists:
        overlaps = [measure(theirs.items, ours.items) for measure in (jaccard, at_top, rank_biased)]
    kpi, other = pair.kpis or (float("nan"), float("nan"))
    labels = len(ours.items) == len(theirs.items) == 1 and not isnan(ours.value)  # their value is how sure they are
    same = ours.items == theirs.items and (ours.value == theirs.value or (isnan(ours.value) and isnan(theirs.value)))
    scores = (theirs.overruled, ours.overruled, theirs.score, ours.score)
    return (
        pair.subject,
        pair.key,
        pair.bucket,
        flipped(theirs, ours, change),
        nan if labels else same,
        *overlaps,
        *scores,
        kpi,
        other,
    )


def flipped(before: Said, after: Said, change: float) -> bool:
    """Whether the decision is another: another first item, or a number that differs by more than the share `change`."""
    if not (before.is_number or after.is_number):
        return before.items[:1] != after.items[:1]
    if not (before.is_number and after.is_number):
        return True
    return abs(after.value - before.value) > change * abs(before.value)


def figures(frame: pd.DataFrame, how: How) -> Figures:
    """All pairs of a table, however few; `enough` says whether that is a sample to judge by."""
    subjects = int(frame["subject"].nunique())
    few = Figures(pairs=len(frame), subjects=subjects, enough=subjects >= how.min_rows)
    return _filled(few, frame, how, interval=True) if len(frame) else few


def by_segment(frame: pd.DataFrame, segments: pd.DataFrame, how: How) -> tuple[Figures, ...]:
    """The same of each segment, by kind and name. Whoever lacks a kind is in no segment of it.

    Args:
        segments: one string column per kind of segment, by the `key` of the pairs.
    """
    found = []
    for kind in segments.columns:
        names = frame["key"].map(segments[kind])
        for name in sorted(names.dropna().unique()):
            part = frame[names == name]
            subjects = int(part["key"].nunique())
            few = Figures(kind=str(kind), name=str(name), pairs=len(part), subjects=subjects, enough=False)
            found.append(few if subjects < how.min_rows else _filled(few, part, how))
    return tuple(found)


def moves(pairs: Sequence[Pair]) -> tuple[Move, ...]:
    """The commonest changes of decision where both name one thing."""
    named = [(pair.champion.items[0], pair.candidate.items[0]) for pair in pairs if _names(pair)]
    counts = Counter(move for move in named if move[0] != move[1])
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST_MOVES]
    return tuple(Move(champion=before, candidate=after, count=count) for (before, after), count in ordered)


def _names(pair: Pair) -> bool:
    return len(pair.champion.items) == len(pair.candidate.items) == 1


def _filled(few: Figures, frame: pd.DataFrame, how: How, *, interval: bool = False) -> Figures:
    return Figures(
        kind=few.kind,
        name=few.name,
        pairs=few.pairs,
        subjects=few.subjects,
        enough=few.subjects >= how.min_rows,
        flips=_mean(frame["flip"]),
        same=_mean(frame["same"]),
        jaccard=_mean(frame["jaccard"]),
        top=_mean(frame["top"]),
        rank_biased=_mean(frame["rank_biased"]),
        champion_overruled=_mean(frame["champion_overruled"]),
        candidate_overruled=_mean(frame["candidate_overruled"]),
        score=_score(frame, how, interval=interval),
        kpi=_paired(frame, how) if how.paired else _split(frame),
    )


def _score(frame: pd.DataFrame, how: How, *, interval: bool) -> Score | None:
    """PSI over quantile bins of the champion's scores. Both score the same requests, which makes chance smaller than it says."""
    ours, theirs = (frame[name].to_numpy(np.float64) for name in ("candidate_score", "champion_score"))
    both = np.isfinite(ours) & np.isfinite(theirs)
    if not both.any():
        return None
    ours, theirs = ours[both], theirs[both]
    reference = drift.reference_of_numbers(pd.Series(theirs), how.bins)
    found = drift.drift(reference, drift.count(reference, pd.Series(ours)))
    ends = dict(_ends(frame["subject"][both], ours - theirs, how)) if interval else {}
    return Score(
        pairs=len(ours),
        champion=float(theirs.mean()),
        candidate=float(ours.mean()),
        difference=float((ours - theirs).mean()),
        champion_quantiles=tuple(np.quantile(theirs, QUANTILES).tolist()),
        candidate_quantiles=tuple(np.quantile(ours, QUANTILES).tolist()),
        psi=found.psi,
        chance=found.limit,
        shifted=found.exceeds(how.floor_psi),
        **ends,
    )


def _ends(subjects: pd.Series, differences: Floats, how: How) -> Iterator[tuple[str, float]]:
    """The interval of the mean difference, subjects drawn whole, since one answers many times. None of a single subject.

    A ratio of sums (differences over pairs), linearised (Taylor): its bootstrap is that of means.
    """
    each = pd.Series(differences, index=subjects.to_numpy()).groupby(level=0, sort=True).agg(["sum", "size"])
    sums, sizes = each["sum"].to_numpy(np.float64), each["size"].to_numpy(np.float64)
    mean = sums.sum() / sizes.sum()
    if len(each) > 1:
        parts = mean + (sums - mean * sizes) / sizes.mean()
        found = paired_bootstrap(parts, np.zeros(len(each)), how.samples, how.seed)
        yield from (("low", found.low), ("high", found.high))


def _paired(frame: pd.DataFrame, how: How) -> Kpi:
    """The guard's own form of interval, over the pairs of the table."""
    known = frame[np.isfinite(frame["kpi"]) & np.isfinite(frame["champion_kpi"])]
    ours, theirs = known["kpi"].to_numpy(np.float64), known["champion_kpi"].to_numpy(np.float64)
    buckets = known["bucket"].to_numpy(np.int64)
    sums = [np.bincount(buckets, values, BUCKETS).astype(np.float64) for values in (ours, theirs)]
    total, squares = float((ours + theirs).sum()), float((ours**2 + theirs**2).sum())
    unit = squares / total if total > 0 and squares > 0 else 1.0
    seen = sequential.paired(sums[0], sums[1], len(known), alpha=how.alpha, tuned_at=how.tuned_at, unit=unit)
    low, high = (end if isfinite(end) else None for end in (seen.low, seen.high))
    said = {"effect": seen.effect, "low": low, "high": high}
    return Kpi(matured=len(known), champion=_mean(known["champion_kpi"]), candidate=_mean(known["kpi"]), **said)


def _split(frame: pd.DataFrame) -> Kpi:
    """What the champion's answers brought; where the candidate said the same, its own would have brought that too."""
    known = frame[np.isfinite(frame["champion_kpi"])]
    same = known["same"].fillna(1 - known["flip"]) > 0  # of labels: the same label, however sure
    return Kpi(
        matured=len(known),
        champion=_mean(known["champion_kpi"]),
        where_same=_mean(known["champion_kpi"][same]),
        where_other=_mean(known["champion_kpi"][~same]),
    )


def _mean(values: pd.Series) -> float | None:
    """None without a number."""
    mean = float(values.mean()) if values.notna().any() else float("nan")
    return mean if isfinite(mean) else None
