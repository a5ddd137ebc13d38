"""What the table of badges (stats.stackexchange.com) must look like; each expectation with its reason.

Read by `expectations.suites`, judged once a batch by `tasks.expect`. Figures in reasons are from the bundled files.
"""

from __future__ import annotations

from expectations.declare import Expectation, Suite, complete, masked

COLUMNS = ("id", "user_id", "date")
NOW = {"$PARAMETER": "now"}

SUITE = Suite(
    name="badges",
    expectations=(
        Expectation(
            name="rows_present",
            level="table",
            severity="critical",
            type="expect_table_row_count_to_be_between",
            kwargs={"min_value": 1, "max_value": 200_000},
            reason="The whole dump has 46,101 badges, a month 492 to 2,300; none is a source that failed, 200,000 a wrong cut.",
        ),
        complete(COLUMNS),
        masked("user_id"),
        Expectation(
            name="badges_not_doubled",
            level="table",
            severity="critical",
            type="expect_column_values_to_be_unique",
            kwargs={"column": "id", "mostly": 0.99},
            reason="A badge is given once; a file written or joined twice would double what everybody was honoured for.",
        ),
        Expectation(
            name="badge_given",
            level="row",
            severity="critical",
            type="expect_column_values_to_not_be_null",
            kwargs={"column": "id"},
            reason="A badge without a number cannot be told from its copy.",
        ),
        Expectation(
            name="user_given",
            level="row",
            severity="critical",
            type="expect_column_values_to_not_be_null",
            kwargs={"column": "user_id"},
            reason="A badge that nobody earned honours nobody; none seen.",
        ),
        Expectation(
            name="date_given",
            level="row",
            severity="critical",
            type="expect_column_values_to_not_be_null",
            kwargs={"column": "date"},
            reason="Without its day a badge cannot be put before or after anything: features follow time.",
        ),
        Expectation(
            name="date_range",
            level="row",
            severity="critical",
            type="expect_column_values_to_be_between",
            kwargs={"column": "date", "min_value": "2008-07-31T00:00:00+00:00", "max_value": NOW},
            reason="The first site of the network opened on 2008-07-31; a badge of tomorrow would leak into every split.",
        ),
    ),
    max_quarantined_share=0.01,
    max_quarantined_reason="No badge is quarantined in the bundled files; one in a hundred means that the export broke.",
)
