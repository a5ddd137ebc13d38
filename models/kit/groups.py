"""Customer groups by KMeans on log RFM, named by where their centres lie; scikit-learn is needed to learn only.

    space:  log(1 + weeks since the last order), log(1 + orders), log(1 + GBP), each minus its mean over its deviation
    name:   the one-to-one assignment of names to centres with the smallest sum of squared distances to PLACES

Recency counts in weeks: in days the logarithm tears apart customers of yesterday and of last Thursday.
A fitted one is JSON.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from errors import ModelError, TamperError
from models.kit import rfm, standings

WEEK = 7.0  # days
DIGITS = 6  # what is kept of a centre: below it the last bits of a sum decide
STARTS, RESTARTS = 10, 4  # of KMeans; fewer where only stability is looked at
FEWEST = 3  # groups; with two there is nobody new and nobody lapsing
AXES = (0, 1, 2)  # recency, orders, spend
PLACES: Mapping[str, tuple[float, float, float]] = {  # deviations from the mean customer: recency, orders, spend
    rfm.LOYAL: (-1.0, 2.0, 1.8),
    rfm.REGULAR: (-0.5, 0.8, 0.8),
    rfm.NEW: (-0.9, -0.7, -0.5),
    rfm.LAPSING: (0.6, -0.2, 0.0),
    rfm.LAPSING_BIG: (0.6, 0.9, 1.2),
    rfm.LOST: (1.1, -0.9, -1.0),
}
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


class Fitted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything learned; sequences in order of `names`."""

    logs: bool  # False: raw values, as a baseline has them
    axes: tuple[int, ...]  # columns of the space that are used
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    names: tuple[str, ...]
    centres: tuple[tuple[float, ...], ...]  # in deviations
    shares: tuple[float, ...]  # of the customers learned from
    rates: tuple[float, ...]  # who bought again within the horizon
    everyone: float  # that rate of all customers
    stability: float | None  # mean adjusted Rand index between these groups and those of resampled customers


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How groups are learned. The baselines differ from the model in this and nothing else."""

    groups: int
    min_share: float = 0.0
    resamples: int = 0
    logs: bool = True
    axes: tuple[int, ...] = AXES
    named: bool = True  # by place; otherwise by number


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is learned from: customers now, and those of a horizon ago with what came of it. Values are RFM columns."""

    now: Floats
    before: Floats
    bought: npt.NDArray[np.bool_]


def space(values: Floats, *, logs: bool = True) -> Floats:
    """Recency (days), orders and spend as the points that are grouped. Nothing below zero counts: no infinity comes out."""
    kept = np.maximum(values[:, :3], 0.0)
    return np.log1p(kept / np.array([WEEK, 1.0, 1.0])) if logs else kept


def learn(seen: Seen, recipe: Recipe, seed: int) -> Fitted:
    """The groups of `seen.now` and their repeat rates; fewer than asked for while the smallest is under `min_share`.

    Raises:
        ModelError: when there are fewer different customers than groups, or none of a horizon ago.
    """
    points = space(seen.now, logs=recipe.logs)[:, recipe.axes]
    if not len(seen.bought) or len(np.unique(points, axis=0)) < recipe.groups:
        raise ModelError(
            "segmentation",
            expected=f"{recipe.groups} different customers, and some of a horizon ago",
            got=f"{len(points)} and {len(seen.bought)}",
            do="take more history in",
        )
    mean, scale = _scaling(points)
    scaled = (points - mean) / scale
    centres = _enough(scaled, recipe, seed)
    names = named(centres) if recipe.named else [f"group {at + 1}" for at in range(len(centres))]
    order = np.argsort(names)
    centres, names = centres[order], [names[at] for at in order]
    before = (space(seen.before, logs=recipe.logs)[:, recipe.axes] - mean) / scale
    found = standings.rates([names[at] for at in nearest(before, centres)[:, 0]], seen.bought)
    everyone = float(found.everyone or 0.0)
    return Fitted(
        logs=recipe.logs,
        axes=recipe.axes,
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        names=tuple(names),
        centres=tuple(tuple(centre) for centre in centres.tolist()),
        shares=tuple(shares(scaled, centres).round(DIGITS).tolist()),
        rates=tuple(found.groups.get(name, everyone) for name in names),
        everyone=everyone,
        stability=stability(points, centres, recipe.resamples, seed) if recipe.resamples else None,
    )


def ranked(fitted: Fitted, values: Floats) -> Labels:
    """The groups of each customer, nearest first, as positions in `fitted.names`. Shape (customers, groups)."""
    points = space(values, logs=fitted.logs)[:, fitted.axes]
    return nearest((points - np.array(fitted.mean)) / np.array(fitted.scale), np.array(fitted.centres))


