"""Every gate that `measure` judges, made to fail by a history in which the eye sees why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from checks import gates
from configs.load import load
from configs.schema import ModelConfig
from models.contract import Feature, Model
from records import Evidence, Gate, utc_now
from tasks.measure import Findings, Rival, measure, shifts
from tasks.trial import Split, Trial, split

START, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
DAYS, CUT = 120, 91  # the holdout is the last 28 days


def visits() -> pd.DataFrame:
    """Forty people, each of whom visits one of three items every day; a third of days on which nothing else happens."""
    people = [(f"{item}{number}", item) for item in "abc" for number in range(12 if item == "a" else 10)]
    rows = [{"subject": who, "item": item, "time": START + DAY * day} for day in range(DAYS) for who, item in people]
    return pd.DataFrame(rows)


def recipe(**limits: Any) -> ModelConfig:
    house = load()
    given = house.models["recommendation"].model_dump()
    own = {"bias_min_rows": 5, "bootstrap_samples": 200, "overfit_max_gap": 0.2, **limits}
    return ModelConfig.model_validate(given | {"metric": "hit", "gates": given["gates"] | own})


def judged(
    toy: Model, frame: pd.DataFrame, rival: Rival | Gate | None = None, *, wrong: bool = False, **limits: Any
) -> Findings:
    chosen = recipe(**limits)
    moments: Split = split(frame["time"].max().to_pydatetime(), chosen.split)
    trial = Trial(toy, {"visits": frame}, {"visits": "time"}, toy.Params(wrong=wrong), seed=1)
    return measure(trial, trial.fit(moments.cut), rival or Rival(), chosen, moments)


def outcomes(found: Findings) -> dict[str, str]:
    return {gate.name: gate.outcome for gate in found.gates}


def changed_after_the_cut(item: str, to: str) -> pd.DataFrame:
    frame = visits()
    frame.loc[(frame["time"] >= START + DAY * CUT) & (frame["item"] == item), "item"] = to
    return frame


def test_a_good_model_passes_every_gate(toy: Model) -> None:
    found = judged(toy, visits())
    assert set(outcomes(found)) == {"champion", "baseline", "bias", "drift", "backtest", "overfitting"}
    assert set(outcomes(found).values()) == {"pass"}
    assert found.metrics["hit"] == found.metrics["training.hit"] == 1.0
    assert found.metrics["champion.hit"] == found.metrics["rules.hit"] == pytest.approx(12 / 32)
    assert found.metrics["hit - champion"] == pytest.approx(20 / 32)
    assert found.metrics["subjects"] == 32
    low, high = found.intervals["hit - champion"]
    assert 0 < low < 20 / 32 < high
    assert found.intervals["hit"] == (1.0, 1.0)


def test_a_wrong_model_fails_against_champion_baseline_and_in_the_backtest(toy: Model) -> None:
    found = outcomes(judged(toy, visits(), wrong=True))
    assert (found["champion"], found["baseline"], found["backtest"]) == ("fail", "fail", "fail")


def test_a_trained_champion_is_scored_as_it_was_trained(toy: Model) -> None:
    good = Trial(toy, {"visits": visits()}, {"visits": "time"}, toy.Params(), seed=1)
    cut = START + DAY * CUT
    champion = Rival(name="toy-v1", fitted=good.fit(cut), params=toy.Params(), trained_until=cut)
    equal = judged(toy, visits(), champion)
    assert outcomes(equal)["champion"] == "fail"
    assert "toy-v1" in equal.gates[0].reason
    assert equal.metrics["champion.hit"] == 1.0
    bad = Rival(name="toy-v1", fitted={"nobody": "?"}, params=toy.Params(wrong=True), trained_until=START + DAY * 119)
    better = judged(toy, visits(), bad)
    assert outcomes(better)["champion"] == "pass"
    assert "flatters" in better.gates[0].reason


def test_a_champion_that_cannot_be_read_leaves_the_other_gates_their_say(toy: Model) -> None:
    found = judged(toy, visits(), gates.unreadable_champion("toy-v1", "no file"))
    assert outcomes(found)["champion"] == "inconclusive"
    assert outcomes(found)["baseline"] == "pass"
    assert "champion.hit" not in found.metrics


def test_a_segment_that_is_served_badly_fails_bias(toy: Model) -> None:
    found = judged(toy, changed_after_the_cut("c", "z"))
    bias = next(gate for gate in found.gates if gate.name == "bias")
    assert (bias.outcome, "'c'" in bias.reason) == ("fail", True)


def test_a_segment_asked_for_is_compared_apart(toy: Model) -> None:
    """The champion knows what "a" visits and nothing else: the whole gains, segment "a" does not."""
    trial = Trial(toy, {"visits": visits()}, {"visits": "time"}, toy.Params(), seed=1)
    chosen, moments = recipe(), split(visits()["time"].max().to_pydatetime(), recipe().split)
    for segment, outcome, subjects in (
        ("item=a", "fail", 12),
        ("item=b", "pass", 10),
        ("planet=mars", "inconclusive", 0),
    ):
        found = measure(trial, trial.fit(moments.cut), Rival(), chosen, moments, segment=segment)
        gate = found.gates[-1]
        assert (gate.name, gate.outcome, gate.figures["subjects"]) == ("segment", outcome, subjects)
    unreadable = gates.unreadable_champion("toy-v1", "no file")
    found = measure(trial, trial.fit(moments.cut), unreadable, chosen, moments, segment="item=b")
    assert (outcomes(found)["segment"], outcomes(found)["champion"]) == ("inconclusive", "inconclusive")


def test_small_segments_cannot_be_told(toy: Model) -> None:
    assert outcomes(judged(toy, visits(), bias_min_rows=100))["bias"] == "inconclusive"


def test_what_was_learned_by_heart_and_does_not_hold_fails_overfitting(toy: Model) -> None:
    found = judged(toy, changed_after_the_cut("a", "z"))
    gate = next(gate for gate in found.gates if gate.name == "overfitting")
    assert gate.outcome == "fail"
    assert gate.figures["training"] == 1.0
    assert gate.figures["holdout"] == pytest.approx(20 / 32)


def test_data_that_moved_since_training_fails_drift(toy: Model) -> None:
    """New people with nine visits each: what most rows look like is no longer what was learned from."""
    day = START + DAY * (DAYS - 1)
    new = [{"subject": f"new{who}", "item": "d", "time": day} for who in range(60) for _ in range(9)]
    found = judged(toy, pd.concat([visits(), pd.DataFrame(new)], ignore_index=True))
    drift = next(gate for gate in found.gates if gate.name == "drift")
    assert drift.outcome == "fail"
    assert drift.reason.startswith("item, visits moved")


def test_a_history_too_short_for_the_windows_cannot_be_told(toy: Model) -> None:
    frame = visits()
    short = frame[frame["time"] >= START + DAY * 60]
    assert outcomes(judged(toy, short))["backtest"] == "inconclusive"


def test_identifiers_lists_and_empty_columns_have_no_distribution() -> None:
    kinds = {"subject": "string", "codes": "list", "empty": "float64", "on": "bool", "at": "timestamp", "n": "int64"}
    promised = [Feature(name=name, dtype=kind, meaning="x") for name, kind in kinds.items()]  # type: ignore[arg-type]  # a Literal each
    frame = pd.DataFrame(
        {
            "subject": ["a", "b"] * 50,
            "codes": [["x"]] * 100,
            "empty": [float("nan")] * 100,
            "on": [True, False] * 50,
            "at": pd.Timestamp(START) + pd.to_timedelta(range(100), unit="D"),
            "n": range(100),
        }
    )
    moved = shifts(frame, frame.assign(at=frame["at"] + pd.Timedelta(days=90)), promised)
    assert set(moved) == {"on", "at", "n"}
    assert moved["n"].psi == 0
    assert moved["at"].psi > 1


def test_findings_survive_being_written_as_evidence(toy: Model) -> None:
    found = judged(toy, visits(), bias_min_rows=100)
    evidence = Evidence(
        candidate="c",
        model="toy",
        artifact="a" * 64,
        gates=found.gates,
        metrics=found.metrics,
        intervals=found.intervals,
        created_at=utc_now(),
    )
    assert Evidence.from_json(evidence.to_json()) == evidence
