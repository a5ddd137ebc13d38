"""Judges a batch at the door with Great Expectations: which rows go to quarantine and whether the batch is refused.

The only importer of Great Expectations (5 s to import, so inside the function that needs it). Reads typed, masked
rows and a suite of `expectations/`; writes nothing. Called by `tasks.ingest`, once a batch.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from expectations.declare import Expectation, Level, Severity, Suite
from expectations.suites import configurations
from records import Record

SHARE = "quarantine_share"
UNJUDGED = "could not be evaluated"


class Check(Record, frozen=True, kw_only=True):
    """How one expectation came out."""

    name: str
    level: Level
    severity: Severity
    columns: tuple[str, ...]
    reason: str
    holds: bool
    failing: int = 0  # rows, where it looks at rows
    observed: str  # "3 of 35,284 rows do not (0.01%)", "2.08"

    @property
    def refuses(self) -> bool:
        """A critical one that does not hold for the table; also one that could not be evaluated at all."""
        broken = not self.holds and (self.level == "table" or self.observed == UNJUDGED)
        return broken and self.severity == "critical"


class Judgement(NamedTuple):
    """`reasons` has one entry a row: why it goes to quarantine, "" where it stays. `refused` is empty for a batch let in."""

    checks: tuple[Check, ...]
    reasons: np.ndarray
    refused: tuple[str, ...]


def judge(rows: pa.Table, faults: np.ndarray, suite: Suite, now: datetime) -> Judgement:
    """Judges a batch.

    Args:
        rows: typed and masked, nulls where a cell was missing or unreadable.
        faults: what could not be read in each row, "" where all could; shape (rows,).
        suite: what is expected.
        now: fills the parameter "now" of an expectation.
    """
    results = _validated(rows, suite, now)
    reasons = faults.astype(object)
    checks = []
    for expectation in suite.expectations:
        result = results[expectation.name]
        checks.append(_check(expectation, result, rows.num_rows))
        if expectation.quarantines:
            places = np.asarray(result.result.get("unexpected_index_list") or [], dtype=np.int64)
            reasons[places] = [f"{was}; {expectation.name}" if was else expectation.name for was in reasons[places]]
    checks.append(_share_check(suite, int((reasons != "").sum()), rows.num_rows))
    refused = tuple(f"{check.name}: {check.observed}. {check.reason.rstrip('.')}" for check in checks if check.refuses)
    return Judgement(tuple(checks), reasons, refused)


def _validated(rows: pa.Table, suite: Suite, now: datetime) -> dict[str, Any]:
    """One validation of the whole suite; its results by the name of the expectation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports `sre_constants`
        import great_expectations as gx
        from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    quiet = DataContextConfig(
        analytics_enabled=False,
        progress_bars={"globally": False, "metric_calculations": False},
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=quiet)
    asset = context.data_sources.add_pandas("door").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("batch").get_batch({"dataframe": rows.to_pandas()})
    expected = gx.ExpectationSuite(name=suite.name, expectations=configurations(suite))
    outcome = batch.validate(
        expected, result_format={"result_format": "COMPLETE"}, expectation_parameters={"now": now.isoformat()}
    )
    return {result.expectation_config.meta["name"]: result for result in outcome.results}


def _check(expectation: Expectation, result: Any, rows: int) -> Check:
    facts = result.result
    failing = int(facts.get("unexpected_count") or 0)
    if not facts:
        observed = UNJUDGED
    elif "unexpected_count" in facts:
        observed = f"{failing:,} of {rows:,} rows do not ({failing / max(rows, 1):.2%})"
    else:
        observed = _shown(facts.get("observed_value"))
    return Check(
        name=expectation.name,
        level=expectation.level,
        severity=expectation.severity,
        columns=expectation.columns,
        reason=expectation.reason,
        holds=bool(result.success),
        failing=failing,
        observed=observed,
    )


def _share_check(suite: Suite, quarantined: int, rows: int) -> Check:
    return Check(
        name=SHARE,
        level="table",
        severity="critical",
        columns=(),
        reason=suite.max_quarantined_reason,
        holds=quarantined <= suite.max_quarantined_share * rows,
        failing=quarantined,
        observed=f"{quarantined:,} of {rows:,} rows ({quarantined / max(rows, 1):.2%}), "
        f"allowed {suite.max_quarantined_share:.2%}",
    )


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple, set)):
        return ", ".join(str(part) for part in value)[:200]
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)[:200]