def nearest(scaled: Floats, centres: Floats) -> Labels:
    """Centres by distance, nearest first, equal ones by position; each row by itself, so a batch answers as its rows."""
    distances = ((scaled[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable").astype(np.int64)


def named(centres: Floats) -> list[str]:
    """A name for each centre, all different, the same for the same places whatever the order of the centres.

    Args:
        centres: (at most 6 x 3), in deviations from the mean customer.
    """
    places = np.array(list(PLACES.values()))
    costs = ((centres[:, None, :] - places[None, :, :]) ** 2).sum(axis=2)
    chosen = min(
        itertools.permutations(range(len(places)), len(centres)),
        key=lambda taken: sum(costs[at, place] for at, place in enumerate(taken)),
    )
    return [list(PLACES)[place] for place in chosen]


def shares(scaled: Floats, centres: Floats) -> Floats:
    """The share of the customers that is nearest to each centre."""
    return np.bincount(nearest(scaled, centres)[:, 0], minlength=len(centres)) / len(scaled)


def stability(points: Floats, centres: Floats, resamples: int, seed: int) -> float:
    """Mean adjusted Rand index between the groups and those learned anew from resampled customers and other seeds."""
    from sklearn.metrics import adjusted_rand_score  # noqa: PLC0415 - the rules work without scikit-learn

    mean, scale = _scaling(points)
    ours = nearest((points - mean) / scale, centres)[:, 0]
    draw, found = np.random.default_rng(seed), []
    for resample in range(resamples):
        drawn = points[draw.integers(0, len(points), len(points))]
        mean, scale = _scaling(drawn)
        others = kmeans((drawn - mean) / scale, len(centres), seed + resample + 1, RESTARTS)
        found.append(adjusted_rand_score(ours, nearest((points - mean) / scale, others)[:, 0]))
    return round(float(np.mean(found)), DIGITS)


def kmeans(scaled: Floats, count: int, seed: int, starts: int = STARTS) -> Floats:
    """Centres by KMeans (Lloyd), in the order of their coordinates; on one thread, so that sums have one order."""
    from sklearn.cluster import KMeans  # noqa: PLC0415 - the rules work without scikit-learn
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    with threadpool_limits(limits=1):
        found = KMeans(count, n_init=starts, random_state=seed % 2**32).fit(scaled).cluster_centers_
    rounded = np.asarray(found, dtype=np.float64).round(DIGITS)
    return rounded[np.lexsort(rounded.T[::-1])]


def silhouettes(scaled: Floats, labels: Labels) -> Floats:
    """The silhouette of each customer (Rousseeuw 1987); missing where there is one group only."""
    from sklearn.metrics import silhouette_samples  # noqa: PLC0415 - the rules work without scikit-learn

    different = len(np.unique(labels))
    if not 1 < different < len(labels):
        return np.full(len(labels), np.nan)
    return np.asarray(silhouette_samples(scaled, labels), dtype=np.float64)


def dump(fitted: Fitted) -> dict[str, bytes]:
    """groups.json."""
    return {"groups.json": msgspec.json.encode(fitted, order="sorted")}


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote.

    Raises:
        TamperError: for a file that is missing, cannot be read or does not fit together.
    """
    try:
        fitted = msgspec.json.decode(files["groups.json"], type=Fitted)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TamperError("groups artifact", expected="groups.json as dump wrote it", got=repr(error)) from error
    wrong = _wrong(fitted)
    if wrong:
        raise TamperError("groups artifact", expected="parts that fit together", got=f"wrong {wrong}")
    return fitted


def _wrong(fitted: Fitted) -> list[str]:
    """The parts that an answer would fail on. JSON has no infinity, but scale may be zero and lengths may differ."""
    count, width = len(fitted.names), len(fitted.axes)
    tests = {
        "axes": width > 0 and set(fitted.axes) <= set(AXES) and len(set(fitted.axes)) == width,
        "names": 0 < count == len(set(fitted.names)) and all(fitted.names),
        "centres": len(fitted.centres) == count and all(len(centre) == width for centre in fitted.centres),
        "mean": len(fitted.mean) == width,
        "scale": len(fitted.scale) == width and all(value > 0 for value in fitted.scale),
        "shares": len(fitted.shares) == count,
        "rates": len(fitted.rates) == count and all(0 <= rate <= 1 for rate in (*fitted.rates, fitted.everyone)),
    }
    return [name for name, fits in tests.items() if not fits]


def _scaling(points: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation by column; a constant column has deviation 1 and says nothing."""
    mean, scale = points.mean(axis=0).round(DIGITS), points.std(axis=0).round(DIGITS)
    return mean, np.where(scale > 0, scale, 1.0)


def _enough(scaled: Floats, recipe: Recipe, seed: int) -> Floats:
    """Centres of as many groups as the recipe asks for, or of fewer, so that none is too small to be worth a name."""
    count = recipe.groups
    centres = kmeans(scaled, count, seed)
    while count > FEWEST and shares(scaled, centres).min() < recipe.min_share:
        count -= 1
        centres = kmeans(scaled, count, seed)
    return centres
