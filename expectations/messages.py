"""What short messages must look like: the table `messages`, filled from the SMS Spam Collection.

Figures called "seen" were counted in the bundled file (5,574 messages, 12 batches of 428 to 474); limits leave room
around them. Judged at the door by `tasks.expect`, after texts were redacted, by the redaction's own patterns. Reviewed by the owner of the data stage.
"""

from __future__ import annotations

from checks.redact import LEFT
from expectations.declare import Expectation, Suite, complete

COLUMNS = ("received_at", "text", "is_spam")
LONGEST = 5000  # characters: a message of thirty parts

REFUSE_THE_BATCH = (
    Expectation(
        name="rows_present",
        level="table",
        severity="critical",
        type="expect_table_row_count_to_be_between",
        kwargs={"min_value": 1, "max_value": 1_000_000},
        reason="An empty batch is a source that failed, not a month without messages; a million is a wrong cut.",
    ),
    complete(COLUMNS),
    Expectation(
        name="numbers_redacted",
        level="table",
        severity="critical",
        type="expect_column_values_to_not_match_regex",
        kwargs={"column": "text", "regex": LEFT["numbers"]},
        reason="Digits that the redaction makes 0 are a phone or account number that escaped it: store nothing.",
    ),
    Expectation(
        name="addresses_redacted",
        level="table",
        severity="critical",
        type="expect_column_values_to_not_match_regex",
        kwargs={"column": "text", "regex": LEFT["addresses"]},
        reason="An e-mail address other than the one that stands for all escaped redaction: store nothing.",
    ),
    Expectation(
        name="links_redacted",
        level="table",
        severity="critical",
        type="expect_column_values_to_not_match_regex",
        kwargs={"column": "text", "regex": LEFT["links"]},
        reason="A link with a user or with more than a host may lead to a person's page: store nothing.",
    ),
    Expectation(
        name="signs_folded",
        level="table",
        severity="critical",
        type="expect_column_values_to_not_match_regex",
        kwargs={"column": "text", "regex": LEFT["signs"]},
        reason="Invisible signs, and other signs for digits and @, hide numbers and addresses; redaction leaves none.",
    ),
    Expectation(
        name="spam_share",
        level="table",
        severity="critical",
        type="expect_column_values_to_be_in_set",
        kwargs={"column": "is_spam", "value_set": [False], "mostly": 0.5},
        reason="12 to 17 % of a month was spam; above a half the export lost the ham, and a filter taught by it would "
        "mark everything.",
    ),
    Expectation(
        name="messages_not_doubled",
        level="table",
        severity="critical",
        type="expect_column_values_to_be_unique",
        kwargs={"column": "text", "mostly": 0.5},
        reason="1 to 10 % of the texts of a month stand there twice; half of them means a file was written or joined twice.",
    ),
)

TO_QUARANTINE = (
    Expectation(
        name="time_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "received_at"},
        reason="A message without a time cannot be put before or after a cut.",
    ),
    Expectation(
        name="time_has_come",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={
            "column": "received_at",
            "min_value": "1992-12-03T00:00:00+00:00",
            "max_value": {"$PARAMETER": "now"},
        },
        reason="The first short message was sent on 1992-12-03, and none comes from the future.",
    ),
    Expectation(
        name="text_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "text"},
        reason="A message without a text, or of invisible signs only, teaches nothing.",
    ),
    Expectation(
        name="text_length",
        level="row",
        severity="critical",
        type="expect_column_value_lengths_to_be_between",
        kwargs={"column": "text", "min_value": 1, "max_value": LONGEST},
        reason="The longest message seen has 910 characters; beyond 5,000 it is no short message but a shifted column.",
    ),
    Expectation(
        name="label_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "is_spam"},
        reason="A message that nobody judged cannot teach or be scored.",
    ),
)

SHOWN = (
    Expectation(
        name="length_of_a_message",
        level="row",
        severity="warning",
        type="expect_column_value_lengths_to_be_between",
        kwargs={"column": "text", "max_value": 1000},
        reason="Longer than any message seen (910): perhaps an e-mail, which this filter never learned from.",
    ),
)

SUITE = Suite(
    name="messages",
    expectations=(*REFUSE_THE_BATCH, *TO_QUARANTINE, *SHOWN),
    max_quarantined_share=0.01,
    max_quarantined_reason="No message of the bundled file is refused; if one in a hundred is, the export is broken.",
)
