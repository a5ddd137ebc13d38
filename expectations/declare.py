"""What an expectation is: a typed declaration that carries its reason.

A table's file (`orders.py`) lists them as data; `suites.py` finds them and turns them into the form Great
Expectations reads. Nothing here imports Great Expectations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from records import Record

Level = Literal["row", "table"]
Severity = Literal["critical", "warning", "info"]


class Expectation(Record, frozen=True, kw_only=True):
    """One thing that must hold, and why.

    What happens when it does not hold follows from level and severity:

    ========  =====================  ==========================================
    level     critical               warning, info
    ========  =====================  ==========================================
    row       the rows go to         the rows are kept and counted on the page,
              quarantine             for the model's own cleaning step
    table     the batch is refused   it is shown on the page
    ========  =====================  ==========================================
    """

    name: str  # what a quarantined row and the page say: "price_not_negative"
    level: Level
    severity: Severity
    type: str  # of Great Expectations: "expect_column_values_to_be_between"
    kwargs: dict[str, Any]  # a value {"$PARAMETER": "now"} is filled in when a batch is judged
    reason: str
    where: tuple[tuple[str, str, float], ...] = ()  # only rows where every (column, operator, number) holds

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it looks at; empty for one about the table as such."""
        single = self.kwargs.get("column")
        return (str(single),) if single else tuple(self.kwargs.get("column_list", ()))

    @property
    def quarantines(self) -> bool:
        return self.level == "row" and self.severity == "critical"

    @property
    def refuses(self) -> bool:
        return self.level == "table" and self.severity == "critical"


PSEUDONYM = r"^p\d+_[0-9a-f]{32}$"  # as the vault writes them


def complete(
    columns: Sequence[str],
    reason: str = "A column that nothing here judges must not enter the table unnoticed when the allow-list grows.",
) -> Expectation:
    """These columns and no other; every suite has it."""
    return Expectation(
        name="columns_complete",
        level="table",
        severity="critical",
        type="expect_table_columns_to_match_set",
        kwargs={"column_set": list(columns), "exact_match": True},
        reason=reason,
    )


def masked(column: str) -> Expectation:
    """Nothing but pseudonyms in a column of subjects."""
    return Expectation(
        name="subjects_masked",
        level="table",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": column, "regex": PSEUDONYM},
        reason="Anything but a pseudonym in this column is a person's number that escaped the masking: store nothing.",
    )


class Suite(Record, frozen=True, kw_only=True):
    """All that is expected of a table. Its digest says which expectations judged a batch."""

    name: str
    expectations: tuple[Expectation, ...]
    max_quarantined_share: float  # a batch that would lose more of its rows than this is refused whole
    max_quarantined_reason: str
