"""What makes two texts the same, n-grams by eye, the shape and the plain signs of a text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.kit import texts


@pytest.mark.parametrize(
    ("one", "two"), [("Call 5 NOW!", "call 7: now"), ("a  b", "A b."), ("£5", "5 ?"), ("Straße", "STRASSE")]
)
def test_texts_that_are_the_same(one: str, two: str) -> None:
    assert texts.digest(one) == texts.digest(two)


@pytest.mark.parametrize(("one", "two"), [("call 5", "call 55"), ("ab", "a b"), ("?", "!"), (":)", ":(")])
def test_texts_that_are_not(one: str, two: str) -> None:
    assert texts.digest(one) != texts.digest(two)


def test_ngrams_by_eye() -> None:
    assert texts.characters("Ab") == {"a": 1, "b": 1, "ab": 1}
    assert texts.characters("a \n a") == {"a": 2, " ": 1, "a ": 1, " a": 1, "a a": 1}
    assert texts.words("Win £100, win!") == {
        "win": 2, "£": 1, "000": 1, "!": 1, "win £": 1, "£ 000": 1, "000 win": 1, "win !": 1,
    }  # fmt: skip


def test_shape_by_eye() -> None:
    found = texts.shape("CALL 00000")
    assert (found.characters, found.digits, found.capitals) == (10, 0.5, 0.4)
    assert found.signs == {"number", "order"}
    assert texts.shape("").digits == 0.0


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("ring 0000 000 0000", "number"),
        ("see www.shop.co", "link"),
        ("only £5", "price"),
        ("150ppm", "price"),
        ("you have WON", "prize"),
        ("txt WIN to 8007", "order"),
        ("send stop", "order"),
    ],
)
def test_a_plain_sign(text: str, sign: str) -> None:
    assert sign in texts.signs(text)


def test_a_note_has_none() -> None:
    assert texts.signs("are we still meeting at 6 tonight? i am on my way") == frozenset()


@given(st.text(max_size=80))
def test_any_text_can_be_taken_apart(text: str) -> None:
    assert len(texts.digest(text)) == 32
    assert texts.signs(text) <= set(texts.SIGNS)
    assert sum(texts.characters(text).values()) <= 4 * max(len(text) * 3, 1)


@pytest.mark.parametrize("piece", ["call ", "a.", "a-", "0 ", "txt", "1p", "\u0301"])
def test_hostile_texts_take_no_time(piece: str) -> None:
    begun = time.process_time()
    texts.shape(piece * (2000 // len(piece)))
    assert time.process_time() - begun < 0.5


def test_padding_is_no_length() -> None:
    assert texts.length("call me, now") == len("call me now")
    assert texts.length("call" + " .\n_" * 100 + "me") == len("call me")
    assert texts.length("...") == 0
