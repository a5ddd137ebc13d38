"""The gates of a candidate: each judges figures against a limit and says pass, fail or inconclusive, and why.

Pure. Called by validation, which measures; the limits are `GatesConfig`. Inconclusive means the data cannot tell:
a required gate that is inconclusive keeps the candidate from the ballot just as a failed one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from records import Gate, Outcome

if TYPE_CHECKING:  # the ballot reads gates, and need not wait for pandas
    from checks.drift import Drift
    from checks.fairness import Fairness
    from checks.metrics import Difference

Figures = Mapping[str, float]
PART, PARTS = ": ", ("subjects", "mean", "low", "high")  # of a segment, after its name in the figures of a gate


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One rolling window: the mean metric of the model trained before it and of the strongest stand-in."""

    start: str  # ISO date
    subjects: int
    ours: float
    theirs: float
    against: str  # name of the strongest stand-in


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What `serving.check` printed: a real service process loaded the candidate and answered its example."""

    ok: bool
    reason: str = ""
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    size_bytes: int | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One segment as the bias gate told of it. The gap is relative to the whole; None where it was not judged."""

    kind: str
    name: str
    gap: float | None = None
    subjects: float | None = None
    mean: float | None = None
    low: float | None = None  # of the gap
    high: float | None = None


def new(content: str, champion: str, rejected: Sequence[str], fell: bool = False) -> Gate:
    """A candidate must be something that is neither served already nor was taken back before.

    Args:
        content: SHA-256 of the candidate's artifact.
        champion: that of the champion, empty for the rules.
        rejected: those of canaries that were taken back, for good.
        fell: the verdict that asks for this training was about this very artifact.
    """
    if content in rejected:
        reason = (
            f"artifact {content[:12]} was a canary that was taken back; the same data and configuration give it again"
        )
    elif content == champion:
        reason = f"artifact {content[:12]} is the champion: nothing changed in data, configuration or code"
    elif fell:
        reason = f"artifact {content[:12]} is the one that the verdict was about: nothing was learned since"
    else:
        return _gate("new", "pass", f"artifact {content[:12]} was never served or taken back", {})
    return _gate("new", "fail", reason, {})


def champion(difference: Difference, margin: float, against: str, unseen: bool = True) -> Gate:
    """The candidate must beat what serves now, on the same holdout and subjects.

    Args:
        difference: candidate - champion, with its interval.
        margin: the interval's lower end must be above it; 0 = better beyond doubt.
        against: name of the champion, "rules" before a first release.
        unseen: False when the champion was trained on rows of this holdout, which flatters it.
    """
    note = "" if unseen else "; the champion was trained on part of this holdout, which flatters it"
    outcome = _above(difference, margin)
    return _gate("champion", outcome, _compared(difference, margin, against, outcome) + note, _figures(difference))


def segment(difference: Difference, name: str, against: str, min_subjects: int) -> Gate:
    """A candidate that was asked for a segment's sake must be better there, beyond doubt.

    Args:
        difference: candidate - champion over the subjects of the segment; NaN when the champion cannot be scored.
        name: such as "country=home".
        min_subjects: of a smaller segment nothing can be said.
    """
    if difference.subjects < min_subjects:
        reason = f"{name} has {difference.subjects} subjects that both scored, {min_subjects} are needed to judge"
        return _gate("segment", "inconclusive", reason, _figures(difference))
    outcome = _above(difference, 0.0)
    return _gate("segment", outcome, f"{name}: {_compared(difference, 0.0, against, outcome)}", _figures(difference))


def unreadable_champion(against: str, problem: str) -> Gate:
    """A champion that this code cannot load cannot be compared with."""
    return _gate("champion", "inconclusive", f"{against} cannot be read by this code: {problem}", {})


def baseline(differences: Mapping[str, Difference], margin: float) -> Gate:
    """The candidate must beat every simple stand-in, or it is not worth its upkeep."""
    if not differences:
        return _gate("baseline", "inconclusive", "the model names no baseline", {})
    outcomes = {name: _above(difference, margin) for name, difference in differences.items()}
    name = min(differences, key=lambda key: (_finite(differences[key].low, float("-inf")), key))
    outcome = _worst(list(outcomes.values()))
    figures = {f"{key}.{part}": value for key, d in differences.items() for part, value in _figures(d).items()}
    return _gate("baseline", outcome, _compared(differences[name], margin, f"{name}, the strongest", outcome), figures)


