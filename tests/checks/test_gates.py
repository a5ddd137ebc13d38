"""Each gate passes, fails and cannot tell, on figures whose verdict is visible by eye."""

from __future__ import annotations

from math import inf, nan

import pytest

from checks import gates
from checks.drift import Drift
from checks.fairness import Fairness, Segment
from checks.gates import Service, Window
from checks.metrics import Difference
from records import Evidence, Gate, utc_now


def difference(mean: float, low: float, high: float, subjects: int = 100) -> Difference:
    return Difference(mean=mean, low=low, high=high, subjects=subjects, relative=mean / 0.5)


BETTER, WORSE, UNCLEAR = difference(0.1, 0.05, 0.15), difference(-0.1, -0.15, -0.05), difference(0.01, -0.02, 0.04)
NOTHING = Difference(mean=nan, low=nan, high=nan, subjects=0, relative=nan)
GOOD = Service(ok=True, latency_p50_ms=1.0, latency_p99_ms=4.0, size_bytes=10)


@pytest.mark.parametrize(("given", "outcome"), [(BETTER, "pass"), (WORSE, "fail"), (UNCLEAR, "inconclusive")])
def test_champion(given: Difference, outcome: str) -> None:
    gate = gates.champion(given, 0.0, "rules")
    assert gate.outcome == outcome
    assert gate.figures["low"] == given.low
    assert "against rules" in gate.reason
    assert "100 subjects" in gate.reason


def test_equal_to_the_champion_is_not_better() -> None:
    assert gates.champion(difference(0.0, 0.0, 0.0), 0.0, "shop-v1").outcome == "fail"


def test_a_margin_below_zero_asks_only_for_not_much_worse() -> None:
    assert gates.champion(UNCLEAR, -0.05, "shop-v1").outcome == "pass"


def test_nobody_scored_by_both_cannot_be_told_and_leaves_no_figure_that_is_none() -> None:
    gate = gates.champion(NOTHING, 0.0, "rules")
    assert gate.outcome == "inconclusive"
    assert gate.figures == {"subjects": 0.0}


def test_a_champion_that_saw_the_holdout_is_named() -> None:
    assert "flatters" in gates.champion(BETTER, 0.0, "shop-v1", unseen=False).reason


@pytest.mark.parametrize(("given", "outcome"), [(BETTER, "pass"), (WORSE, "fail"), (UNCLEAR, "inconclusive")])
def test_a_segment_must_be_better_off(given: Difference, outcome: str) -> None:
    gate = gates.segment(given, "country=home", "shop-v1", min_subjects=100)
    assert (gate.outcome, gate.required) == (outcome, True)
    assert gate.reason.startswith("country=home: against shop-v1")


@pytest.mark.parametrize("given", [BETTER, NOTHING])
def test_of_a_small_segment_nothing_can_be_said(given: Difference) -> None:
    gate = gates.segment(given, "country=home", "shop-v1", min_subjects=101)
    assert gate.outcome == "inconclusive"
    assert f"{given.subjects} subjects that both scored, 101 are needed" in gate.reason


def test_a_champion_that_cannot_be_read_cannot_be_compared() -> None:
    gate = gates.unreadable_champion("shop-v1", "no file items.json")
    assert (gate.outcome, gate.required) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"popularity": BETTER, "item_item": BETTER}, "pass"),
        ({"popularity": BETTER, "item_item": WORSE}, "fail"),
        ({"popularity": BETTER, "item_item": UNCLEAR}, "inconclusive"),
        ({}, "inconclusive"),
    ],
)
def test_baseline(given: dict[str, Difference], outcome: str) -> None:
    gate = gates.baseline(given, 0.0)
    assert gate.outcome == outcome
    if given:
        assert "item_item" in gate.reason or outcome == "pass"
        assert gate.figures["popularity.low"] == 0.05


def test_new_fails_for_the_champion_again_and_for_what_was_taken_back() -> None:
    assert gates.new("a" * 64, "b" * 64, ["c" * 64]).outcome == "pass"
    again = gates.new("b" * 64, "b" * 64, [])
    assert (again.outcome, "is the champion" in again.reason) == ("fail", True)
    rejected = gates.new("c" * 64, "b" * 64, ["c" * 64])
    assert (rejected.outcome, "taken back" in rejected.reason) == ("fail", True)


def window(ours: float, theirs: float) -> Window:
    return Window(start="2011-08-01", subjects=50, ours=ours, theirs=theirs, against="rules")


WIN, LOSS, TIE = window(0.5, 0.4), window(0.4, 0.5), window(0.4, 0.4)


@pytest.mark.parametrize(
    ("windows", "outcome"),
    [
        ([WIN, WIN, LOSS], "pass"),
        ([WIN, LOSS, LOSS], "fail"),
        ([WIN, TIE, TIE], "fail"),
        ([WIN, LOSS], "inconclusive"),
        ([], "inconclusive"),
        ([LOSS, LOSS], "fail"),
    ],
)
def test_backtest(windows: list[Window], outcome: str) -> None:
    gate = gates.backtest(windows, wanted=3, min_wins=2)
    assert gate.outcome == outcome
    assert gate.figures["wins"] == windows.count(WIN)


