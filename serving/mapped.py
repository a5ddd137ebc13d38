"""A feature snapshot in memory that nobody can write to: Arrow IPC in a sealed memfd, mapped read-only.

The plaintext must not lie on a disk, so the file has no name in any file system (Linux only). Columns of numbers and
texts without missing values reach `model.index` as views of the mapping; booleans are unpacked, since Arrow keeps bits.
The memory goes with the last array that looks into it. Called by `serving.admission` and `serving.fresh`.
"""

from __future__ import annotations

import fcntl
import io
import os
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from errors import TamperError

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


def mapped(parquet: bytes, thing: str) -> pd.DataFrame:
    """The frame of a snapshot's plaintext, as `pandas.read_parquet` gives it.

    Raises:
        TamperError: for bytes that are no Parquet.
    """
    try:
        table = _wide(pq.read_table(io.BytesIO(parquet)))
    except (pa.ArrowException, OSError) as error:
        raise TamperError(thing, expected="Parquet", got=str(error)) from error
    return pa.ipc.open_file(_sealed(table)).read_all().to_pandas(split_blocks=True)


def _wide(table: Any) -> Any:
    """Texts with the 64-bit offsets that pandas keeps them with, and each column in one piece: both save a copy."""
    fields = [field.with_type(pa.large_string()) if pa.types.is_string(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata)).combine_chunks()


def _sealed(table: Any) -> Any:
    """A read-only mapping of the table as an Arrow IPC file."""
    descriptor = os.memfd_create("grownet-features", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        return pa.memory_map(f"/proc/self/fd/{descriptor}", "r")
    finally:
        os.close(descriptor)
