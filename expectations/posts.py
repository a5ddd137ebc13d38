"""What the table of posts (stats.stackexchange.com) must look like; each expectation with its reason.

Read by `expectations.suites`, judged once a batch by `tasks.expect`. Figures in reasons are from the bundled files.
"""

from __future__ import annotations

from expectations.declare import Expectation, Suite, complete, masked

COLUMNS = ("id", "post_type_id", "creation_date", "score", "owner_user_id")
KINDS = list(range(1, 9))  # of the source's own table of post types

REFUSE_THE_BATCH = (
    Expectation(
        name="rows_present",
        level="table",
        severity="critical",
        type="expect_table_row_count_to_be_between",
        kwargs={"min_value": 1, "max_value": 200_000},
        reason="The whole dump has 56,032 posts, a month since the opening 786 to 2,709; none at all is a source that "
        "failed, 200,000 a wrong cut.",
    ),
    complete(
        COLUMNS,
        "The source has five more totals as of its dump; one that slipped in would tell the future to a feature.",
    ),
    masked("owner_user_id"),
    Expectation(
        name="posts_not_doubled",
        level="table",
        severity="critical",
        type="expect_column_values_to_be_unique",
        kwargs={"column": "id", "mostly": 0.99},
        reason="A post is made once; a file written or joined twice would double everybody's volume.",
    ),
    Expectation(
        name="owners_known_enough",
        level="table",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "owner_user_id", "mostly": 0.8},
        reason="Deleted users own 2 % of all posts and up to 9 % of a month since the opening; beyond a fifth an export lost "
        "the column.",
    ),
    Expectation(
        name="mostly_contributions",
        level="table",
        severity="critical",
        type="expect_column_values_to_be_in_set",
        kwargs={"column": "post_type_id", "value_set": [1, 2], "mostly": 0.5},
        reason="93 to 100 % of a month are questions and answers; under half means that kinds were read wrongly.",
    ),
    Expectation(
        name="score_level",
        level="table",
        severity="critical",
        type="expect_column_median_to_be_between",
        kwargs={"column": "score", "min_value": -5, "max_value": 50},
        reason="The median of an open month lies between 1 and 6; views or ids in this column move it far beyond 50.",
    ),
)

TO_QUARANTINE = (
    Expectation(
        name="post_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "id"},
        reason="A post without a number cannot be told from its copy.",
    ),
    Expectation(
        name="kind_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "post_type_id"},
        reason="Whether somebody asks or answers is half of what the table says.",
    ),
    Expectation(
        name="kind_known",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_in_set",
        kwargs={"column": "post_type_id", "value_set": KINDS},
        reason="The source knows eight kinds of posts; anything else is another column's number.",
    ),
    Expectation(
        name="date_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "creation_date"},
        reason="Without its time a post cannot be put before or after anything: features and splits follow time.",
    ),
    Expectation(
        name="date_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={
            "column": "creation_date",
            "min_value": "2008-07-31T00:00:00+00:00",
            "max_value": {"$PARAMETER": "now"},
        },
        reason="The first site of the network opened on 2008-07-31; a post of tomorrow would leak into every split.",
    ),
    Expectation(
        name="score_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "score"},
        reason="A post without votes has score 0; nothing at all is a broken row, and would count as not valued.",
    ),
    Expectation(
        name="score_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={"column": "score", "min_value": -1_000, "max_value": 100_000},
        reason="Scores seen are -19 to 192; beyond these limits it is a view count or an id.",
    ),
)

KEPT_AND_COUNTED = (
    Expectation(
        name="owner_named",
        level="row",
        severity="info",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "owner_user_id"},
        reason="1,132 posts of deleted users: part of the site, and of nobody's behaviour.",
    ),
    Expectation(
        name="is_a_contribution",
        level="row",
        severity="info",
        type="expect_column_values_to_be_in_set",
        kwargs={"column": "post_type_id", "value_set": [1, 2]},
        reason="970 posts are texts of tags, wikis and nominations, many by the Community bot: no model counts them.",
    ),
    Expectation(
        name="not_voted_down",
        level="row",
        severity="info",
        type="expect_column_values_to_be_between",
        kwargs={"column": "score", "min_value": 0},
        reason="664 questions and answers ended below 0: rare enough that a month full of them is news.",
    ),
)

SUITE = Suite(
    name="posts",
    expectations=(*REFUSE_THE_BATCH, *TO_QUARANTINE, *KEPT_AND_COUNTED),
    max_quarantined_share=0.01,
    max_quarantined_reason="No post is quarantined in the bundled files; one in a hundred means that the export broke.",
)
