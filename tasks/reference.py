"""The training reference: what requests, answers and outcomes of the past looked like, kept inside the artifact.

Made by `tasks.train` from the model's own `past` and `observe`; read by the monitor flow. Inputs: every block of the
last `reference_days`, seen with a snapshot up to `holdout_days` old, as a served one is. Answers and outcomes: only the
holdout, which the model did not learn from. Depends on data, configuration and code only: equal input, equal bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from checks.profiles import References, joined, reference
from checks.shifts import MIN_BLOCKS
from configs.schema import ModelConfig
from errors import DataError, TamperError
from models.contract import Decided, Feature, Past
from tasks.trial import Split, Trial

REQUESTS_MOST = 500  # of a block; more would only take time
OUTCOME = "outcome"
SAID = (
    Feature(name="score", dtype="float64", meaning="the first score, or the value, of the answer"),
    Feature(name="decision", dtype="string", meaning="the first item of the answer"),
    Feature(name="overruled", dtype="bool", meaning="a policy rule changed the proposal"),
    Feature(name=OUTCOME, dtype="float64", meaning="the KPI of the answer, once its outcome is known"),
)
RECORD, SAMPLE = "references.json", "sample.parquet"


@dataclass(frozen=True)
class Block:
    """One stretch of history as the monitors would have seen it."""

    inputs: pd.DataFrame
    said: pd.DataFrame | None  # of the holdout only: the columns of SAID


def training_reference(trial: Trial, fitted: Any, config: ModelConfig, moments: Split, policy: Any) -> dict[str, bytes]:
    """The files of a bundle's reference; none when the history is too short for a single request.

    Raises:
        DataError: when the model's `past` has nothing to ask in the whole of it.
    """
    blocks = _blocks(trial, fitted, config, moments, policy)
    if not blocks:
        days = config.monitor.reference_days
        raise DataError(
            f"reference of {config.name}",
            expected=f"a past request in {days} days",
            got="none",
            do="take more history in",
        )
    made = reference([block.inputs for block in blocks], trial.model.WATCHED, config.monitor.bins)
    held = [block.said for block in blocks if block.said is not None]
    for frames, features in ((held, SAID[:-1]), (_known(held), SAID[-1:])):
        present = [feature for feature in features if any(frame[feature.name].notna().any() for frame in frames)]
        if present:
            made = joined(made, reference(frames, present, config.monitor.bins, inputs=False))
    return {RECORD: made.to_json(), SAMPLE: _parquet(sample(_whole(blocks), config))}


def _known(held: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The rows whose outcome is known, by block; none when too few blocks have any to say how blocks differ.

    An outcome that was not due is not a missing one: a window has known outcomes only.
    """
    blocks = [known for frame in held if len(known := frame.dropna(subset=[OUTCOME]))]
    return blocks if len(blocks) >= MIN_BLOCKS else []


def opened(files: Mapping[str, bytes]) -> tuple[References, pd.DataFrame]:
    """What `training_reference` made: the reference, and a sample of its rows.

    Raises:
        TamperError: for files that are missing or cannot be read.
    """
    try:
        return References.from_json(files[RECORD]), pq.read_table(io.BytesIO(files[SAMPLE])).to_pandas()
    except (KeyError, msgspec.DecodeError, pa.ArrowInvalid, OSError) as error:
        raise TamperError("reference of a bundle", expected=f"{RECORD} and {SAMPLE}", got=repr(error)) from error


def said(decided: Sequence[Decided]) -> pd.DataFrame:
    """The columns of SAID but the outcome: one row an answer, missing where the model gives no such thing."""
    scores = [one.scores[0] if one.scores else one.value for one in decided]
    return pd.DataFrame(
        {
            "score": pd.Series(scores, dtype="float64"),
            "decision": pd.Series([one.items[0] if one.items else None for one in decided], dtype="str"),
            "overruled": pd.Series([bool(one.overruled) for one in decided], dtype="bool"),
        }
    )


def sample(frame: pd.DataFrame, config: ModelConfig) -> pd.DataFrame:
    """At most `report_rows` rows, drawn by the model's seed, in the order they came."""
    most = config.monitor.report_rows
    if len(frame) <= most:
        return frame.reset_index(drop=True)
    chosen = np.random.default_rng(config.seed).choice(len(frame), size=most, replace=False)
    return frame.iloc[np.sort(chosen)].reset_index(drop=True)


def _blocks(trial: Trial, fitted: Any, config: ModelConfig, moments: Split, policy: Any) -> list[Block]:
    """The blocks, oldest first, each ending where the next begins; what lies before the history is left out."""
    length = timedelta(days=config.monitor.block_days)
    count = max(1, config.monitor.reference_days // config.monitor.block_days)
    first = moments.now - length * count
    # asked once for all blocks; what came of a late request may be known after its block
    past = trial.model.past(trial.known(moments.now), first, moments.now, trial.params)
    draw = np.random.default_rng(config.seed)
    blocks = []
    for start in (first + length * number for number in range(count)):
        snapshot = _snapshot(start, moments.cut, timedelta(days=config.split.holdout_days), length)
        asked = [one for one in past if start <= one.time < start + length]
        try:
            index = trial.index(snapshot) if asked else None
        except DataError:  # the history begins later
            continue
        if index is None:
            continue
        if len(asked) > REQUESTS_MOST:
            asked = [asked[at] for at in np.sort(draw.choice(len(asked), size=REQUESTS_MOST, replace=False))]
        inputs = trial.model.observe(index, [one.request for one in asked])
        answers = _answered(trial, fitted, index, asked, policy) if start >= moments.cut else None
        blocks.append(Block(inputs=inputs, said=answers))
    return blocks


def _snapshot(start: datetime, cut: datetime, held: timedelta, length: timedelta) -> datetime:
    """When the snapshot that a block is seen with was made.

    In the holdout, a quarter of it apart, because answers differ from snapshot to snapshot too; before it one serves
    as long as the holdout is, which is how old a served one gets, and costs less.
    """
    if start < cut:
        return cut - held * ceil((cut - start) / held)
    every = max(length, held / 4)
    return cut + every * ((start - cut) // every)


def _answered(trial: Trial, fitted: Any, index: Any, asked: Sequence[Past], policy: Any) -> pd.DataFrame:
    model, requests = trial.model, [one.request for one in asked]
    decided = model.decide(model.predict(fitted, index, requests), requests, index, policy)
    newest = max(frame[trial.times[name]].max() for name, frame in trial.tables.items())
    kpis = [
        model.kpi(one, past.outcome) if past.due <= newest else None  # not known yet
        for one, past in zip(decided, asked, strict=True)
    ]
    return said(decided).assign(**{OUTCOME: pd.Series(kpis, dtype="float64")})


def _whole(blocks: Sequence[Block]) -> pd.DataFrame:
    """All rows with all columns; what was said is missing outside the holdout."""
    parts = [block.inputs if block.said is None else block.inputs.join(block.said) for block in blocks]
    return pd.concat(parts, ignore_index=True)


def _parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, compression="zstd")
    return sink.getvalue()
