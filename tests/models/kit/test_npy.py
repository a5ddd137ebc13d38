"""Arrays go to bytes and back; what is no array, or hides objects, is refused."""

from __future__ import annotations

import numpy as np
import pytest

from models.kit import npy


def test_an_array_comes_back_as_it_was() -> None:
    array = np.array([[1.5, -2.0], [np.pi, 0.0]], dtype=np.float32)
    found = npy.load(npy.dump(array))
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()
    assert npy.dump(found) == npy.dump(array)


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"not an array", npy.dump(np.arange(9))[:-4]])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        npy.load(data)


def test_objects_are_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        npy.dump(np.array([{}], dtype=object))
