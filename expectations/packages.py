"""What packages of randomised tests must look like: the table `packages`, filled from the Upworthy Research Archive.

Figures called "seen" were counted in the bundled file (12,199 packages, 20 months); limits leave room around them.
Judged at the door by `tasks.expect`. Reviewed by the owner of the data stage.
"""

from __future__ import annotations

from expectations.declare import Expectation, Suite, complete

COLUMNS = ("test_id", "package", "tested_until", "headline", "image", "impressions", "clicks")

REFUSE_THE_BATCH = (
    Expectation(
        name="rows_present",
        level="table",
        severity="critical",
        type="expect_table_row_count_to_be_between",
        kwargs={"min_value": 1, "max_value": 100_000},
        reason="An empty batch is a source that failed; the busiest month seen has 1,169 packages, so a hundred thousand "
        "is a wrong cut.",
    ),
    complete(
        COLUMNS,
        "A column that nothing here judges must not enter the table unnoticed: results of a test were among them.",
    ),
    Expectation(
        name="packages_not_doubled",
        level="table",
        severity="critical",
        type="expect_column_values_to_be_unique",
        kwargs={"column": "package", "mostly": 0.9},
        reason="A package has one row; a tenth of them twice means a file was written or joined twice.",
    ),
    Expectation(
        name="images_named_enough",
        level="table",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "image", "mostly": 0.5},
        reason="At most 1.8 % of a month have no picture; with half of them missing an export lost the column.",
    ),
    Expectation(
        name="impressions_level",
        level="table",
        severity="critical",
        type="expect_column_median_to_be_between",
        kwargs={"column": "impressions", "min_value": 300, "max_value": 30_000},
        reason="The median package of a month was shown 1,020 to 4,972 times; clicks in its place have a median of 29 to 92.",
    ),
    Expectation(
        name="clicks_level",
        level="table",
        severity="critical",
        type="expect_column_median_to_be_between",
        kwargs={"column": "clicks", "min_value": 1, "max_value": 299},
        reason="The median package of a month had 29 to 92 clicks; impressions in their place, or none counted, move it out.",
    ),
)

TO_QUARANTINE = (
    Expectation(
        name="test_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "test_id"},
        reason="Click rates compare within a test only: without one a package says nothing.",
    ),
    Expectation(
        name="test_form",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "test_id", "regex": r"^[0-9a-f]{24}$"},
        reason="Tests are named by object ids of 24 hex digits; anything else is another column's text.",
    ),
    Expectation(
        name="package_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "package"},
        reason="An answer names packages: one without a name cannot be placed.",
    ),
    Expectation(
        name="package_form",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "package", "regex": r"^[0-9a-f]{12}$"},
        reason="A name must say nothing. The archive's own ids and row order told which package won.",
    ),
    Expectation(
        name="time_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "tested_until"},
        reason="Without its time a package cannot be put before or after anything: splits follow time.",
    ),
    Expectation(
        name="time_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={
            "column": "tested_until",
            "min_value": "2012-01-01T00:00:00+00:00",
            "max_value": {"$PARAMETER": "now"},
        },
        reason="Clicks from the future leak into every split; the site began in 2012.",
    ),
    Expectation(
        name="headline_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "headline"},
        reason="The headline is what the model reads.",
    ),
    Expectation(
        name="headline_length",
        level="row",
        severity="critical",
        type="expect_column_value_lengths_to_be_between",
        kwargs={"column": "headline", "min_value": 1, "max_value": 500},
        reason="16 to 108 characters seen; beyond 500, which a request may not have either, it is an article.",
    ),
    Expectation(
        name="image_form",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "image", "regex": r"^[0-9a-f]{12}$"},
        reason="Ids of pictures were given out after the tests, the winner's first. Only a name without order may enter.",
    ),
    Expectation(
        name="impressions_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "impressions"},
        reason="A rate needs to know how often the package was shown.",
    ),
    Expectation(
        name="impressions_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={"column": "impressions", "min_value": 1, "max_value": 10_000_000},
        reason="13 to 25,314 seen; a package shown to nobody was not tested.",
    ),
    Expectation(
        name="clicks_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "clicks"},
        reason="A rate needs its clicks; none is 0, not a gap.",
    ),
    Expectation(
        name="clicks_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={"column": "clicks", "min_value": 0, "max_value": 1_000_000},
        reason="0 to 975 seen; a negative count is a broken export.",
    ),
)

KEPT_AND_COUNTED = (
    Expectation(
        name="package_once",
        level="row",
        severity="warning",
        type="expect_column_values_to_be_unique",
        kwargs={"column": "package"},
        reason="A package told twice would count twice in its test. None seen.",
    ),
    Expectation(
        name="picture_named",
        level="row",
        severity="info",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "image"},
        reason="22 packages have no picture's name: they are ranked by their headline like the others.",
    ),
    Expectation(
        name="shown_enough",
        level="row",
        severity="info",
        type="expect_column_values_to_be_between",
        kwargs={"column": "impressions", "min_value": 1000},
        reason="32 packages were shown less than a thousand times: their rate is mostly chance, and weighs little.",
    ),
    Expectation(
        name="clicked_at_all",
        level="row",
        severity="info",
        type="expect_column_values_to_be_between",
        kwargs={"column": "clicks", "min_value": 1},
        reason="6 packages have no click, all of them shown to few.",
    ),
)

SUITE = Suite(
    name="packages",
    expectations=(*REFUSE_THE_BATCH, *TO_QUARANTINE, *KEPT_AND_COUNTED),
    max_quarantined_share=0.01,
    max_quarantined_reason="None of 12,199 packages is quarantined; one in a hundred means that the export is broken.",
)
