"""Records: frozen, strict when read back, and with a digest that depends on values only."""

from datetime import UTC, datetime

import msgspec
import pytest

from errors import ConfigError, GrownetError
from records import Evidence, Gate, Step, canonical, digest_of

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def gate(outcome: str, required: bool = True) -> Gate:
    return msgspec.convert(
        {"name": "baseline", "outcome": outcome, "reason": "because", "figures": {}, "required": required}, Gate
    )


def evidence(*gates: Gate) -> Evidence:
    return Evidence(candidate="c", model="m", artifact="a", gates=gates, metrics={}, intervals={}, created_at=NOW)


def test_a_record_is_frozen_and_comes_back_equal() -> None:
    step = Step(percent=5, min_seconds=1, min_answers=2)
    assert Step.from_json(step.to_json()) == step
    with pytest.raises(AttributeError):
        step.percent = 6  # type: ignore[misc]


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"percent":5,"min_seconds":1,"min_answers":2,"more":1}', b"x"])
def test_a_record_refuses_what_it_does_not_know(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Step.from_json(data)


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_evidence_passes_only_when_every_required_gate_does() -> None:
    assert evidence(gate("pass")).passed
    assert evidence(gate("pass"), gate("inconclusive", required=False)).passed
    assert not evidence(gate("pass"), gate("inconclusive")).passed
    assert not evidence(gate("pass"), gate("fail", required=False)).passed
    assert "baseline fail: because" in evidence(gate("fail")).reason


def test_no_gates_is_not_a_pass() -> None:
    assert not evidence().passed


def test_an_error_says_thing_expected_got_and_what_to_do() -> None:
    error = GrownetError("table orders", expected="8 columns", got="7", do="add the missing one")
    assert str(error) == "table orders: expected 8 columns, got 7. add the missing one"


def test_a_configuration_error_lists_its_problems() -> None:
    error = ConfigError(["a.yaml: x: wrong", "b.yaml: y: wrong"])
    assert error.problems == ("a.yaml: x: wrong", "b.yaml: y: wrong")
    assert "2 problem(s)" in str(error)
