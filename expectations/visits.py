"""What visits must look like: the table `visits`, filled from the Anonymous Microsoft Web Data.

Figures called "seen" were counted in the bundled file (113,845 visits, seven days); limits leave room around them.
Judged at the door by `tasks.expect`, after subjects became pseudonyms. Reviewed by the owner of the data stage.
"""

from __future__ import annotations

from expectations.declare import Expectation, Suite, complete, masked

COLUMNS = ("visitor", "page", "title", "seen_at")

REFUSE_THE_BATCH = (
    Expectation(
        name="rows_present",
        level="table",
        severity="critical",
        type="expect_table_row_count_to_be_between",
        kwargs={"min_value": 1, "max_value": 5_000_000},
        reason="A day without a visit is a log that was not shipped; a day seen has 15,191 to 16,697 rows, so millions "
        "are raw hits instead of visits.",
    ),
    complete(COLUMNS),
    masked("visitor"),
    Expectation(
        name="visits_not_doubled",
        level="table",
        severity="critical",
        type="expect_compound_columns_to_be_unique",
        kwargs={"column_list": ["visitor", "page"], "mostly": 0.8, "ignore_row_if": "never"},
        reason="The source has each area of a visitor once; a fifth twice means a file was written or joined twice.",
    ),
)

TO_QUARANTINE = (
    Expectation(
        name="visitor_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "visitor"},
        reason="A visit of nobody belongs to no session, and models learn from what was visited together.",
    ),
    Expectation(
        name="page_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "page"},
        reason="A visit to no page says nothing.",
    ),
    Expectation(
        name="page_form",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "page", "regex": r"^/[^\s?#]{0,127}$"},
        reason="An address below the host begins with a slash; one with a query may carry what a visitor typed, and must "
        "not be stored or shown to others. The longest seen has 20 characters.",
    ),
    Expectation(
        name="title_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "title"},
        reason="Every area seen has a title; without one nobody can read a slate or a report.",
    ),
    Expectation(
        name="title_length",
        level="row",
        severity="critical",
        type="expect_column_value_lengths_to_be_between",
        kwargs={"column": "title", "min_value": 1, "max_value": 200},
        reason="The longest title seen has 45 characters; a huge one is a page's body and would travel into every report.",
    ),
    Expectation(
        name="time_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "seen_at"},
        reason="Without its time a visit cannot be put before or after anything: features and splits follow time.",
    ),
    Expectation(
        name="time_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={"column": "seen_at", "min_value": "1993-01-01T00:00:00+00:00", "max_value": {"$PARAMETER": "now"}},
        reason="A visit from the future leaks into every split; one before the web is an empty date of some system.",
    ),
)

KEPT_AND_COUNTED = (
    Expectation(
        name="visit_without_twin",
        level="row",
        severity="info",
        type="expect_compound_columns_to_be_unique",
        kwargs={"column_list": ["visitor", "page"], "ignore_row_if": "never"},
        reason="A visitor comes back to a page in a live log; none seen here. Models count a page once a visitor.",
    ),
    Expectation(
        name="address_without_slip",
        level="row",
        severity="info",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "page", "regex": r"[^.]$"},
        reason="'/msdownload.' and '/security.' are typing slips with three visits; kept, as they were visited, and not "
        "offered to others (policy `retired`).",
    ),
)

SUITE = Suite(
    name="visits",
    expectations=(*REFUSE_THE_BATCH, *TO_QUARANTINE, *KEPT_AND_COUNTED),
    max_quarantined_share=0.01,
    max_quarantined_reason="No visit of the bundled days is quarantined; one in a hundred means that the export is "
    "broken, not that visits are.",
)
