"""Rows read back: named when they cannot be, and compared with what the audit log tells of."""

import pytest

from errors import TamperError
from records import RolloutGates, Step, digest_bytes
from stores.ledger import rows

STEP = Step(percent=0, min_seconds=0, min_answers=0)


def test_a_payload_that_is_no_record_is_named() -> None:
    assert rows.read(Step, STEP.to_json().decode(), "step", 7) == STEP
    for payload in ("{garbage", "[]", '{"percent":1}'):
        with pytest.raises(TamperError, match="step 7"):
            rows.read(Step, payload, "step", 7)


@pytest.mark.parametrize("detail", ["{x", "[]", "1"])
def test_a_detail_that_is_none_is_named(detail: str) -> None:
    assert rows.detail('{"a":1}', 3) == {"a": 1}
    with pytest.raises(TamperError, match="audit entry 3"):
        rows.detail(detail, 3)


def test_told_by_its_bytes_or_as_it_is_read_back() -> None:
    payload = STEP.to_json().decode()  # a 0 given for a float is read as 0.0
    assert digest_bytes(payload.encode()) != STEP.digest
    assert rows.is_told(Step, payload, STEP.digest)
    assert rows.is_told(Step, payload, digest_bytes(payload.encode()))
    assert not rows.is_told(Step, payload, "0" * 64)
    assert not rows.is_told(RolloutGates, payload, STEP.digest)


def test_a_row_too_few_and_one_too_many() -> None:
    rows.refuse_missing("row", {"a"}, {"a"})
    with pytest.raises(TamperError, match=r"row b.*got none"):
        rows.refuse_missing("row", {"a"}, {"a", "b"})
    with pytest.raises(TamperError, match=r"row c.*audit entry"):
        rows.refuse_missing("row", {"a", "c"}, {"a"})
