"""Reads the files of a dataset in chunks of allowed columns; columns that are not listed are never kept.

Reads `data://` (bundled), local paths, and any fsspec URI; writes nothing. Called by `tasks.cut`.
What a source says in an error is never repeated where it could hold a row: rows are not masked yet.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from configs.schema import Dataset
from errors import SchemaError, SourceError

BUNDLED = Path(__file__).resolve().parent.parent / "data"
BLOCK_BYTES = 16 * 1024 * 1024  # no field, and no line, may be longer
BATCH = "{batch}"
Scalar = str | int | float | bool | None


class Chunk(NamedTuple):
    """Rows as they came, only columns that are let in, and the names of those that were left outside."""

    rows: pa.Table
    extra: tuple[str, ...]


def address(dataset: Dataset, batch: str = "") -> str:
    """The URI of a batch file, or of the whole file where there is no `{batch}` in it."""
    uri = str(dataset.source.uri).replace(BATCH, batch)
    return uri.replace("data://", f"{BUNDLED}/", 1) if uri.startswith("data://") else uri


def batch_files(dataset: Dataset) -> list[str]:
    """The batch ids for which a file is there, sorted."""
    before, _, after = address(dataset, BATCH).partition(BATCH)
    with _reachable(dataset):
        fs, pattern = fsspec.core.url_to_fs(f"{before}*{after}")
        paths = fs.glob(pattern)
    head, _, tail = pattern.partition("*")
    return sorted(path.removeprefix(head).removesuffix(tail) for path in map(str, paths))


def file_chunks(dataset: Dataset, batch: str = "") -> Iterator[Chunk]:
    """The rows of a file, chunk by chunk.

    Raises:
        SourceError: when it is away, empty or not readable in the declared format.
        SchemaError: when a declared column is missing or given twice.
    """
    readers = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
    uri = address(dataset, batch)
    with _reachable(dataset, batch), fsspec.open(uri, "rb", compression="infer") as file:
        yield from readers[dataset.source.format](file, dataset)


@contextmanager
def _reachable(dataset: Dataset, batch: str = "") -> Iterator[None]:
    """Turns what file systems and parsers raise into one error without rows, user names or passwords in it."""
    shown = re.sub(r"//[^/@]*@", "//", address(dataset, batch))
    do = "nothing was taken in; run again when the source is mended"
    try:
        yield
    except pa.ArrowInvalid as error:
        raise SourceError(f"source {shown}", expected=dataset.source.format, got=_harmless(error), do=do) from None
    except (OSError, ValueError, ImportError, EOFError) as error:
        got = f"{type(error).__name__} ({getattr(error, 'strerror', None) or 'not readable'})"
        raise SourceError(f"source {shown}", expected="a file that can be read", got=got, do=do) from None


def _harmless(error: pa.ArrowInvalid) -> str:
    """What Arrow says, up to where it begins to quote the source."""
    return re.split(r"[:;]\s*(?=[^:;]*,[^:;]*,)", str(error).splitlines()[0])[0][:200]


def checked_names(names: Sequence[str], dataset: Dataset) -> tuple[str, ...]:
    """The names that are not let in.

    Raises:
        SchemaError: for a column that is missing (with a guess what it is called now) or given twice.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in dataset.columns if name not in names]
    extra = tuple(name for name in names if name not in dataset.columns)
    if not twice and not missing:
        return extra
    plain = {_plain(name): name for name in extra}
    guesses = {name: difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.6) for name in missing}
    renamed = [f"{name} (renamed to {plain[found[0]]!r}?)" if found else name for name, found in guesses.items()]
    problems = [f"missing: {', '.join(renamed)}"] if missing else []
    problems += [f"given twice: {', '.join(twice)}"] if twice else []
    raise SchemaError(
        f"columns of dataset {dataset.name!r}",
        expected=f"{len(dataset.columns)} columns: {', '.join(dataset.columns)}",
        got="; ".join(problems),
        do="mend the source, or say in configs/datasets what the columns are now",
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _csv(file: BinaryIO, dataset: Dataset) -> Iterator[Chunk]:
    header = file.readline(BLOCK_BYTES).decode("utf-8-sig")
    if not header.strip():
        raise _empty(dataset)
    extra = checked_names(next(csv.reader([header])), dataset)
    file.seek(0)
    wrong: list[pa.csv.InvalidRow] = []

    def remember(row: pa.csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    try:
        reader = pa.csv.open_csv(
            file,
            read_options=pa.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=remember),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(dataset.columns, pa.string()),
                include_columns=list(dataset.columns),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        for batch in reader:
            yield from _slices(pa.table(batch), dataset, extra)
    except pa.ArrowInvalid:
        if not wrong:
            raise
        raise SourceError(
            f"source of dataset {dataset.name!r}, line {wrong[0].number}",
            expected=f"{wrong[0].expected_columns} fields",
            got=wrong[0].actual_columns,
            do="a separator in a field without quotes is the usual cause; nothing was taken in",
        ) from None


def _slices(rows: pa.Table, dataset: Dataset, extra: tuple[str, ...]) -> Iterator[Chunk]:
    for start in range(0, rows.num_rows, dataset.source.batch_rows):
        yield Chunk(rows.slice(start, dataset.source.batch_rows), extra)


def _parquet(file: BinaryIO, dataset: Dataset) -> Iterator[Chunk]:
    parquet = pq.ParquetFile(file)
    extra = checked_names(parquet.schema_arrow.names, dataset)
    for batch in parquet.iter_batches(batch_size=dataset.source.batch_rows, columns=list(dataset.columns)):
        yield Chunk(pa.table(batch), extra)


def _jsonl(file: BinaryIO, dataset: Dataset) -> Iterator[Chunk]:
    """One JSON object a line. A key may be absent from some lines (null there), not from all."""
    line_type = msgspec.defstruct("Line", [(name, Scalar, None) for name in dataset.columns])
    decoder = msgspec.json.Decoder(line_type)
    seen: set[str] = set()
    extra: tuple[str, ...] = ()
    held: list[Any] = []
    number = 0
    while line := file.readline(BLOCK_BYTES):
        number += 1
        if not line.strip():
            continue
        held.append(_line(decoder, line, number, dataset))
        if not seen.issuperset(dataset.columns):
            seen |= set(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
            extra = tuple(sorted(seen - set(dataset.columns)))
        if len(held) >= dataset.source.batch_rows:
            yield _held(held, dataset, extra)
            held = []
    if not seen:
        raise _empty(dataset)
    checked_names(sorted(seen), dataset)
    if held:
        yield _held(held, dataset, extra)


def _line(decoder: msgspec.json.Decoder[Any], line: bytes, number: int, dataset: Dataset) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceError(
            f"source of dataset {dataset.name!r}, line {number}",
            expected=f"a JSON object of at most {BLOCK_BYTES:,} bytes with plain values",
            got=str(error),
            do="a line cut short is the usual cause; nothing was taken in",
        ) from None


def _held(held: list[Any], dataset: Dataset, extra: tuple[str, ...]) -> Chunk:
    columns = {name: as_text(getattr(line, name) for line in held) for name in dataset.columns}
    return Chunk(pa.table(columns), extra)


def as_text(values: Iterable[Any]) -> pa.Array:
    return pa.array([text(value) for value in values], pa.string())


def text(value: Any) -> str | None:
    """A value of a loosely typed source as text, which `tasks.minimise` then reads strictly."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def _empty(dataset: Dataset) -> SourceError:
    return SourceError(
        f"source of dataset {dataset.name!r}",
        expected="a header or at least one line",
        got="an empty file",
        do="nothing was taken in; run again when the source has written it",
    )