def backtest(windows: Sequence[Window], wanted: int, min_wins: int) -> Gate:
    """The same recipe, trained anew before each of several earlier windows, must win in enough of them.

    Args:
        windows: those that could be scored; a short history has fewer than `wanted`.
    """
    wins = [window for window in windows if window.ours > window.theirs]
    figures = {"windows": float(len(windows)), "wins": float(len(wins))}
    for number, window in enumerate(windows, 1):
        figures |= {f"{number}.ours": window.ours, f"{number}.theirs": window.theirs}
    told = ", ".join(
        f"{window.start} {window.ours:.3f} against {window.theirs:.3f} ({window.against})" for window in windows
    )
    reason = f"better in {len(wins)} of {len(windows)} windows, {min_wins} needed: {told or 'none could be scored'}"
    if len(wins) >= min_wins:
        outcome: Outcome = "pass"
    elif len(wins) + wanted - len(windows) >= min_wins:
        outcome, reason = "inconclusive", f"{reason}; the history is too short for {wanted} windows"
    else:
        outcome = "fail"
    return _gate("backtest", outcome, reason, figures)


def bias(fairness: Fairness, max_gap: float) -> Gate:
    """No segment may be served far worse than the whole.

    The gap is relative to the whole; one below -max_gap fails when its interval agrees, else it is inconclusive.
    A segment that is served better is shown, and is no reason to refuse.
    """
    if not fairness.segments:
        too_small = ", ".join(f"{kind} {name} ({count})" for kind, name, count in fairness.small)
        reason = f"no segment is large enough to judge: {too_small or 'none at all'}"
        return _gate("bias", "inconclusive", reason, _in_detail(fairness))
    worst = min(fairness.segments, key=lambda segment: (segment.gap, segment.kind, segment.name))
    beyond = [segment for segment in fairness.segments if segment.below(max_gap) != "no"]
    certain = [segment for segment in beyond if segment.below(max_gap) == "yes"]
    outcome: Outcome = "fail" if certain else "inconclusive" if beyond else "pass"
    named = (certain or beyond or [worst])[0]
    reason = (
        f"{named.kind} {named.name!r} {named.gap:+.0%} [{named.low:+.0%}, {named.high:+.0%}] against the whole over "
        f"{named.count} subjects, allowed {-max_gap:.0%}; {len(fairness.segments)} segments judged"
    )
    figures = {f"{segment.kind}.{segment.name}": segment.gap for segment in fairness.segments}
    figures |= {"overall": fairness.overall, "limit": -max_gap}
    return _gate("bias", outcome, reason, {**figures, **_in_detail(fairness)})


def segments_of(gate: Gate) -> list[Told]:
    """What the figures of a bias gate say of each segment, worst gap first and those too small to judge last.

    Evidence of before 2026-11-22 has the gaps alone.
    """
    figures = gate.figures
    split = [(key, *key.rpartition(PART)) for key in figures if "." in key]
    named = {before if part in PARTS else key for key, before, _, part in split}
    told = []
    for key in sorted(named):
        kind, _, name = key.partition(".")
        parts = {part: figures.get(f"{key}{PART}{part}") for part in PARTS}
        told.append(Told(kind=kind, name=name, gap=figures.get(key), **parts))
    return sorted(told, key=lambda one: (one.gap is None, one.gap or 0.0, one.kind, one.name))


def _in_detail(fairness: Fairness) -> dict[str, float]:
    """Size, mean and interval of each segment, and the sizes of those too small to judge; read by `segments_of`."""
    figures: dict[str, float] = {}
    for one in fairness.segments:
        parts = {"subjects": float(one.count), "mean": one.mean, "low": one.low, "high": one.high}
        figures |= {f"{one.kind}.{one.name}{PART}{part}": value for part, value in parts.items()}
    return figures | {f"{kind}.{name}{PART}subjects": float(count) for kind, name, count in fairness.small}


