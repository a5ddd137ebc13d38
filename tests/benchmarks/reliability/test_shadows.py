"""The promises about a shadow that misbehaves: each breaks when it should. The scenarios themselves are played in test_scenarios."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.client.record import Sent
from benchmarks.reliability.shadows import QUEUE, Span, counted, judged

SPAN = Span(begun=10.0, start=11.0, end=20.0, gone=21.0)
FOUND = {"answers": 90, "done": 0, "failed": 40, "dropped": 50 - QUEUE}


def sent(number: int, took: float = 0.004, status: int = 200, **reply: str) -> Sent:
    said = {"prediction_id": f"id-{number}", "arm": "champion", "override": ""} | reply
    due = number / 10
    return Sent(number, "good", 0, due, due, due + took, status, "", "", msgspec.json.encode(said))


WELL = [sent(number) for number in range(300)]


def broken(records: list[Sent], found: dict[str, int] | None = None) -> list[str]:
    return [one.what for one in judged(records, SPAN, found or FOUND)[0] if not one.held]


def test_all_hold_when_nobody_notices_the_shadow() -> None:
    assert broken(WELL) == []
    facts = judged(WELL, SPAN, FOUND)[1]
    assert facts["p50_beside_ms"] == pytest.approx(4.0)
    assert facts["scores_dropped"] == 34


@pytest.mark.parametrize(
    ("records", "promise"),
    [
        ([*WELL, sent(150, status=503)], "every request has its answer"),
        ([*WELL, sent(150, arm="rules", override="error")], "by the champion or its control, and nobody instead"),
        ([*WELL, sent(150, arm="canary")], "by the champion or its control, and nobody instead"),
        (
            [*WELL[:110], *(sent(number, 0.1) for number in range(110, 200)), *WELL[200:]],
            "an answer takes as long as without it",
        ),
        (WELL[110:200], "an answer takes as long as without it"),  # nothing to compare with
    ],
)
def test_a_shadow_that_is_felt_is_told(records: list[Sent], promise: str) -> None:
    assert broken(records) == [promise]


def test_a_queue_that_grows_is_told() -> None:
    assert broken(WELL, {**FOUND, "dropped": 0}) == ["no more wait for it than its queue takes"]


def test_a_page_of_metrics_is_read() -> None:
    page = """# HELP grownet_answers_total Answers.
# TYPE grownet_answers_total counter
grownet_answers_total{arm="champion",model="m",override="",version="1"} 7.0
grownet_answers_total{arm="rules",model="m",override="error",version="0"} 3.0
grownet_answers_total{arm="control",model="m",override="",version="0"} 2.0
# HELP grownet_beside_total Scores.
# TYPE grownet_beside_total counter
grownet_beside_total{model="m",result="done"} 4.0
grownet_beside_total{model="m",result="dropped"} 1.0
"""
    assert counted(page) == {"answers": 9, "done": 4, "failed": 0, "dropped": 1}
