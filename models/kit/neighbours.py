"""Item-to-item weights learned from who bought what: EASE and cosine, kept as the strongest neighbours per item.

Learning needs scipy; answering (`scores`) needs numpy only. All sums run in a fixed order per request, so a batch
answers exactly as its requests one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import scipy.sparse as sp

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """A sparse square matrix by rows: from an item of the history to the items it speaks for."""

    starts: npt.NDArray[np.int64]  # (items + 1,)
    columns: npt.NDArray[np.uint16]  # (n,)
    weights: npt.NDArray[np.float16]  # (n,)

    @property
    def size(self) -> int:
        return len(self.starts) - 1


def interactions(rows: Ints, columns: Ints, weights: Floats, shape: tuple[int, int]) -> sp.csr_array:
    """A sparse (subjects x items) matrix; several entries of one cell keep the largest weight."""
    import scipy.sparse as sp  # noqa: PLC0415 - answering and the rules work without scipy

    order = np.lexsort((weights, columns, rows))
    rows, columns, weights = rows[order], columns[order], weights[order]
    last = np.append((rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1]), True)[: len(rows)]
    return sp.csr_array((weights[last], (rows[last], columns[last])), shape=shape, dtype=np.float32)


def ease(matrix: sp.csr_array, ridge: float) -> Floats:
    """EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data"): (items x items), zero diagonal.

    P = (X'X + ridge I)^-1, B = I - P / diag(P) by columns. Float32 Cholesky (LAPACK potrf, potri).
    """
    from scipy.linalg import lapack  # noqa: PLC0415 - answering and the rules work without scipy

    gram = (matrix.T @ matrix).toarray(order="F").astype(np.float32, order="F")
    gram[np.diag_indices_from(gram)] += ridge
    factor, _ = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights: Floats = (-inverse / np.diag(inverse)[None, :]).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights


def cosine(matrix: sp.csr_array) -> Floats:
    """Cosine between items by who bought them: (items x items), zero diagonal."""
    gram = (matrix.T @ matrix).toarray().astype(np.float32)
    norms = np.sqrt(np.maximum(np.diag(gram), np.float32(1e-9)))
    weights: Floats = (gram / norms[:, None] / norms[None, :]).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights


def strongest(weights: Floats, keep: int) -> Neighbours:
    """The `keep` largest absolute weights towards each item (column), as rows."""
    size = len(weights)
    if keep < size:
        limit = np.partition(np.abs(weights), size - keep, axis=0)[size - keep]
        weights = np.where(np.abs(weights) >= limit[None, :], weights, np.float32(0))
    rows, columns = np.nonzero(weights)
    return Neighbours(
        starts=np.searchsorted(rows, np.arange(size + 1)).astype(np.int64),
        columns=columns.astype(np.uint16),
        weights=weights[rows, columns].astype(np.float16),
    )


def none(size: int) -> Neighbours:
    """No neighbours at all, for a model that only knows popularity."""
    return Neighbours(
        starts=np.zeros(size + 1, dtype=np.int64), columns=np.zeros(0, np.uint16), weights=np.zeros(0, np.float16)
    )


def scores(neighbours: Neighbours, items: Ints, strengths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Score of every item for one history: the sum over its items of strength times weight. Shape (items,)."""
    starts, counts = neighbours.starts[items], np.diff(neighbours.starts)[items]
    if not counts.sum():
        return np.zeros(neighbours.size)
    first = np.repeat(starts - np.append(0, np.cumsum(counts)[:-1]), counts)
    at = first + np.arange(counts.sum())
    values = neighbours.weights[at].astype(np.float64) * np.repeat(strengths, counts)
    return np.asarray(np.bincount(neighbours.columns[at], values, neighbours.size), dtype=np.float64)


def top(scores_: npt.NDArray[np.float64], count: int) -> Ints:
    """Positions of the `count` largest finite scores, best first; equal scores by position."""
    count = min(count, int(np.isfinite(scores_).sum()))
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    limit = np.partition(scores_, len(scores_) - count)[len(scores_) - count]
    at = np.flatnonzero(scores_ >= limit)
    return at[np.argsort(-scores_[at], kind="stable")][:count]