def drift(shifts: Mapping[str, Drift], max_psi: float) -> Gate:
    """What the model learned from must still look like what it will see.

    Args:
        shifts: per feature, its training distribution against the newest.
        max_psi: largest PSI of practical size; below what chance gives nothing fails.
    """
    if not shifts:
        return _gate("drift", "inconclusive", "no feature has a distribution to compare", {})
    moved = sorted(name for name, shift in shifts.items() if shift.exceeds(max_psi))
    worst = max(shifts, key=lambda name: (shifts[name].psi, name))
    shown = f"largest PSI {shifts[worst].psi:.3f} ({worst}), allowed {max_psi:g}, over {len(shifts)} features"
    reason = f"{', '.join(moved)} moved since training; {shown}" if moved else shown
    figures = {name: shift.psi for name, shift in shifts.items()}
    return _gate("drift", "fail" if moved else "pass", reason, {**figures, "limit": max_psi})


def overfitting(training: float, holdout: float, max_gap: float) -> Gate:
    """What a model shows on rows it was trained on may not be far above what it shows on new ones.

    The gap is (training - holdout) / training.
    """
    figures = {"training": training, "holdout": holdout}
    if not (isfinite(training) and isfinite(holdout)) or training <= 0:
        return _gate("overfitting", "inconclusive", "there is no figure on training rows to compare with", figures)
    gap = (training - holdout) / training
    outcome: Outcome = "pass" if gap <= max_gap else "fail"
    reason = f"{training:.3f} on training rows, {holdout:.3f} on new ones: a gap of {gap:.0%}, allowed {max_gap:.0%}"
    return _gate("overfitting", outcome, reason, {**figures, "gap": gap, "limit": max_gap})


def service(report: Service) -> Gate:
    """A service process, as in production but without a port, must load the artifact and repeat its stored answers."""
    if report.ok:
        return _gate("service", "pass", "the service loads it and repeats the answers stored at training", {})
    return _gate("service", "fail", f"the service refuses it: {report.reason}", {})


def latency(report: Service, limit_seconds: float) -> Gate:
    """The 99th percentile of single answers (predict and decide) in that service process."""
    if not report.ok or report.latency_p99_ms is None or not isfinite(report.latency_p99_ms):
        return _gate("latency", "inconclusive", "the service check gave no figure", {})
    limit = limit_seconds * 1000
    outcome: Outcome = "pass" if report.latency_p99_ms <= limit else "fail"
    figures = {"p99_ms": report.latency_p99_ms, "limit_ms": limit}
    if report.latency_p50_ms is not None:
        figures["p50_ms"] = report.latency_p50_ms
    return _gate(
        "latency", outcome, f"99 % of answers within {report.latency_p99_ms:.1f} ms, allowed {limit:g} ms", figures
    )


def size(size_bytes: int, max_bytes: int) -> Gate:
    """The plaintext bundle, which a replica holds in memory."""
    outcome: Outcome = "pass" if size_bytes <= max_bytes else "fail"
    reason = f"{size_bytes / 2**20:.1f} MiB, allowed {max_bytes / 2**20:.1f} MiB"
    return _gate("size", outcome, reason, {"bytes": float(size_bytes), "limit": float(max_bytes)})


def _above(difference: Difference, margin: float) -> Outcome:
    if not (isfinite(difference.low) and isfinite(difference.high)):
        return "inconclusive"
    if difference.low > margin:
        return "pass"
    return "fail" if difference.high <= margin else "inconclusive"


def _worst(outcomes: Sequence[Outcome]) -> Outcome:
    return "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"


def _compared(difference: Difference, margin: float, against: str, outcome: Outcome) -> str:
    if difference.subjects == 0:
        return f"nothing to compare with {against}: no subject was scored by both"
    shown = (
        f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}] over {difference.subjects} subjects"
    )
    verdict = {
        "pass": f"the interval is above {margin:g}",
        "fail": f"the interval is not above {margin:g}",
        "inconclusive": f"the interval holds {margin:g}: more subjects are needed to tell",
    }
    return f"against {against} {shown}; {verdict[outcome]}"


def _figures(difference: Difference) -> dict[str, float]:
    return {
        "mean": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "relative": difference.relative,
        "subjects": float(difference.subjects),
    }


def _gate(name: str, outcome: Outcome, reason: str, figures: Figures, required: bool = True) -> Gate:
    """JSON has no infinity: a figure that is none is left out, and the reason says so in words."""
    kept = {key: float(value) for key, value in figures.items() if isfinite(value)}
    return Gate(name=name, outcome=outcome, reason=reason, figures=kept, required=required)


def _finite(value: float, otherwise: float) -> float:
    return value if isfinite(value) else otherwise
