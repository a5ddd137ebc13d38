"""Evidently's own report of a window against the training reference, from a stated sample; it decides nothing.

The only importer of Evidently. Reads two frames, writes one self-contained page beside ours. Its bins and tests are its
own: what is decided is on our page (see docs/monitor.md). Called by the monitor flow after the findings are written.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pandas as pd

log = logging.getLogger("grownet.monitor")
LEAST = 20  # values of a column on either side, below which nothing is drawn


def write(reference: pd.DataFrame, current: pd.DataFrame, page: Path) -> tuple[str, ...]:
    """Renders the columns it can make figures of, and returns the others, each with the reason. Takes 10 to 20 seconds."""
    left_out = {name: why for name in reference.columns if (why := _unfit(reference, current, name))}
    names = [name for name in reference.columns if name not in left_out]
    if names:
        _render(reference[names], current[names], page)
    log.info(
        "%s: %d rows against %d, without %s", page.name, len(current), len(reference), sorted(left_out) or "nothing"
    )
    return tuple(f"{name}: {why}" for name, why in left_out.items())


def _render(reference: pd.DataFrame, current: pd.DataFrame, page: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own libraries, over divisions that it then leaves out
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset, DataSummaryPreset

        numbers = [name for name in reference.columns if reference[name].dtype.kind in "iuf"]
        said = DataDefinition(
            numerical_columns=numbers, categorical_columns=[name for name in reference.columns if name not in numbers]
        )
        sides = [Dataset.from_pandas(_plain(frame), data_definition=said) for frame in (current, reference)]
        made = Report([DataDriftPreset(), DataSummaryPreset()]).run(*sides)
        temporary = page.with_name(f".{page.name}")
        made.save_html(str(temporary))
    temporary.replace(page)


def _unfit(reference: pd.DataFrame, current: pd.DataFrame, name: str) -> str:
    """Why no figure of a column can be made, or empty."""
    if name not in current.columns:
        return "not seen in the window"
    for side, frame in (("reference", reference), ("window", current)):
        present = frame[name].dropna()
        if len(present) < LEAST:
            return f"{len(present)} values in the {side}"
    return "" if pd.concat([reference[name], current[name]]).nunique() > 1 else "one value only"


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Names and flags as text: it takes a flag for a number."""
    flags = {name: "object" for name in frame.columns if frame[name].dtype.kind not in "iuf"}
    return frame.astype(flags).map(lambda value: str(value) if isinstance(value, bool) else value)
