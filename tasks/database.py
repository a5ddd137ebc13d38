"""Reads the one SQL source a dataset may have, through SQLAlchemy, in chunks; writes nothing. Called by `tasks.cut`.

The address stands in the environment variable that the dataset names, and no error shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pyarrow as pa
import sqlalchemy as sa

from configs.load import source_url
from configs.schema import Dataset
from errors import SourceError
from tasks.sources import Chunk, as_text, checked_names


def sql_chunks(dataset: Dataset, start: datetime, end: datetime) -> Iterator[Chunk]:
    """The rows the query gives for [start, end), chunk by chunk. The bounds are wall-clock times of the source's zone."""
    with _connected(dataset) as connection:
        streamed = connection.execution_options(stream_results=True, yield_per=dataset.source.batch_rows)
        result = streamed.execute(_query(str(dataset.source.query)), {"start": start, "end": end})
        extra = checked_names(list(result.keys()), dataset)
        for partition in result.mappings().partitions(dataset.source.batch_rows):
            columns = {name: as_text(row[name] for row in partition) for name in dataset.columns}
            yield Chunk(pa.table(columns), extra)


def sql_times(dataset: Dataset, start: datetime, end: datetime) -> Iterator[pa.ChunkedArray]:
    """The event times of the rows the query gives for [start, end), as text, chunk by chunk."""
    inner = _query(str(dataset.source.query)).columns(sa.column(dataset.event_time)).subquery("source")
    with _connected(dataset) as connection:
        streamed = connection.execution_options(stream_results=True, yield_per=dataset.source.batch_rows)
        result = streamed.execute(sa.select(inner.c[dataset.event_time]), {"start": start, "end": end})
        for partition in result.scalars().partitions(dataset.source.batch_rows):
            yield pa.chunked_array([as_text(partition)])


def _query(query: str) -> sa.TextClause:
    return sa.text(query).bindparams(sa.bindparam("start", type_=sa.DateTime), sa.bindparam("end", type_=sa.DateTime))


@contextmanager
def _connected(dataset: Dataset) -> Iterator[sa.Connection]:
    url = source_url(str(dataset.source.url_variable))
    label = f"source of dataset {dataset.name!r}"
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            yield connection
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        said = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        raise SourceError(
            label,
            expected=f"a database at ${dataset.source.url_variable} that answers the query",
            got=said,
            do="check the address, the driver and the query; nothing was taken in, run again when it is back",
        ) from None
