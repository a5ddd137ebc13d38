"""What the table of accounts (stats.stackexchange.com) must look like; each expectation with its reason.

Read by `expectations.suites`, judged once a batch by `tasks.expect`. Figures in reasons are from the bundled files.
"""

from __future__ import annotations

from expectations.declare import Expectation, Suite, complete, masked

NOW = {"$PARAMETER": "now"}

SUITE = Suite(
    name="users",
    expectations=(
        Expectation(
            name="rows_present",
            level="table",
            severity="critical",
            type="expect_table_row_count_to_be_between",
            kwargs={"min_value": 1, "max_value": 100_000},
            reason="The whole dump has 21,593 accounts, a month 159 to 1,095; none is a source that failed, 100,000 a wrong cut.",
        ),
        complete(
            ["id", "creation_date"],
            "Everything else the source knows of an account is a total as of its dump, and must not come in unseen.",
        ),
        masked("id"),
        Expectation(
            name="accounts_not_doubled",
            level="table",
            severity="critical",
            type="expect_column_values_to_be_unique",
            kwargs={"column": "id", "mostly": 0.99},
            reason="An account is made once; a file written or joined twice would double every newcomer.",
        ),
        Expectation(
            name="account_given",
            level="row",
            severity="critical",
            type="expect_column_values_to_not_be_null",
            kwargs={"column": "id"},
            reason="An account that is nobody's says nothing about anybody.",
        ),
        Expectation(
            name="date_given",
            level="row",
            severity="critical",
            type="expect_column_values_to_not_be_null",
            kwargs={"column": "creation_date"},
            reason="Without its day an account has no age, and cannot be put before or after anything.",
        ),
        Expectation(
            name="date_range",
            level="row",
            severity="critical",
            type="expect_column_values_to_be_between",
            kwargs={"column": "creation_date", "min_value": "2008-07-31T00:00:00+00:00", "max_value": NOW},
            reason="The first site of the network opened on 2008-07-31; a later day than today is a clock that is wrong.",
        ),
    ),
    max_quarantined_share=0.01,
    max_quarantined_reason="No account is quarantined in the bundled files; one in a hundred means that the export broke.",
)
