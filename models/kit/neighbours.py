"""Item-to-item weights learned from who bought what: EASE and cosine, kept as the strongest neighbours per item.

Needs scipy, which is imported where it is used so that the rules work without it. Every sum runs in the order of
its own history, so a batch answers exactly as its requests one by one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from errors import ModelError

if TYPE_CHECKING:
    import scipy.sparse as sp

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def interactions(rows: Ints, columns: Ints, shape: tuple[int, int]) -> sp.csr_array:
    """A (subjects x items) matrix of ones where a subject bought an item."""
    import scipy.sparse as sp  # noqa: PLC0415 - the rules work without scipy

    matrix = sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.data[:] = 1.0
    return matrix


def damped(matrix: sp.csr_array, power: float) -> sp.csr_array:
    """Rows divided by (items of the subject)^power, so that a few wholesalers do not explain everything.

    Scaled to a mean of one, so that a ridge keeps its meaning.
    """
    import scipy.sparse as sp  # noqa: PLC0415 - the rules work without scipy

    scale = np.maximum(matrix.sum(axis=1), 1.0) ** -power
    return sp.csr_array(sp.diags_array(scale / scale.mean()) @ matrix)


def ease(matrix: sp.csr_array, ridge: float) -> Matrix:
    """EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data"): (items x items), zero diagonal.

    P = (X'X + ridge I)^-1, B = -P / diag(P) by columns. Float32 Cholesky (LAPACK potrf, potri).

    Raises:
        ModelError: when the ridge is too small for float32.
    """
    from scipy.linalg import lapack  # noqa: PLC0415 - the rules work without scipy

    gram = np.asfortranarray((matrix.T @ matrix).toarray(), dtype=np.float32)
    gram[np.diag_indices_from(gram)] += ridge
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise ModelError("EASE", expected="a positive definite matrix", got=f"none, row {failed}", do="raise the ridge")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights: Matrix = np.ascontiguousarray(-inverse / np.diag(inverse)[None, :], dtype=np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights


def cosine(matrix: sp.csr_array) -> Matrix:
    """Cosine between items by who bought them: (items x items), zero diagonal."""
    gram = (matrix.T @ matrix).toarray().astype(np.float32)
    norms = np.sqrt(np.maximum(np.diag(gram), np.float32(1e-9)))
    weights: Matrix = (gram / norms[:, None] / norms[None, :]).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights


def strongest(weights: Matrix, keep: int) -> sp.csr_array:
    """The `keep` largest positive and negative weights towards each item (column); rows are items of a history.

    Weights are rounded to half precision, which is how they are stored.
    """
    size = len(weights)
    strength = np.abs(weights)
    if keep < size:
        limit = np.partition(strength, size - keep, axis=0)[size - keep]
        strength[strength < limit[None, :]] = 0.0
    rows, columns = np.nonzero(strength)
    starts = np.searchsorted(rows, np.arange(size + 1))
    return sparse(starts, columns, weights[rows, columns].astype(np.float16))


def sparse(starts: npt.NDArray[Any], columns: npt.NDArray[Any], weights: npt.NDArray[Any]) -> sp.csr_array:
    """The arrays of a square matrix by rows, ready for `scores`."""
    import scipy.sparse as sp  # noqa: PLC0415 - the rules work without scipy

    size = len(starts) - 1
    parts = (weights.astype(np.float32), columns.astype(np.int32), starts.astype(np.int32))
    return sp.csr_array(parts, shape=(size, size))


def none(size: int) -> sp.csr_array:
    """No neighbours at all, for a model that only knows popularity."""
    return sparse(np.zeros(size + 1), np.zeros(0), np.zeros(0))


def scores(weights: sp.csr_array, items: Sequence[Ints], strengths: Sequence[Floats]) -> Floats:
    """Score of every item for each history: the sum over the history of strength times weight.

    Args:
        items, strengths: one array per history.

    Returns:
        (histories x items).
    """
    import scipy.sparse as sp  # noqa: PLC0415 - the rules work without scipy

    starts = np.cumsum([0, *(len(one) for one in items)], dtype=np.int32)
    parts = (np.concatenate(strengths).astype(np.float32), np.concatenate(items).astype(np.int32), starts)
    histories = sp.csr_array(parts, shape=(len(items), weights.shape[0]))
    return np.asarray((histories @ weights).toarray(), dtype=np.float64)


def top(values: Floats, count: int) -> list[Ints]:
    """Positions of the `count` largest finite values of each row, best first; equal values by position."""
    rows, size = values.shape
    count = min(count, size)
    if count == 0:
        return [np.zeros(0, dtype=np.int64)] * rows
    limits = np.partition(values, size - count, axis=1)[:, size - count]
    row, column = np.nonzero((values >= limits[:, None]) & np.isfinite(values))
    order = np.lexsort((column, -values[row, column], row))
    row, column = row[order], column[order]
    bounds = np.searchsorted(row, np.arange(rows + 1))
    return [column[start : min(start + count, end)] for start, end in itertools.pairwise(bounds)]
