"""Arrays as files of an artifact: NumPy's own format, without pickle."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt


def dump(array: npt.NDArray[Any]) -> bytes:
    """The bytes of an .npy file; equal arrays give equal bytes."""
    sink = io.BytesIO()
    np.save(sink, array, allow_pickle=False)
    return sink.getvalue()


def load(data: bytes) -> npt.NDArray[Any]:
    """What `dump` wrote. Raises ValueError or EOFError for anything else, objects among it."""
    found: npt.NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return found
