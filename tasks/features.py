"""Builds the features a model serves with: every subject of its tables, as of the newest row.

Reads the lake (the versions of the snapshots) and the model's `build`; writes an encrypted Parquet to the artifact
store and feature_vN to the ledger. Started by the lifecycle flow after ingestion. Running it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from configs.load import recipe_of
from configs.schema import Config, Settings
from errors import DataError, SchemaError
from models.contract import Feature, configure, feature_digest, find
from records import FeatureSet, Snapshot
from stores.artifacts import Artifacts
from stores.lake import Lake
from stores.ledger.versions import version_for
from stores.vault import Vault
from tasks.ingest import newest_snapshot
from tasks.operate import opened
from tasks.threads import limited
from tasks.trial import INSTANT, Trial

KINDS = {"string": "SOU", "int64": "i", "float64": "f", "timestamp": "M", "bool": "b", "list": "O"}


def build_features(settings: Settings, config: Config, model: str) -> FeatureSet:
    """Builds, checks and stores the features of `model` from the newest snapshot of each of its tables.

    Raises:
        NotFound: for a model or a table that is not there.
        SchemaError: when `build` gave something else than the model's FEATURES promise.
    """
    recipe = recipe_of(config, model)
    tables = sorted({config.datasets[dataset].table for dataset in recipe.tables.values()})
    snapshots = tuple(newest_snapshot(settings, table) for table in tables)
    as_of = newest(snapshots) + INSTANT
    trial = history(settings, config, model, snapshots)
    with limited(settings.threads):
        frame = trial.features(as_of)
    check_features(model, frame, trial.model.FEATURES)
    stored = artifacts_of(settings).put_frame(frame)
    with opened(settings, "flow") as ledger:
        version = version_for(ledger, "feature", model, feature_digest(trial.model))
    return FeatureSet(
        model=model,
        version=version,
        as_of=as_of,
        uri=stored.uri,
        content=stored.content,
        rows=len(frame),
        snapshots=snapshots,
    )


def history(settings: Settings, config: Config, model: str, snapshots: Sequence[Snapshot]) -> Trial:
    """The model on its tables exactly as they were in these snapshots, later versions of the lake notwithstanding."""
    recipe, module = recipe_of(config, model), find(model)
    lake, known = Lake(settings.lake_uri), {snapshot.table: snapshot for snapshot in snapshots}
    tables, times = {}, {}
    for alias, dataset in recipe.tables.items():
        declared = config.datasets[dataset]
        tables[alias] = lake.read(declared.table, version=known[declared.table].delta_version)
        times[alias] = declared.event_time
    params, _ = configure(module, recipe)
    return Trial(model=module, tables=tables, times=times, params=params, seed=recipe.seed)


def newest(snapshots: Sequence[Snapshot]) -> datetime:
    """The largest event time of all.

    Raises:
        DataError: when no table has a row.
    """
    times = [snapshot.newest for snapshot in snapshots if snapshot.newest is not None]
    if not times:
        raise DataError("snapshots", expected="rows with an event time", got="none", do="take a batch in first")
    return max(times)


def artifacts_of(settings: Settings) -> Artifacts:
    """The artifact store, opened with the keys of training."""
    vault = Vault.open(settings.home, "train", settings.kms_key_uri)
    return Artifacts(settings.artifacts_uri, vault.encrypt, vault.decrypt)


def check_features(model: str, frame: pd.DataFrame, promised: Sequence[Feature]) -> None:
    """The door out of this stage: columns, types and ranges as FEATURES say.

    Raises:
        SchemaError: naming the first column that breaks its promise, and by how many rows.
    """
    names = [feature.name for feature in promised]
    if list(frame.columns) != names:
        raise SchemaError(f"features of {model}", expected=f"columns {names}", got=list(frame.columns))
    if frame.empty:
        raise SchemaError(
            f"features of {model}", expected="at least one row", got="none", do="look at the source table"
        )
    for feature in promised:
        column, thing = frame[feature.name], f"feature {feature.name} of {model}"
        if column.dtype.kind not in KINDS[feature.dtype]:
            raise SchemaError(thing, expected=feature.dtype, got=column.dtype)
        outside = _outside(column, feature)
        if outside.any():
            raise SchemaError(
                thing,
                expected=f"values from {feature.low} to {feature.high} {feature.unit}".strip(),
                got=f"{int(outside.sum())} of {len(column)} rows outside, such as {column[outside].iloc[0]}",
                do="mend `build`, the source, or the range in FEATURES",
            )


def _outside(column: pd.Series, feature: Feature) -> pd.Series:
    """Rows out of range; a missing value is not, what it means is the model's to say."""
    outside = pd.Series(False, index=column.index)
    if feature.low is not None:
        outside |= column < feature.low
    if feature.high is not None:
        outside |= column > feature.high
    return outside
