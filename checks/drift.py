"""Population stability of a feature: counts per bin of a stored reference, and the PSI between two such counts.

Read by the gates (training data against the newest) and by the monitors. A reference is made once from training
rows; every later window is only counted into its bins, so windows add up. Bins of a number: quantiles of the
reference with open ends; a value that alone is as frequent as a bin has a bin of its own, so that what falls beside
it is seen. Bins of a name: each name of the reference, and one for names never seen. Nulls have a bin of their own
in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtri

from errors import UsageError

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
ALPHA = 0.01  # false alarms of `limit` when nothing shifted
HALF = 0.5  # added to each bin, so that an empty one does not make the PSI infinite


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The bins of one feature and how many reference rows fell into each; the last bin holds nulls."""

    kind: Literal["number", "name"]
    edges: tuple[float, ...] = ()  # of a number: bin i is (edges[i-1], edges[i]], the first and last are open
    names: tuple[str, ...] = ()  # of a name: bin i is names[i], then one bin for all others
    counts: tuple[int, ...]

    @property
    def bins(self) -> int:
        return (len(self.edges) + 1 if self.kind == "number" else len(self.names) + 1) + 1


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """PSI of a window against a reference, with what chance alone would give."""

    psi: float
    expected: float  # mean without any shift: (B - 1)(1/N + 1/n)
    limit: float  # exceeded by chance in a share ALPHA of windows: chi2(1 - ALPHA, B - 1)(1/N + 1/n)
    bins: int  # B, without bins that are empty on both sides
    reference_rows: int
    rows: int

    def exceeds(self, floor: float) -> bool:
        """True when the PSI is above chance and above a floor of practical size."""
        return self.psi > max(self.limit, floor)


def reference_of_numbers(values: pd.Series, bins: int = 10) -> Reference:
    """Quantile bins of the finite values, and a bin for each value as frequent as one; ties may leave fewer than `bins`.

    Raises:
        UsageError: when there is no finite value, or fewer than two bins are asked for.
    """
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    finite = numbers[np.isfinite(numbers)]
    if bins < 2 or not len(finite):
        raise UsageError("drift reference", expected="finite values and at least 2 bins", got=f"{len(finite)}, {bins}")
    empty = Reference(kind="number", edges=tuple(_edges(finite, bins).tolist()), counts=())
    return msgspec.structs.replace(empty, counts=tuple(count(empty, values).tolist()))


def unbinned(values: pd.Series) -> Reference:
    """The reference of a number that was always missing: any value at all is in the one other bin."""
    empty = Reference(kind="number", counts=())
    return msgspec.structs.replace(empty, counts=tuple(count(empty, values).tolist()))


def _edges(finite: Floats, bins: int) -> Floats:
    """Edges around each heavy value, and quantiles of the others in as many bins as they would have filled."""
    distinct, ties = np.unique(finite, return_counts=True)
    heavy = distinct[(ties > 1) & (ties * bins >= len(finite))]
    light = finite[~np.isin(finite, heavy)]
    parts = max(1, round(bins * len(light) / len(finite)))
    shares = np.arange(1, parts) / parts
    between = np.quantile(light, shares, method="inverted_cdf") if len(light) and parts > 1 else np.empty(0)
    return np.unique(np.concatenate([np.nextafter(heavy, -np.inf), heavy, between]))


def reference_of_names(values: pd.Series, most: int = 50, least: float = 0.0) -> Reference:
    """One bin for each of the `most` frequent names (ties by name) with at least that share; the rest is unknown."""
    frequent = values.dropna().astype("str").value_counts().rename_axis("name").reset_index(name="rows")
    frequent = frequent[frequent["rows"] >= least * len(values)]
    names = frequent.sort_values(["rows", "name"], ascending=[False, True])["name"].head(most)
    empty = Reference(kind="name", names=tuple(sorted(names)), counts=())
    return msgspec.structs.replace(empty, counts=tuple(count(empty, values).tolist()))


def count(reference: Reference, values: pd.Series) -> Counts:
    """Rows of `values` in each bin of `reference`; the last bin holds nulls. Counts of windows add up."""
    return np.bincount(places(reference, values), minlength=reference.bins).astype(np.int64)


def places(reference: Reference, values: pd.Series) -> Counts:
    """The bin of each value, shape (rows,)."""
    null = values.isna().to_numpy(dtype=np.bool_)
    if reference.kind == "number":
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        null = null | np.isnan(numbers)  # pandas gives a read-only array
        at = np.searchsorted(np.array(reference.edges), numbers, side="left")
    else:
        at = pd.Index(reference.names, dtype="str").get_indexer(values.astype("str"))
        at[at < 0] = len(reference.names)
    return np.where(null, reference.bins - 1, at).astype(np.int64)


def drift(reference: Reference, counts: Sequence[int] | Counts) -> Drift:
    """PSI = sum over bins of (q - p) ln(q / p), p of the reference and q of the window, half a row added to each bin.

    Expectation and limit without a shift follow from the chi-square form of the PSI (Yurdakul 2018, "Statistical
    properties of population stability index").

    Raises:
        UsageError: when the counts do not belong to these bins or either side has no rows.
    """
    before, after = np.array(reference.counts, dtype=np.float64), np.array(counts, dtype=np.float64)
    if before.shape != after.shape or not before.sum() or not after.sum():
        expected = f"{len(before)} bins with rows on both sides"
        raise UsageError(
            "drift", expected=expected, got=f"{len(after)} bins, {before.sum():g} and {after.sum():g} rows"
        )
    used = (before + after) > 0
    before, after = before[used], after[used]
    bins, old, new = int(used.sum()), before.sum(), after.sum()
    p, q = (before + HALF) / (old + HALF * bins), (after + HALF) / (new + HALF * bins)
    scale = 1.0 / old + 1.0 / new
    return Drift(
        psi=float(((q - p) * np.log(q / p)).sum()),
        expected=float((bins - 1) * scale),
        limit=float(chdtri(bins - 1, ALPHA) * scale) if bins > 1 else 0.0,
        bins=bins,
        reference_rows=int(old),
        rows=int(new),
    )
