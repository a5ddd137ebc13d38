"""Prediction ids: what is minted is parsed, and what is forged is seen."""

import hashlib

import pytest

from checks.prediction_ids import genuine, mint, parse
from errors import NotFound


def mac(data: bytes) -> bytes:
    return hashlib.sha256(b"key" + data).digest()[:16]


def valid(data: bytes, given: bytes) -> bool:
    return mac(data) == given


TEXT = mint("recommendation.canary.v3.r17", 29843521, "pod-7.west.9f3a01c2-1f", mac)


def test_an_id_says_where_its_answer_is() -> None:
    found = parse(TEXT)
    assert (found.model, found.arm, found.version, found.revision) == ("recommendation", "canary", 3, 17)
    assert (found.minute, found.replica, found.serial) == (29843521, "pod-7.west", "9f3a01c2-1f")


def test_only_our_own_ids_are_genuine() -> None:
    assert genuine(TEXT, valid)
    assert not genuine(TEXT.replace(".v3.", ".v4."), valid)
    assert not genuine(TEXT[:-1] + ("0" if TEXT[-1] != "0" else "1"), valid)


@pytest.mark.parametrize(
    "text", ["", "x", TEXT + "\n", TEXT[:-1], TEXT.replace("pod-7", "../pod"), TEXT.upper(), "é" * 300, "\ud800"]
)
def test_anything_else_is_no_id(text: str) -> None:
    with pytest.raises(NotFound, match="prediction id"):
        parse(text)
