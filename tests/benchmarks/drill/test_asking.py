"""Outcomes are drawn as often as the mix says, and a request carries its hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from benchmarks.drill import asking
from benchmarks.drill.asking import SAME, WORSE, Kind, Mix
from errors import StackError
from models.contract import Decided
from models.recommendation import Outcome, kpi

SLATES = [(("A", "B", f"C{at}"), ("B", "D")) for at in range(100)]


@pytest.mark.parametrize("mix", [SAME, WORSE, Mix(both=0.2, first=0.3)])
def test_both_versions_are_hit_as_often_as_the_mix_says(mix: Mix) -> None:
    made = [msgspec.json.decode(one, type=Outcome) for one in asking.outcomes(SLATES, mix)]
    hits = [
        sum(kpi(Decided(items=pair[side]), outcome) for pair, outcome in zip(SLATES, made, strict=True)) / len(SLATES)
        for side in (0, 1)
    ]
    assert hits == pytest.approx(mix.rates)
    assert asking.outcomes(SLATES, mix) == asking.outcomes(SLATES, mix)


def test_agreement_is_the_correlation_of_the_hits() -> None:
    assert SAME.agreement == pytest.approx(1.0)
    assert WORSE.agreement == pytest.approx(0.2 / (0.25 * 0.24) ** 0.5)
    assert Mix(both=0.25, first=0.25).agreement == pytest.approx((0.25 - 0.125) / (0.25 * 0.1875) ** 0.5)


def test_slates_that_do_not_differ_are_refused() -> None:
    with pytest.raises(StackError, match="outcomes of a drill"):
        asking.outcomes([(("a",), ("a",))] * 10, WORSE)


def test_a_request_carries_its_hour_and_its_outcome() -> None:
    told = [b'{"purchased":["a"]}']
    moment = datetime(2026, 11, 1, 7, 10, tzinfo=UTC)
    made = asking.stream("good", Kind([b'{"customer":"4"}'], SAME), told, key="key", moment=moment, per_second=5.0)
    assert b"\r\nx-event-time: 2026-11-01T07:10:00+00:00\r\n" in made.payloads[0]
    assert made.payloads[0].endswith(b'{"customer":"4"}')
    assert made.feedback is not None
    assert made.feedback.outcomes == told
    late = asking.stream(
        "surge", Kind([b"{}"], None, timedelta(hours=1)), None, key="key", moment=moment, per_second=0.0
    )
    assert b"x-event-time: 2026-11-01T08:10:00+00:00" in late.payloads[0]
    assert asking.stream("surge", Kind([b"{}"], None), None, key="key", moment=moment, per_second=0.0).feedback is None