@pytest.mark.parametrize(
    ("training", "holdout", "outcome"),
    [(0.6, 0.5, "pass"), (0.9, 0.3, "fail"), (0.0, 0.5, "inconclusive"), (nan, 0.5, "inconclusive")],
)
def test_overfitting(training: float, holdout: float, outcome: str) -> None:
    assert gates.overfitting(training, holdout, max_gap=0.6).outcome == outcome


def test_service_says_why_it_refuses() -> None:
    assert gates.service(GOOD).outcome == "pass"
    refused = gates.service(Service(ok=False, reason="hash differs"))
    assert (refused.outcome, "hash differs" in refused.reason) == ("fail", True)


@pytest.mark.parametrize(
    ("p99", "outcome"), [(4.0, "pass"), (51.0, "fail"), (None, "inconclusive"), (inf, "inconclusive")]
)
def test_latency(p99: float | None, outcome: str) -> None:
    assert gates.latency(Service(ok=True, latency_p99_ms=p99), 0.05).outcome == outcome


def test_the_latency_of_a_service_that_refused_is_no_figure() -> None:
    assert gates.latency(Service(ok=False, reason="refused", latency_p99_ms=0.0), 0.05).outcome == "inconclusive"


def test_size() -> None:
    assert gates.size(100, 100).outcome == "pass"
    assert gates.size(101, 100).outcome == "fail"


def test_gates_survive_being_written_as_evidence() -> None:
    made = (
        gates.champion(NOTHING, 0.0, "rules"),
        gates.baseline({"a": NOTHING}, 0.0),
        gates.overfitting(nan, nan, 1.0),
    )
    evidence = Evidence(
        candidate="c", model="shop", artifact="a" * 64, gates=made, metrics={}, intervals={}, created_at=utc_now()
    )
    assert Evidence.from_json(evidence.to_json()) == evidence
    assert not evidence.passed


def segment(name: str, gap: float, low: float, high: float) -> Segment:
    return Segment(kind="country", name=name, count=200, mean=0.5 + gap / 2, gap=gap, low=low, high=high)


def fairness(*segments: Segment) -> Fairness:
    return Fairness(overall=0.5, count=400, segments=segments, small=(("country", "tiny", 3),))


HOME = segment("home", 0.02, 0.0, 0.04)


@pytest.mark.parametrize(
    ("abroad", "outcome"),
    [
        (segment("abroad", -0.2, -0.3, -0.1), "pass"),
        (segment("abroad", -0.7, -0.8, -0.6), "fail"),
        (segment("abroad", -0.6, -0.9, -0.3), "inconclusive"),
        (segment("abroad", 0.9, 0.8, 1.0), "pass"),
    ],
)
def test_bias(abroad: Segment, outcome: str) -> None:
    gate = gates.bias(fairness(HOME, abroad), max_gap=0.5)
    assert gate.outcome == outcome
    assert gate.figures["country.abroad"] == abroad.gap
    assert ("abroad" in gate.reason) == (abroad.gap < HOME.gap)


def test_segments_too_small_to_judge_are_named() -> None:
    gate = gates.bias(fairness(), max_gap=0.5)
    assert (gate.outcome, "tiny (3)" in gate.reason) == ("inconclusive", True)


def test_the_figures_of_each_segment_are_kept_and_read_back() -> None:
    odd = segment("a: b. mean", -0.3, -0.4, -0.2)
    gate = gates.bias(fairness(HOME, odd), max_gap=0.5)
    worst, better, tiny = gates.segments_of(Gate.from_json(gate.to_json()))
    assert (worst.name, worst.subjects, worst.mean, worst.low) == (odd.name, 200, odd.mean, odd.low)
    assert (better.kind, better.name, better.gap) == ("country", "home", HOME.gap)
    assert (tiny.name, tiny.subjects, tiny.gap) == ("tiny", 3, None)


def test_older_evidence_has_the_gaps_alone() -> None:
    old = Gate(name="bias", outcome="pass", reason="", figures={"country.home": -0.1, "overall": 0.5, "limit": -0.5})
    assert gates.segments_of(old) == [gates.Told(kind="country", name="home", gap=-0.1)]


def shift(psi: float, limit: float = 0.01) -> Drift:
    return Drift(psi=psi, expected=limit / 2, limit=limit, bins=10, reference_rows=1000, rows=1000)


@pytest.mark.parametrize(
    ("shifts", "outcome"),
    [
        ({"days": shift(0.1), "units": shift(0.0)}, "pass"),
        ({"days": shift(0.3), "units": shift(0.0)}, "fail"),
        ({"days": shift(0.3, limit=0.4)}, "pass"),
        ({}, "inconclusive"),
    ],
)
def test_drift(shifts: dict[str, Drift], outcome: str) -> None:
    gate = gates.drift(shifts, max_psi=0.25)
    assert gate.outcome == outcome
    assert not shifts or "days" in gate.reason
