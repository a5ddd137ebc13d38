"""The probability of each further page given the pages seen: a softmax network, and item-to-item weights in its form.

    z = bias + x direct + tanh(x inner + shift) outer        x = [seen, seen / n, one-hot of min(n, 8)]
    p = softmax of z over the pages not seen                 n = number of pages seen

Learned by leaving out each page of each session in turn (cross-entropy, Adam); a "wide and deep" form (Cheng et al.
2016) small enough for numpy. Sums run in the order of each request's own pages, so a batch answers as its requests
one by one. A fitted one is arrays and JSON; scipy is imported where it is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from errors import TamperError
from models.kit import npy

if TYPE_CHECKING:
    import scipy.sparse as sp

LENGTHS = 8  # lengths of a session that have a weight of their own; the last stands for longer ones
FAR = np.float32(-30.0)  # of a page already seen: no probability
START = 0.1  # spread of the inner weights before learning
FIRST, SECOND, TINY = 0.9, 0.999, 1e-8  # of Adam (Kingma and Ba 2015)
ARRAYS = ("bias", "direct", "inner", "shift", "outer")
Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network is learned."""

    hidden: Annotated[int, msgspec.Meta(ge=0, le=1024)]  # width of the inner layer
    epochs: Count
    batch: Count  # different contexts a step
    rate: Positive  # of the first step; falls to zero in a straight line
    decay: Annotated[float, msgspec.Meta(ge=0)]  # of all weights but the biases


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Everything learned; columns in order of `pages`. Rows: seen, seen / n, length of the session."""

    pages: tuple[str, ...]
    position: dict[str, int]
    bias: Matrix  # (pages,)
    direct: Matrix  # (2 pages + LENGTHS, pages)
    inner: Matrix  # (2 pages + LENGTHS, hidden)
    shift: Matrix  # (hidden,)
    outer: Matrix  # (hidden, pages)


class Lessons(NamedTuple):
    """Different contexts (sessions without one page), and how often each page was the one left out."""

    contexts: list[Ints]
    left_out: sp.csr_array  # (contexts x pages)


def fit(sessions: Iterable[Sequence[int]], pages: Sequence[str], recipe: Recipe, seed: int) -> Fitted:
    """Learns from sessions of at least two page positions. Equal sessions, in any order, and seed give equal arrays."""
    taught = lessons(sessions, len(pages))
    rng = np.random.default_rng(seed)
    counts = np.asarray(taught.left_out.sum(axis=0), dtype=np.float64)
    width = 2 * len(pages) + LENGTHS
    weights = [
        np.zeros((width, len(pages)), np.float32),
        (rng.standard_normal((width, recipe.hidden)) * START).astype(np.float32),
        np.zeros(recipe.hidden, np.float32),
        (rng.standard_normal((recipe.hidden, len(pages))) * START / 10).astype(np.float32),
    ]
    bias = np.log((counts + 0.5) / (counts.sum() + 0.5)).astype(np.float32)
    _descend(weights, bias, taught, recipe, rng)
    return _made(pages, bias, *weights)


def linear(weights: Matrix, pages: Sequence[str], bias: Matrix) -> Fitted:
    """Item-to-item weights (from a page seen to the pages it speaks for) as something that answers the same way."""
    size = len(pages)
    direct = np.zeros((2 * size + LENGTHS, size), np.float32)
    direct[:size] = weights
    return _made(
        pages, bias, direct, np.zeros((len(direct), 0), np.float32), np.zeros(0, np.float32), np.zeros((0, size))
    )


def scores(model: Fitted, contexts: Sequence[Ints]) -> Floats:
    """z of every page for each context, an ascending array of positions. Shape (contexts, pages)."""
    given = inputs(contexts, len(model.pages))
    z = given @ model.direct + model.bias
    if model.shift.size:
        felt = np.tanh(given @ model.inner + model.shift)
        z += np.matmul(felt[:, None, :], model.outer)[:, 0, :]  # one product a row: alike in a batch and alone
    return np.asarray(z, dtype=np.float64)


def shares(values: Floats) -> Floats:
    """Softmax of each row; minus infinity becomes nothing."""
    top = values.max(axis=1, keepdims=True)
    powers = np.exp(values - np.where(np.isfinite(top), top, 0.0))
    return np.asarray(powers / np.maximum(powers.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny))


def lessons(sessions: Iterable[Sequence[int]], size: int) -> Lessons:
    """Each page of each session left out in turn; equal contexts are put together, sorted."""
    import scipy.sparse as sp  # noqa: PLC0415 - the rules work without scipy

    kinds = Counter(tuple(sorted(session)) for session in sessions if len(session) > 1)
    found: dict[tuple[int, ...], Counter[int]] = {}
    for kind, times in kinds.items():
        for at, page in enumerate(kind):
            found.setdefault(kind[:at] + kind[at + 1 :], Counter())[page] += times
    ordered = sorted(found)
    rows = [(row, page, times) for row, key in enumerate(ordered) for page, times in sorted(found[key].items())]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    counts = table[:, 2].astype(np.float32)
    left_out = sp.csr_array((counts, (table[:, 0], table[:, 1])), shape=(len(ordered), size))
    return Lessons([np.array(key, dtype=np.int64) for key in ordered], left_out)


def inputs(contexts: Sequence[Ints], size: int) -> sp.csr_array:
    """x of each context. Shape (contexts, 2 size + LENGTHS)."""
    import scipy.sparse as sp  # noqa: PLC0415 - the rules work without scipy

    lengths = np.array([len(one) for one in contexts], dtype=np.int64)
    rows = np.repeat(np.arange(len(contexts)), lengths)
    seen = np.concatenate([*contexts, np.zeros(0, np.int64)]).astype(np.int64)
    some = np.flatnonzero(lengths)
    parts = (
        (np.ones(len(seen)), rows, seen),
        (1.0 / lengths[rows], rows, seen + size),
        (np.ones(len(some)), some, 2 * size + np.minimum(lengths[some], LENGTHS) - 1),
    )
    data, row, column = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    made = sp.csr_array((data.astype(np.float32), (row, column)), shape=(len(contexts), 2 * size + LENGTHS))
    made.sort_indices()
    return made


def dump(model: Fitted) -> dict[str, bytes]:
    """model.json (the pages) and one .npy per array."""
    head = msgspec.json.encode({"pages": model.pages}, order="sorted")
    return {"model.json": head, **{f"{name}.npy": npy.dump(getattr(model, name)) for name in ARRAYS}}


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote.

    Raises:
        TamperError: for a file that is missing or cannot be read, or arrays that do not fit together.
    """
    try:
        pages = msgspec.json.decode(files["model.json"], type=_Head).pages
        read = {name: npy.load(files[f"{name}.npy"]) for name in ARRAYS}
    except (KeyError, ValueError, EOFError, msgspec.DecodeError) as error:
        raise TamperError("page model artifact", expected="the files dump wrote", got=repr(error)) from error
    size, width = len(pages), 2 * len(pages) + LENGTHS
    hidden = read["shift"].size
    shapes = ((size,), (width, size), (width, hidden), (hidden,), (hidden, size))
    wrong = [
        name
        for name, shape in zip(ARRAYS, shapes, strict=True)
        if read[name].dtype != np.float32 or read[name].shape != shape or not np.isfinite(read[name]).all()
    ]
    if wrong:
        raise TamperError("page model artifact", expected=f"arrays that fit {size} pages", got=f"wrong {wrong}")
    return _made(pages, *(read[name] for name in ARRAYS))


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pages: tuple[str, ...]


