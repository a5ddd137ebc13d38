"""How a metric differs between segments of subjects: the gap of each to the whole, with an interval.

Read by the bias gate and by the bias audit (`checks.bias`). Pure: per-subject values in, figures out; point estimates are
fairlearn's MetricFrame, intervals a bootstrap of subjects within the segment and within the rest.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from checks.metrics import bootstrap_means
from errors import UsageError
from records import Answered

Floats = npt.NDArray[np.float64]


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of one kind. The gap is mean of the segment - mean of the whole, over |mean of the whole| when relative."""

    kind: str
    name: str
    count: int
    mean: float
    gap: float
    low: float
    high: float

    def below(self, limit: float) -> Answered:
        """Whether it is served worse than the whole by more than `limit`; undecided when its interval reaches back."""
        return "yes" if self.high < -limit else "undecided" if self.gap < -limit else "no"

    def apart(self, limit: float) -> Answered:
        """Whether it differs from the whole by more than `limit`, either way."""
        certain = self.high < -limit or self.low > limit
        return "yes" if certain else "undecided" if abs(self.gap) > limit else "no"


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """All segments judged, and those too small to judge (kind, name, count)."""

    overall: float
    count: int
    segments: tuple[Segment, ...]
    small: tuple[tuple[str, str, int], ...]

    @property
    def worst(self) -> Segment | None:
        """The segment with the largest gap, either way; None when none was large enough to judge."""
        return max(self.segments, key=lambda segment: abs(segment.gap), default=None)


def parse(segment: str) -> tuple[str, str]:
    """Kind and name of a segment written KIND=NAME, such as "country=home".

    Raises:
        UsageError: for anything else.
    """
    kind, _, name = (part.strip() for part in segment.partition("="))
    if not kind or not name:
        raise UsageError("segment", expected="KIND=NAME, such as country=home", got=segment)
    return kind, name


def members(segments: pd.DataFrame, segment: str) -> pd.Index:
    """The subjects in a segment written KIND=NAME; none of a kind that is not there.

    Args:
        segments: one string column per kind of segment (index `subject`).
    """
    kind, name = parse(segment)
    return segments.index[segments[kind] == name] if kind in segments.columns else segments.index[:0]


def refuse_unknown(segments: pd.DataFrame, segment: str) -> None:
    """Raises UsageError for a segment that nobody is in, naming those there are."""
    if members(segments, segment).empty:
        there = sorted(f"{kind}={each}" for kind in segments.columns for each in segments[kind].dropna().unique())
        raise UsageError("segment", expected=f"one of {there}", got=segment)


def by_segment(
    values: pd.Series,
    segments: pd.DataFrame,
    *,
    min_rows: int,
    samples: int = 1000,
    seed: int = 0,
    relative: bool = True,
) -> Fairness:
    """The metric of each segment against the whole.

    Args:
        values: the metric per subject (index `subject`); missing values and subjects without segment are left out.
        segments: one string column per kind of segment (index `subject`). Who lacks one kind is in no segment of it.
        min_rows: a smaller segment is counted, not judged.
        relative: False for a share, such as that of a certain answer: its gap is a difference.
    """
    segments = segments.dropna(how="all") if len(segments.columns) else segments
    values = values[values.notna() & values.index.isin(segments.index)]
    judged: list[Segment] = []
    small: list[tuple[str, str, int]] = []
    overall = float(values.mean()) if len(values) else float("nan")
    for kind in segments.columns if len(values) else ():
        groups = segments[kind].reindex(values.index).dropna().astype("str")
        for name, (count, mean) in _means(values[groups.index], groups).items():
            if count < min_rows or (relative and overall == 0):
                small.append((str(kind), name, count))
                continue
            inside = values.index.isin(groups.index[groups == name])
            low, high = _interval(values.to_numpy(np.float64), inside, samples, seed, relative)
            gap = (mean - overall) / (abs(overall) if relative else 1.0)
            judged.append(Segment(kind=str(kind), name=name, count=count, mean=mean, gap=gap, low=low, high=high))
    return Fairness(overall=overall, count=len(values), segments=tuple(judged), small=tuple(small))


def _means(values: pd.Series, groups: pd.Series) -> dict[str, tuple[int, float]]:
    """Count and mean of each segment, sorted by name."""
    if groups.empty:
        return {}
    from fairlearn.metrics import MetricFrame, count  # noqa: PLC0415 - half a second that only this check needs

    frame = MetricFrame(
        metrics={"count": count, "mean": _mean}, y_true=values, y_pred=values, sensitive_features=groups
    ).by_group.sort_index()
    return {str(name): (int(row["count"]), float(row["mean"])) for name, row in frame.iterrows()}


def _mean(y_true: pd.Series, y_pred: pd.Series) -> float:
    """The metric is computed per subject already: fairlearn is given the same values twice."""
    del y_pred
    return float(np.mean(y_true))


def _interval(
    values: Floats, inside: npt.NDArray[np.bool_], samples: int, seed: int, relative: bool
) -> tuple[float, float]:
    """95 % percentile interval of the gap; segment and rest are resampled apart, so sizes stay."""
    share = float(inside.mean())
    within = bootstrap_means(values[inside], samples, seed)
    rest = bootstrap_means(values[~inside], samples, seed + 1) if share < 1 else 0.0
    whole = share * within + (1.0 - share) * rest
    gaps = (within - whole) / (np.abs(np.where(whole == 0, np.nan, whole)) if relative else 1.0)
    return float(np.nanquantile(gaps, 0.025)), float(np.nanquantile(gaps, 0.975))
