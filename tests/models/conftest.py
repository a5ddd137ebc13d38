"""A small, real history for each model found on disk, read from the bundled data of the datasets it declares."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

import pandas as pd
import pytest

from benchmarks import rows
from configs.load import load
from configs.schema import Dataset, ModelConfig
from models.contract import Model, Past, configure, find, names

ROWS = 12_000  # of each table, about: whole histories of some subjects


@dataclass(frozen=True)
class Case:
    """A model with its configuration and a part of its tables; `as_of` leaves a fifth of the rows after it."""

    name: str
    model: Model
    config: ModelConfig
    params: Any
    policy: Any
    tables: Mapping[str, pd.DataFrame]
    times: Mapping[str, str]  # table -> column of event time
    as_of: datetime

    @functools.cached_property
    def features(self) -> pd.DataFrame:
        return self.model.build(self.tables, self.as_of, self.params)

    @functools.cached_property
    def fitted(self) -> Any:
        return self.model.fit(self.tables, self.as_of, self.params, self.config.seed)

    @functools.cached_property
    def past(self) -> list[Past]:
        """Of four weeks."""
        return self.model.past(self.tables, self.as_of - timedelta(days=28), self.as_of, self.params)


@functools.cache
def sample(name: str) -> pd.DataFrame:
    """Some subjects of a dataset with all their rows, typed as the lake gives them."""
    return thinned(rows(name), load().datasets[name])


def thinned(frame: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Every n-th subject; a row without one stands for itself."""
    step = max(1, len(frame) // ROWS)
    subjects = [column for column, declared in dataset.columns.items() if declared.subject]
    keys = frame[subjects[0]].where(frame[subjects[0]].notna(), None) if subjects else pd.Series(None, frame.index)
    kept = [crc32(str(key or f"row {at}").encode()) % step == 0 for at, key in zip(frame.index, keys, strict=True)]
    return frame[kept].reset_index(drop=True)


@functools.cache
def case_of(name: str) -> Case:
    config = load()
    chosen, model = config.models[name], find(name)
    params, policy = configure(model, chosen)
    tables = {alias: sample(dataset) for alias, dataset in chosen.tables.items()}
    times = {alias: config.datasets[dataset].event_time for alias, dataset in chosen.tables.items()}
    as_of = min(tables[alias][time].quantile(0.8) for alias, time in times.items()).to_pydatetime()
    return Case(name, model, chosen, params, policy, tables, times, as_of)


@pytest.fixture(params=names())
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)
