"""What a bias audit says: whether a segment of subjects is served further from the whole than allowed.

Pure: per-subject values and segments in, an answer with its figures out. The same rule as the gate `bias`, and for the gated
metric the same limit, so that what was let in is held to what it was let in by. Called by `tasks.bias`; whether it is news follows from the audit before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from checks.fairness import Fairness, Segment, by_segment
from configs.schema import ModelConfig
from records import Answered, BiasAudit, SegmentFigure

MOST_NAMES = 8  # of a kind of segment; the others are one
STRANGER = "not in the snapshot"  # a subject that asked and that the served features do not know
LOWEST, MIDDLE, HIGHEST = (
    "lowest third",
    "middle third",
    "highest third",
)  # by place: edges move with the rows, names do not
MISSING, OTHER = "missing", "other"
EDGES = "edges"  # of `attrs`: where the thirds of these rows end, by kind


class Rule(NamedTuple):
    """How a segment is judged, how bad its gap is, and what the gap is counted in."""

    limit: float
    judge: Callable[[Segment, float], Answered]
    severity: Callable[[Segment], float]
    unit: str
    edges: Mapping[str, str] | None  # only of segments by what was asked, where the unit is an answer


class Said(NamedTuple):
    """An answer, with what it rests on."""

    answer: Answered
    reason: str
    subjects: int
    overall: float | None
    limit: float
    segments: tuple[SegmentFigure, ...]


def of_metric(values: pd.Series, segments: pd.DataFrame, config: ModelConfig, limit: float) -> Said:
    """Whether a segment is served worse than the whole by more than `limit`, relative.

    Args:
        values: more is better; one for each subject (index `subject`). What is no finite number is left out, and counted.
        segments: one string column per kind of segment (index `subject`).
    """
    finite = values[np.isfinite(values.to_numpy(np.float64))]
    gates = config.gates
    found = by_segment(
        finite, segments, min_rows=gates.bias_min_rows, samples=gates.bootstrap_samples, seed=config.seed
    )
    said = _said(found, Rule(limit, Segment.below, lambda one: -one.gap, " %", _edges(segments)))
    lost = len(values) - len(finite)
    units = "subjects" if _edges(segments) is None else "answers"
    return said._replace(reason=f"{said.reason}; {lost} {units} without a figure are left out") if lost else said


def of_share(chosen: pd.Series, segments: pd.DataFrame, config: ModelConfig) -> Said:
    """Whether a certain answer goes to a segment more or less often than to the whole, by more than is allowed.

    Args:
        chosen: per subject (index `subject`) the share of its answers that are that one: its selection rate.
    """
    limit, gates = config.audit.chosen_max_gap, config.gates
    found = by_segment(
        chosen,
        segments,
        min_rows=gates.bias_min_rows,
        samples=gates.bootstrap_samples,
        seed=config.seed,
        relative=False,
    )
    return _said(found, Rule(limit, Segment.apart, lambda one: abs(one.gap), " points", _edges(segments)))


def nothing(reason: str, limit: float) -> Said:
    """Undecided, and why."""
    return Said("undecided", reason, 0, None, limit, ())


def placed(segments: pd.DataFrame, subjects: pd.Index) -> pd.DataFrame:
    """The segments of these subjects; whoever the snapshot does not know is a segment of each kind."""
    known = segments[~segments.index.duplicated()]
    made = known.reindex(subjects).astype("object").where(lambda frame: frame.notna(), STRANGER)
    made.attrs |= segments.attrs
    return made


def by_inputs(seen: pd.DataFrame) -> pd.DataFrame:
    """Segments by what was asked: numbers in thirds of these rows, truth values and the commonest names as they are.

    Args:
        seen: what the model saw, a row an answer. A missing value is a segment.

    Returns:
        One string column per kind; where the thirds end is text in its `attrs`, and goes into the reason.
    """
    found = {str(name): _segmented(seen[name]) for name in seen.columns}
    made = pd.DataFrame({name: names for name, (names, _) in found.items()}, index=seen.index, dtype="object")
    made.attrs[EDGES] = {name: edges for name, (_, edges) in found.items() if edges}
    return made


def _segmented(column: pd.Series) -> tuple[pd.Series, str]:
    names, edges = _thirds(column) if column.dtype.kind in "iuf" and column.notna().any() else (_named(column), "")
    return pd.Series(np.where(column.isna(), MISSING, names), index=column.index, dtype="object"), edges


def _thirds(column: pd.Series) -> tuple[npt.NDArray[np.object_], str]:
    """Where nobody is above the upper edge, as with two values only, what is above the lower one is the highest."""
    low, high = (float(edge) for edge in np.nanquantile(column.astype("float64"), [1 / 3, 2 / 3]))
    middle = MIDDLE if (column > high).any() else HIGHEST
    names = np.where(column <= low, LOWEST, np.where(column <= high, middle, HIGHEST)).astype("object")
    return names, f"up to {low:.4g}, up to {high:.4g}, over"


def _named(column: pd.Series) -> npt.NDArray[np.object_]:
    """The commonest values by their names; a value that is called as one of ours is quoted, so that it is not taken for it."""
    words = column.astype("str")
    own = words.str.strip("'").isin([MISSING, OTHER]).fillna(False)
    words = words.where(~own, "'" + words + "'")
    common = words.isin(words[column.notna()].value_counts().index[:MOST_NAMES])
    return np.where(common, words, OTHER).astype("object")


def _edges(segments: pd.DataFrame) -> Mapping[str, str] | None:
    found: Mapping[str, str] | None = segments.attrs.get(EDGES)
    return found


def per_subject(subjects: Sequence[str], values: Sequence[float]) -> pd.Series:
    """The mean of each subject: who asks often counts once. Values that are no finite number make no mean."""
    frame = pd.DataFrame({"subject": list(subjects), "value": np.asarray(values, dtype=np.float64)})
    frame["value"] = frame["value"].where(np.isfinite(frame["value"]))
    return frame.groupby("subject", sort=True)["value"].mean()


def beyond(audit: BiasAudit) -> frozenset[str]:
    """The segments that are certainly further from the whole than allowed, written KIND=NAME."""
    return frozenset(f"{one.kind}={one.name}" for one in audit.segments if one.answer == "yes")


def is_worse(now: BiasAudit, before: BiasAudit | None) -> bool:
    """Whether people must hear of it: a segment is beyond the limit that was not, or another version has the gap too.

    Args:
        before: the last audit of the same model and source that was decided.
    """
    if now.answer != "yes":
        return False
    known = beyond(before) if before is not None and before.version == now.version else frozenset()
    return bool(beyond(now) - known)


def is_over(now: BiasAudit, before: BiasAudit | None) -> bool:
    """Whether a gap that was told of is gone. Undecided is not gone."""
    return now.answer == "no" and before is not None and before.answer == "yes"


def _said(found: Fairness, rule: Rule) -> Said:
    judged = [(one, rule.judge(one, rule.limit)) for one in found.segments]
    figures = tuple(
        [_figure(one, answer) for one, answer in judged]
        + [SegmentFigure(kind=kind, name=name, count=count, mean=None) for kind, name, count in found.small]
    )
    answer, reason = _answer(found, judged, rule)
    overall = found.overall if isfinite(found.overall) else None
    return Said(answer, reason, found.count, overall, rule.limit, figures)


def _answer(found: Fairness, judged: Sequence[tuple[Segment, Answered]], rule: Rule) -> tuple[Answered, str]:
    """One that is certain decides; one that may be beyond leaves it open; nobody to compare with is no answer."""
    small = f"; {len(found.small)} too small to judge" if found.small else ""
    units, edges = ("subjects", {}) if rule.edges is None else ("answers", rule.edges)
    if not any(one.count < found.count for one in found.segments):
        return "undecided", f"no segment is large enough to compare with the rest of {found.count} {units}{small}"
    rank = {"yes": 0, "undecided": 1, "no": 2}
    worst, answer = min(judged, key=lambda one: (rank[one[1]], -rule.severity(one[0]), one[0].kind, one[0].name))
    shown = f"{100 * worst.gap:+.0f}{rule.unit} [{100 * worst.low:+.0f}, {100 * worst.high:+.0f}]"
    reason = (
        f"{worst.kind} {worst.name!r} {shown} against the whole over {worst.count} {units}, "
        f"allowed {100 * rule.limit:.0f}{rule.unit}; {len(judged)} segments judged{small}"
    )
    kinds = sorted({one.kind for one, said in judged if said == "yes"} | {worst.kind})
    thirds = "".join(f"; thirds of {kind}: {edges[kind]}" for kind in kinds if kind in edges)
    return answer, f"{reason}{thirds}"


def _figure(one: Segment, answer: Answered) -> SegmentFigure:
    """JSON has no NaN: an interval that cannot be taken is left out."""
    low, high = (end if isfinite(end) else None for end in (one.low, one.high))
    return SegmentFigure(
        kind=one.kind, name=one.name, count=one.count, mean=one.mean, gap=one.gap, low=low, high=high, answer=answer
    )
