"""Ranks products for a history: item-to-item weights, lifted by the market, popularity beneath, own habits beside.

    value = max(0, sum of strength x weight) x lift + popularity_weight x popularity + habit
    lift  = ((orders lately + 1/2) / (orders ever + 1/2)) ^ trend_power
    habit = repeat_weight x own orders x 2 ^ (-days / repeat half-life), when what is known is not excluded

A fitted one is arrays and JSON. `popular` needs numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from errors import TamperError
from models.contract import Proposal
from models.kit import neighbours, npy
from models.kit.history import Index

if TYPE_CHECKING:
    import scipy.sparse as sp

BLOCK = 128  # queries scored together; bounds the memory to 128 x items x 8 bytes
SMOOTHING = 0.5  # orders; keeps the lift of a product with hardly any order near 1
Positive = Annotated[float, msgspec.Meta(gt=0)]
Weight = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Blend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the parts of a value are weighed."""

    history_half_life_days: Positive  # of the weight of a past purchase
    history_floor: Share  # below which that weight does not fall
    trend_power: Weight
    popularity_weight: Weight  # of what sells now, where the history says nothing
    repeat_weight: Weight  # of the subject's own purchases, when they are not excluded
    repeat_half_life_days: Positive


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, free of any model's own request."""

    subject: str | None
    recent: tuple[str, ...]  # item codes as the catalogue writes them
    exclude_known: bool
    count: int


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Everything learned; arrays in order of `codes`."""

    blend: Blend
    codes: tuple[str, ...]
    position: dict[str, int]
    weights: sp.csr_array  # (items x items), from an item of the history to the items it speaks for
    trend: Floats  # at the time of learning, for items the index does not know
    orders: Floats


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one query brings with it, as positions in the fitted codes, ascending."""

    items: Ints
    strengths: Floats  # 1 for a basket or a purchase of today, falling to the floor
    habits: Floats


def fitted(index: Index, weights: sp.csr_array, blend: Blend) -> Fitted:
    """Weights over the catalogue of `index` as something that answers."""
    codes = index.catalogue.codes
    return Fitted(
        blend=blend,
        codes=codes,
        position=dict(index.catalogue.position),
        weights=weights,
        trend=index.catalogue.trend,
        orders=index.catalogue.orders,
    )


def rank(model: Fitted, index: Index, queries: Sequence[Query]) -> list[Proposal]:
    """The best items of each query with their values; unknown subjects and codes are ignored."""
    aligned = _aligned(model, index)
    lift, popular = _market(model, index, aligned)
    proposals: list[Proposal] = []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        held = [_held(model, index, aligned, query) for query in block]
        values = _values(model, held, lift)
        values += model.blend.popularity_weight * popular
        _own(values, held, block)
        proposals += _best(model.codes, values, block)
    return proposals


def popular(index: Index, queries: Sequence[Query]) -> list[Proposal]:
    """What sells now, for everybody the same but for what they know already; needs nothing learned."""
    proposals: list[Proposal] = []
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        values = np.tile(index.catalogue.trend, (len(block), 1))
        for row, query in zip(values, block, strict=True):
            if query.exclude_known:
                row[list(index.known(query.subject, query.recent))] = -np.inf
        proposals += _best(index.catalogue.codes, values, block)
    return proposals


