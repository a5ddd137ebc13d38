"""Learns which headline of a test is clicked more: ridge regressions on letters and on traits, added up.

    score = pieces . a / spread_a + traits_weight x traits . b / spread_b

Both are learned from differences within a test, each package weighted by how sure its click rate is. Pieces are TF-IDF
over hashed columns, so no vocabulary travels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import ModelError, TamperError
from models.kit import headlines, npy
from records import digest_bytes

HEAD = "model.json"
WIDTH = len(headlines.NAMES)
FEW = 2  # headlines that must share a piece: one alone teaches nothing about others
SHORTEST = 1e-9  # a headline without a known piece has a length of nothing
LEAST_DEVIATION = 1e-9  # a column that varies less is constant
ROUNDS, TOLERANCE = 100, 1e-7  # of the solver (LSMR, Fong and Saunders 2011)
LEAST_PACKAGES = 50  # fewer teach nothing about texts
Floats = npt.NDArray[np.float64]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Learner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How texts are read and how far they are trusted."""

    bits: Annotated[int, msgspec.Meta(ge=8, le=20)]  # 2^bits columns for pieces
    longest: Annotated[int, msgspec.Meta(ge=2, le=8)]  # letters of a piece
    letters_ridge: Positive
    traits_ridge: Positive
    traits_weight: Annotated[float, msgspec.Meta(ge=0)]


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Something that scores headlines: what was learned of letters and traits, of words alone, or their length."""

    kind: Literal["letters", "words", "length"]
    longest: int = 0
    arrays: Mapping[str, Floats] = msgspec.field(default_factory=dict)


def fit(frame: pd.DataFrame, learner: Learner) -> Fitted:
    """Learns from the packages of `contests.features`. Nothing is drawn at random.

    Raises:
        ModelError: with too few packages.
    """
    letters, idf = _pieces(frame, "letters", learner)
    values = frame[list(headlines.NAMES)].to_numpy(np.float64)
    mean, scale = values.mean(axis=0), _scale(values)
    coefficients = _ridge((values - mean) / scale, frame, learner.traits_ridge) / scale
    traits = learner.traits_weight * coefficients / _spread(values @ coefficients)
    return Fitted(kind="letters", longest=learner.longest, arrays={"idf": idf, "pieces": letters, "traits": traits})


def fit_words(frame: pd.DataFrame, learner: Learner, longest: int = 2) -> Fitted:
    """TF-IDF of words and pairs of words with a ridge: the plain way, to be beaten. Raises ModelError as `fit`."""
    words, idf = _pieces(frame, "words", msgspec.structs.replace(learner, longest=longest))
    return Fitted(kind="words", longest=longest, arrays={"idf": idf, "pieces": words, "traits": np.zeros(WIDTH)})


def score(fitted: Fitted, texts: Sequence[str]) -> Floats:
    """One figure per headline; only differences between headlines mean something. Shape (texts,).

    Each row is summed by itself, so that equal headlines have equal scores whatever stands beside them.
    """
    if fitted.kind == "length":
        return np.array([len(text) for text in texts], dtype=np.float64)
    idf = fitted.arrays["idf"]
    counted = headlines.pieces(texts, int(np.log2(len(idf))), fitted.longest, fitted.kind)
    by_pieces = _worth(counted, idf, fitted.arrays["pieces"])
    by_traits = (headlines.traits(texts) * fitted.arrays["traits"]).sum(axis=1)
    return np.asarray(by_pieces + by_traits, dtype=np.float64)


def dump(fitted: Fitted) -> dict[str, bytes]:
    """model.json and one .npy per array."""
    files = {f"{name}.npy": npy.dump(values) for name, values in fitted.arrays.items()}
    digests = {name: digest_bytes(data) for name, data in files.items()}
    head = _Head(fitted.kind, fitted.longest, headlines.NAMES, digests)
    return {HEAD: msgspec.json.encode(head, order="sorted"), **files}


def load(files: Mapping[str, bytes]) -> Fitted:
    """What `dump` wrote.

    Raises:
        TamperError: for a file that is missing, damaged or not the one its head names, or of other traits.
    """
    try:
        head = msgspec.json.decode(files[HEAD], type=_Head)
        found = {name: digest_bytes(files[name]) for name in head.files}
    except (KeyError, msgspec.DecodeError) as error:
        raise TamperError("ranking artifact", expected="the files dump wrote", got=repr(error)) from error
    if found != head.files:
        raise TamperError("ranking artifact", expected=f"files of digests {head.files}", got=found)
    if head.traits != headlines.NAMES:
        raise TamperError("ranking artifact", expected=f"traits {headlines.NAMES}", got=head.traits)
    arrays = {name.removesuffix(".npy"): npy.load(files[name]) for name in head.files}
    return Fitted(kind=head.kind, longest=head.longest, arrays=arrays)


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Literal["letters", "words", "length"]
    longest: int
    traits: tuple[str, ...]
    files: dict[str, str]  # name -> SHA-256


def _pieces(frame: pd.DataFrame, unit: headlines.Unit, learner: Learner) -> tuple[Floats, Floats]:
    """Coefficients, so that scores of the learned packages have a spread of one, and the inverse document frequencies."""
    if len(frame) < LEAST_PACKAGES:
        raise ModelError(
            "ranking", expected=f"{LEAST_PACKAGES} packages of tests", got=len(frame), do="take more history in"
        )
    counted = headlines.pieces(list(frame["headline"]), learner.bits, learner.longest, unit)
    seen = np.bincount(counted.indices, minlength=counted.shape[1])
    idf = np.where(seen >= FEW, np.log((1.0 + len(frame)) / (1.0 + seen)) + 1.0, 0.0)
    made = _weighed(counted, idf)
    found = _ridge(made, frame, learner.letters_ridge)
    return found / _spread(made @ found), idf


def _weighed(counted: Any, idf: Floats) -> Any:
    """TF-IDF rows of length one."""
    from scipy import sparse  # noqa: PLC0415 - the rules answer without it

    made = counted @ sparse.diags_array(idf)
    lengths = np.sqrt(made.multiply(made).sum(axis=1))
    return sparse.diags_array(1.0 / np.maximum(lengths, SHORTEST)) @ made


def _worth(counted: Any, idf: Floats, coefficients: Floats) -> Floats:
    """`_weighed(counted, idf) @ coefficients` without the matrix between: a tenth of the time for one slate."""
    rows = np.repeat(np.arange(counted.shape[0]), np.diff(counted.indptr))
    values = counted.data * idf[counted.indices]
    lengths = np.sqrt(np.bincount(rows, values**2, minlength=counted.shape[0]))
    sums = np.bincount(rows, values * coefficients[counted.indices], minlength=counted.shape[0])
    return np.asarray(sums / np.maximum(lengths, SHORTEST))


def _ridge(rows: Any, frame: pd.DataFrame, ridge: float) -> Floats:
    """Weighted ridge of relative click rates on rows less the mean row of their test.

    That mean is taken away inside the products, so that sparse rows stay sparse.
    """
    from scipy import sparse  # noqa: PLC0415 - the rules answer without it
    from scipy.sparse.linalg import LinearOperator, lsmr  # noqa: PLC0415 - as above

    tests, count = frame["test"].factorize()[0], len(frame)
    weight = (frame["weight"] / frame["weight"].mean()).to_numpy(np.float64)
    root = np.sqrt(weight)
    member = sparse.csr_array((np.ones(count), (tests, np.arange(count))))
    share = sparse.diags_array(1.0 / (member @ weight)) @ member @ sparse.diags_array(weight)

    def forward(coefficients: Floats) -> Floats:
        made = rows @ coefficients
        return np.asarray(root * (made - (share @ made)[tests]))

    def backward(rest: Floats) -> Floats:
        made = root * rest
        return np.asarray(rows.T @ (made - share.T @ (member @ made)))

    relative = frame["relative"].to_numpy(np.float64)
    system = LinearOperator(rows.shape, matvec=forward, rmatvec=backward, dtype=np.float64)
    solved = lsmr(system, root * relative, damp=np.sqrt(ridge), atol=TOLERANCE, btol=TOLERANCE, maxiter=ROUNDS)
    return np.asarray(solved[0], dtype=np.float64)


def _scale(values: Floats) -> Floats:
    """Deviation of each column; 1 for one that never varies, which then says nothing."""
    found = values.std(axis=0)
    return np.where(found > LEAST_DEVIATION, found, 1.0)


def _spread(scores: Floats) -> float:
    found = float(np.std(scores))
    return found if found > LEAST_DEVIATION else 1.0