def _made(pages: Sequence[str], *arrays: npt.NDArray[Any]) -> Fitted:
    named = {name: np.ascontiguousarray(array, np.float32) for name, array in zip(ARRAYS, arrays, strict=True)}
    return Fitted(pages=tuple(pages), position={page: at for at, page in enumerate(pages)}, **named)


def _descend(weights: list[Matrix], bias: Matrix, taught: Lessons, recipe: Recipe, rng: np.random.Generator) -> None:
    """Adam over shuffled contexts, in place; the rate falls to zero."""
    given, count = inputs(taught.contexts, taught.left_out.shape[1]), len(taught.contexts)
    means, squares = ([np.zeros_like(one) for one in weights] for _ in range(2))
    steps = recipe.epochs * -(-count // recipe.batch)
    done = 0
    for _ in range(recipe.epochs):
        order = rng.permutation(count)
        for start in range(0, count, recipe.batch):
            chosen = np.sort(order[start : start + recipe.batch])
            slopes = _slopes(weights, bias, given[chosen], taught.left_out[chosen], recipe.decay)
            rate = recipe.rate * (1 - done / steps)
            done += 1
            for parts in zip(weights, means, squares, slopes, strict=True):
                _step(*parts, (rate, done))


def _step(weight: Matrix, mean: Matrix, square: Matrix, slope: Matrix, at: tuple[float, int]) -> None:
    """One step of Adam, in place; `at` is the rate and the number of the step."""
    rate, done = at
    mean += (1 - FIRST) * (slope - mean)
    square += (1 - SECOND) * (slope * slope - square)
    scale = np.sqrt(square / (1 - SECOND**done)) + TINY
    weight -= (rate * (mean / (1 - FIRST**done)) / scale).astype(np.float32)


def _slopes(
    weights: list[Matrix], bias: Matrix, given: sp.csr_array, left_out: sp.csr_array, decay: float
) -> list[Matrix]:
    """Gradient of the mean cross-entropy, weighted by how often each context occurs, and of the decay."""
    direct, inner, shift, outer = weights
    felt = np.tanh(given @ inner + shift)
    z = given @ direct + felt @ outer + bias
    size = z.shape[1]
    z[given[:, :size].nonzero()] = FAR
    np.exp(z - z.max(axis=1, keepdims=True), out=z)
    times = np.asarray(left_out.sum(axis=1), dtype=np.float32)
    z *= (times / z.sum(axis=1))[:, None]
    pairs = left_out.tocoo()
    z[pairs.row, pairs.col] -= pairs.data
    z /= times.sum()
    back = (z @ outer.T) * (1.0 - felt * felt)
    turned = given.T.tocsr()
    return [
        np.asarray(turned @ z + decay * direct),
        np.asarray(turned @ back + decay * inner),
        np.asarray(back.sum(axis=0)),
        np.asarray(felt.T @ z + decay * outer),
    ]