def dump(model: Fitted) -> dict[str, bytes]:
    """model.json (blend and codes) and one .npy per array."""
    head = msgspec.json.encode({"blend": model.blend, "codes": model.codes}, order="sorted")
    return {"model.json": head, **{f"{name}.npy": npy.dump(array) for name, array in _arrays(model).items()}}


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote.

    Raises:
        TamperError: for a file that is missing or cannot be read, or arrays that do not fit together.
    """
    try:
        head = msgspec.json.decode(files["model.json"], type=_Head)
        read = {name: npy.load(files[f"{name}.npy"]) for name in _ARRAYS}
    except (KeyError, ValueError, EOFError, msgspec.DecodeError) as error:
        raise TamperError("recommender artifact", expected="the files dump wrote", got=repr(error)) from error
    _fits(read, len(head.codes))
    return Fitted(
        blend=head.blend,
        codes=head.codes,
        position={code: at for at, code in enumerate(head.codes)},
        weights=neighbours.sparse(read["starts"], read["columns"], read["weights"]),
        trend=read["trend"],
        orders=read["orders"],
    )


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    blend: Blend
    codes: tuple[str, ...]


_ARRAYS = {
    "starts": np.dtype(np.int64),
    "columns": np.dtype(np.uint32),
    "weights": np.dtype(np.float16),
    "trend": np.dtype(np.float64),
    "orders": np.dtype(np.float64),
}


def _arrays(model: Fitted) -> dict[str, npt.NDArray[Any]]:
    weights = model.weights
    found = (weights.indptr, weights.indices, weights.data, model.trend, model.orders)
    return {name: array.astype(dtype) for (name, dtype), array in zip(_ARRAYS.items(), found, strict=True)}


def _fits(read: Mapping[str, npt.NDArray[Any]], size: int) -> None:
    """Refuses arrays that an answer would fail on, or read beyond."""
    starts, columns = read["starts"], read["columns"]
    wrong = [name for name, dtype in _ARRAYS.items() if read[name].dtype != dtype or read[name].ndim != 1]
    if not wrong:
        lengths = {"starts": size + 1, "trend": size, "orders": size, "weights": len(columns)}
        wrong = [name for name, length in lengths.items() if len(read[name]) != length]
        wrong += [name for name in ("weights", "trend", "orders") if not np.isfinite(read[name]).all()]
    if not wrong and (starts[0] != 0 or starts[-1] != len(columns) or (np.diff(starts) < 0).any()):
        wrong = ["starts"]
    if not wrong and len(columns) and int(columns.max()) >= size:
        wrong = ["columns"]
    if wrong:
        raise TamperError("recommender artifact", expected=f"arrays that fit {size} items", got=f"wrong {wrong}")


def _aligned(model: Fitted, index: Index) -> Ints:
    """The fitted position of each catalogue item, -1 for one not learned."""
    codes = index.catalogue.codes
    if codes == model.codes:
        return np.arange(len(codes), dtype=np.int64)
    return np.array([model.position.get(code, -1) for code in codes], dtype=np.int64)


def _market(model: Fitted, index: Index, aligned: Ints) -> tuple[Floats, Floats]:
    """Lift and popularity (0 to 1) of each fitted item, by the index where it knows the item."""
    trend, orders = model.trend.copy(), model.orders.copy()
    learned = aligned >= 0
    trend[aligned[learned]] = index.catalogue.trend[learned]
    orders[aligned[learned]] = index.catalogue.orders[learned]
    lift = ((trend + SMOOTHING) / (orders + SMOOTHING)) ** model.blend.trend_power
    return lift, trend / trend.max() if trend.any() else trend


def _held(model: Fitted, index: Index, aligned: Ints, query: Query) -> Held:
    rows = index.rows(query.subject)
    blend, days = model.blend, index.days[rows]
    fading = np.exp2(-days / blend.history_half_life_days)
    habits = index.orders[rows] * np.exp2(-days / blend.repeat_half_life_days)
    basket = [model.position[code] for code in query.recent if code in model.position]
    items = np.concatenate([np.array(basket, dtype=np.int64), aligned[index.items[rows]]])
    strengths = np.concatenate([np.ones(len(basket)), blend.history_floor + (1.0 - blend.history_floor) * fading])
    habits = np.concatenate([np.zeros(len(basket)), blend.repeat_weight * habits])
    items, first, again = np.unique(items, return_index=True, return_inverse=True)  # a basket wins over the past
    most = np.zeros(len(items))
    np.maximum.at(most, again, habits)
    learned = items >= 0
    return Held(items=items[learned], strengths=strengths[first][learned], habits=most[learned])


def _values(model: Fitted, held: Sequence[Held], lift: Floats) -> Floats:
    values = neighbours.scores(model.weights, [one.items for one in held], [one.strengths for one in held])
    return np.asarray(np.maximum(values, 0.0) * lift)


def _own(values: Floats, held: Sequence[Held], block: Sequence[Query]) -> None:
    """Takes out what the subject has, or adds the habit of buying it again."""
    for row, one, query in zip(values, held, block, strict=True):
        if query.exclude_known:
            row[one.items] = -np.inf
        else:
            row[one.items] += one.habits


def _best(codes: Sequence[str], values: Floats, block: Sequence[Query]) -> list[Proposal]:
    chosen = neighbours.top(values, max(query.count for query in block))
    proposals = []
    for row, best, query in zip(values, chosen, block, strict=True):
        kept = best[: query.count]
        proposals.append(Proposal(items=tuple(codes[at] for at in kept), scores=tuple(row[kept].tolist())))
    return proposals
