"""Shifts and drift: which columns of a window differ from the reference by more than chance and by enough to matter.

One statistic decides: the PSI over the reference's bins. KS, Kullback-Leibler and Jensen-Shannon of the same counts are
shown beside it. Read by the monitor flow; `answer_of` derives a stored answer again from its own figures.

How the limit is found
- Without any difference PSI / (1/N + 1/n) is about chi-square with B-1 degrees (Yurdakul 2018), if rows are independent
  draws. Weeks of real history are not: they differ among themselves. Each block of the reference is compared with the
  others; what its PSI has beyond chance, averaged over the blocks, is the drift that history shows without any drift.
- So the p-value is that of a chi-square under chance plus excess, averaged over all excesses that the blocks leave
  possible: a generalised p-value (Tsui and Weerahandi 1989). It is an F test where window and blocks are of one size,
  and right for other sizes too. Degrees of freedom are Satterthwaite's (1946): the bins of one week may move together,
  so what is excess counts as one, whatever the bins.
- Benjamini and Hochberg (1995) over the columns of a window; a floor of practical size; the same column in k of n windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, chdtri
from scipy.stats import false_discovery_control

from checks import drift
from checks.profiles import Column, Profile, References, anomaly_rate
from configs.schema import MonitorConfig
from records import Answered, Corrupted, Record

Floats = npt.NDArray[np.float64]
NODES = 200  # of the average over what the blocks leave possible
MIN_BLOCKS = 3  # below these nothing is known of how blocks differ, and chance alone is the measure


class Shift(Record, frozen=True, kw_only=True):
    """One column of a window against the reference."""

    column: str
    rows: int
    decided: bool  # False with too few rows: the rest is shown only
    drifted: bool
    bins: int  # with rows on either side
    psi: float
    expected: float  # PSI that chance and the differences between blocks give on average
    dispersion: float  # how many times more than chance alone; at least 1
    p_value: float
    adjusted: float  # for the number of columns looked at; 1.0 when not decided
    missing: float  # share
    outside: float  # share
    mean: float | None
    reference_mean: float | None
    ks: float | None  # of a number, over the bins
    kl: float
    js: float


class Judged(Record, frozen=True, kw_only=True):
    """An answer to one question of the decision table, and all that it was derived from, as plain values."""

    answer: Answered
    reason: str
    figures: dict[str, Any]
    where: Corrupted | Literal[""] = ""


class Dispersion(NamedTuple):
    """How blocks of the reference differ, each from the others, for each degree of freedom."""

    seen: float  # mean PSI; never below chance
    chance: float  # mean of 1/N + 1/n
    blocks: int

    @property
    def excess(self) -> float:
        """What the blocks have beyond chance."""
        return self.seen - self.chance


def shifts(references: References, profile: Profile, config: MonitorConfig) -> tuple[Shift, ...]:
    """The columns of a window that the reference has, in its order. A column with no row at all is left out."""
    known = [column for column in references.columns if column.name in profile.columns]
    found = [_shift(column, profile, config.min_rows) for column in known if profile.columns[column.name].rows]
    tested = [
        one.decided and one.bins > 1 for one in found
    ]  # where all is one value on both sides there is no question
    values = [one.p_value for one, asked in zip(found, tested, strict=True) if asked]
    adjusted = iter(false_discovery_control(values).tolist() if values else [])
    return tuple(
        _settled(one, next(adjusted), config) if asked else one for one, asked in zip(found, tested, strict=True)
    )


def drifted(references: References, windows: Sequence[Profile], config: MonitorConfig) -> Judged:
    """Whether the same column shifted in k of the last n windows.

    Yes: it did. No: it cannot have, even if every window nothing is known of shifted. Undecided: anything else.

    Args:
        windows: oldest first; one without traffic is `EMPTY`. Those before the last n are ignored.
    """
    looked = [shifts(references, window, config) for window in windows[-config.windows :]]
    newest = looked[-1] if looked else ()
    figures = {
        "limits": config.model_dump(include=set(LIMITS), mode="json"),
        "windows": [{one.column: _kept(one) for one in window if one.decided} for window in looked],
        "columns": {one.column: msgspec.to_builtins(one) for one in newest},
        "worst": _worst(newest),
        "share": sum(one.drifted for one in newest) / len(newest) if newest else None,
        "anomaly_rate": anomaly_rate(references, windows[-1]) if windows else None,
    }
    answer, reason = _settle(figures)
    return Judged(answer=answer, reason=reason, figures=figures)


LIMITS = ("windows", "drifted_windows", "alpha", "floor_psi", "min_rows")


def answer_of(figures: Mapping[str, Any]) -> Answered:
    """The answer that stored figures of `drifted` lead to."""
    return _settle(figures)[0]


def beside(references: References, window: Profile, other: Profile) -> dict[str, Any] | None:
    """The column that differs most from another window, by PSI over the same bins; shown, and decides nothing."""
    found: dict[str, float] = {}
    for column in references.columns:
        here, there = window.columns.get(column.name), other.columns.get(column.name)
        if here and there and here.rows and there.rows:
            base = msgspec.structs.replace(column.reference, counts=there.counts)
            found[column.name] = drift.drift(base, here.counts).psi
    if not found:
        return None
    worst = max(found, key=lambda name: found[name])
    return {"column": worst, "psi": found[worst]}


@lru_cache(maxsize=1024)  # of the reference alone, and asked for with every window
def dispersion(column: Column) -> Dispersion:
    """Each block against the sum of the others. Fewer than MIN_BLOCKS blocks say nothing."""
    blocks = np.array([block for block in column.blocks if sum(block)], dtype=np.int64)
    if len(blocks) < MIN_BLOCKS:
        return Dispersion(0.0, 0.0, 0)
    seen, chance = [], []
    for block in blocks:
        others = msgspec.structs.replace(column.reference, counts=tuple((blocks.sum(axis=0) - block).tolist()))
        found = drift.drift(others, block)
        seen.append(found.psi / max(found.bins - 1, 1))
        chance.append(1.0 / found.reference_rows + 1.0 / found.rows)
    by_chance = float(np.mean(chance))
    return Dispersion(max(float(np.mean(seen)), by_chance), by_chance, len(blocks))


def _shift(column: Column, profile: Profile, min_rows: int) -> Shift:
    counted = profile.columns[column.name]
    found = drift.drift(column.reference, counted.counts)
    apart = dispersion(column)
    scale = 1.0 / found.reference_rows + 1.0 / found.rows
    p, q = _shares(column.reference.counts), _shares(counted.counts)
    middle = (p + q) / 2
    return Shift(
        column=column.name,
        rows=counted.rows,
        decided=counted.rows >= min_rows,
        drifted=False,
        bins=found.bins,
        psi=found.psi,
        expected=(found.bins - 1) * (scale + apart.excess),
        dispersion=1.0 + apart.excess / scale,
        p_value=_p_value(found, apart),
        adjusted=1.0,
        missing=counted.missing / counted.rows,
        outside=counted.outside / counted.rows,
        mean=counted.mean,
        reference_mean=column.counted.mean,
        ks=_ks(column.reference.counts, counted.counts) if column.reference.kind == "number" else None,
        kl=_divergence(q, p),
        js=(_divergence(p, middle) + _divergence(q, middle)) / 2,
    )


def _p_value(found: drift.Drift, apart: Dispersion) -> float:
    """Chance of a PSI this large, when the window is one more block like those of the reference."""
    bins = found.bins - 1
    if bins < 1:
        return 1.0
    scale = 1.0 / found.reference_rows + 1.0 / found.rows
    if not apart.blocks:
        return float(chdtrc(bins, found.psi / scale))
    quotients, weights = _quotients((apart.blocks - 1) * float(_freedom(bins, apart.excess / apart.seen)))
    excess = np.maximum(apart.seen * quotients - apart.chance, 0.0)
    free = _freedom(bins, excess / (scale + excess))
    return float(weights @ chdtrc(free, free * found.psi / (bins * (scale + excess))))


def _freedom(bins: int, share: float | Floats) -> Floats:
    """Degrees of freedom of a PSI of which `share` is excess, in one direction: all of them, down to one."""
    return np.asarray(bins / (1.0 + (bins - 1) * np.square(share)), dtype=np.float64)


@lru_cache(maxsize=256)
def _quotients(freedom: float) -> tuple[Floats, Floats]:
    """True over seen dispersion, freedom / chi-square, at points that stand close where it is largest; with weights."""
    steps = (np.arange(NODES) + 0.5) / NODES
    return freedom / chdtri(freedom, 1.0 - steps**2), 2.0 * steps / NODES


def _settled(one: Shift, adjusted: float, config: MonitorConfig) -> Shift:
    beyond = adjusted <= config.alpha and one.psi > config.floor_psi
    return msgspec.structs.replace(one, adjusted=adjusted, drifted=beyond)


def _kept(one: Shift) -> dict[str, float]:
    return {"rows": one.rows, "psi": one.psi, "p_value": one.p_value, "adjusted": one.adjusted}


def _worst(found: Sequence[Shift]) -> dict[str, Any] | None:
    """The column that shifted most; one that drifted before any that did not."""
    if not found:
        return None
    worst = max(found, key=lambda one: (one.drifted, one.decided, one.psi))
    return {"column": worst.column, "psi": worst.psi, "adjusted": worst.adjusted, "drifted": worst.drifted}


def _settle(figures: Mapping[str, Any]) -> tuple[Answered, str]:
    """k of n from the figures alone."""
    limits, windows = figures["limits"], [window for window in figures["windows"] if window]
    most, needed = int(limits["windows"]), int(limits["drifted_windows"])
    times: dict[str, int] = {}
    for window in windows:
        for name, one in window.items():
            if one["adjusted"] <= limits["alpha"] and one["psi"] > limits["floor_psi"]:
                times[name] = times.get(name, 0) + 1
    often = max(times.values(), default=0)
    named = ", ".join(sorted(name for name, count in times.items() if count == often))
    decided = f"{len(windows)} windows with {limits['min_rows']} answers or more, of the last {most}"
    if often >= needed:
        return "yes", f"{named}: shifted in {often} of {decided}; {needed} make it drift"
    if often + most - len(windows) < needed:
        seen = f"{named} shifted in {often}" if often else "no column shifted"
        return "no", f"{seen} of {decided}; {needed} make it drift"
    return "undecided", f"only {decided}: too few to say whether a column shifted in {needed}"


def _shares(counts: Sequence[int]) -> Floats:
    """Half a row is added to each bin, as for the PSI."""
    filled = np.array(counts, dtype=np.float64) + drift.HALF
    return np.asarray(filled / filled.sum(), dtype=np.float64)


def _divergence(first: Floats, second: Floats) -> float:
    return float((first * np.log(first / second)).sum())


def _ks(reference: Sequence[int], window: Sequence[int]) -> float | None:
    """Largest distance of the two distribution functions at the edges of the bins; None when either has no number."""
    before, after = (np.array(one[:-1], dtype=np.float64) for one in (reference, window))
    if not before.sum() or not after.sum():
        return None
    return float(np.abs(np.cumsum(before) / before.sum() - np.cumsum(after) / after.sum()).max())
