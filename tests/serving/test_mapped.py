"""Features in memory: equal to what pandas reads, views where they can be, and nobody's to write to."""

import gc
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from errors import TamperError
from serving.mapped import mapped
from stores.artifacts import parquet

ROWS = 3000
FRAME = pd.DataFrame(
    {
        "text": ["x", "", "ü"] * (ROWS // 3),
        "number": np.arange(ROWS),
        "share": np.linspace(0, 1, ROWS),
        "flag": [True, False, True] * (ROWS // 3),
        "time": pd.date_range("2020", periods=ROWS, tz="UTC", unit="us"),
        "many": [["a"], ["b", "c"], []] * (ROWS // 3),
        "holes": [1.0, None, 2.0] * (ROWS // 3),
    }
)


def mappings() -> list[tuple[int, int, str]]:
    """Start, end and permissions of this process's mappings of features."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if "grownet-features" in line]
    found = [re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line) for line in lines]
    return [(int(one[1], 16), int(one[2], 16), one[3]) for one in found if one]


def test_the_frame_is_what_pandas_reads_and_lies_in_a_read_only_mapping() -> None:
    gc.collect()
    before = mappings()
    frame = mapped(parquet(FRAME), "features")
    pd.testing.assert_frame_equal(frame, FRAME)
    ((start, end, rights),) = [one for one in mappings() if one not in before]
    assert rights == "r--p" or rights == "r--s"
    for name in ("number", "share"):
        address = frame[name].to_numpy().__array_interface__["data"][0]
        assert start <= address < end, name
    buffers = [one for one in frame["text"].array.__arrow_array__().chunks[0].buffers() if one is not None]
    assert buffers
    assert all(start <= one.address < end for one in buffers)
    with pytest.raises(ValueError, match="read-only"):
        frame["share"].to_numpy()[0] = 2.0


def test_the_memory_goes_with_the_frame() -> None:
    gc.collect()
    before = len(mappings())
    frame = mapped(parquet(FRAME), "features")
    assert len(mappings()) == before + 1
    del frame
    gc.collect()
    assert len(mappings()) == before


@pytest.mark.parametrize("data", [b"", b"PAR1", b"nonsense" * 9])
def test_what_is_no_parquet_is_refused(data: bytes) -> None:
    with pytest.raises(TamperError, match="features: expected Parquet"):
        mapped(data, "features")
