from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.kit import headlines


def by_name(headline: str) -> dict[str, float]:
    return dict(zip(headlines.NAMES, headlines.traits([headline])[0].tolist(), strict=True))


def test_traits_by_eye() -> None:
    found = by_name("10 Things NASA Saw: 'Wow', she said. Why?")
    wanted = {
        "characters": 41.0,
        "words": 8.0,
        "question": 1.0,
        "exclamation": 0.0,
        "colon": 1.0,
        "commas": 1.0,
        "single_quotes": 1.0,
        "double_quotes": 0.0,
        "digits": 1.0,
        "starts_with_digit": 1.0,
        "shouted": 1.0,
        "sentences": 2.0,
        "ends_question": 1.0,
        "ends_full_stop": 0.0,
        "different_words": 1.0,
    }
    assert {name: found[name] for name in wanted} == wanted
    assert found["capitals"] == pytest.approx(4 / 8)


@pytest.mark.parametrize(
    ("headline", "trait"),
    [
        ("Wait for it…", "ellipsis"),
        ("The end", "starts_with_article"),
        ("Watch a bird", "starts_pointing"),
        ("How it went", "starts_asking"),
        ('He said "no"', "double_quotes"),
        ("A bird — a plane", "dash"),
        ("Save 5% (today)", "percent"),
        ("Save 5% (today)", "brackets"),
        ("It cost $5 #now", "dollar"),
        ("It cost $5 #now", "hash"),
        ("Stop!", "ends_exclamation"),
    ],
)
def test_a_mark_is_seen_where_it_is_and_nowhere_else(headline: str, trait: str) -> None:
    assert by_name(headline)[trait] == 1.0
    assert by_name("plain words here")[trait] == 0.0


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.text(max_size=500))
def test_any_text_has_traits_in_their_ranges(text: str) -> None:
    values = headlines.traits([text])[0]
    for trait, value in zip(headlines.TRAITS, values.tolist(), strict=True):
        assert trait.low is not None
        assert trait.high is not None
        assert trait.low <= value <= trait.high, trait.name


def test_no_headline_is_no_row() -> None:
    assert headlines.traits([]).shape == (0, len(headlines.NAMES))


def test_folding_forgets_case_blanks_apostrophes_and_the_shape_of_quotation_marks() -> None:
    assert headlines.folded("  It’s  “Fine” ") == headlines.folded('it\'s "fine"') == 'its "fine"'
    assert headlines.folded("It is fine") != headlines.folded("It is fine!")


@pytest.mark.parametrize("mark", [*"'`´", "\u02bc", "\u2019", "\u2018", "\u2032", "\uff07", "", "\u200b'", "'\ufe0f"])
def test_folding_forgets_every_apostrophe(mark: str) -> None:
    assert headlines.folded(f"Won{mark}t") == "wont"


@pytest.mark.parametrize(
    "unseen", ["\u200b", "\u00ad", "\u2060", "\ufeff", "\u034f", "\ufe0f", "\x00", "\u202e", "\U000e0101"]
)
def test_folding_drops_what_cannot_be_seen(unseen: str) -> None:
    assert headlines.folded(f"Cl{unseen}ick here") == "click here"


def test_folding_makes_wide_letters_plain_and_keeps_other_scripts() -> None:
    assert headlines.folded("\uff23\uff2c\uff29\uff23\uff2b\u3000here\u00a0\u2026\n") == "click here ..."
    assert headlines.folded("Новости Ёлки") == "новости ёлки"


def test_words_of_any_script() -> None:
    assert headlines.words(headlines.folded("Don’t: 10 “Новости” über_苹果")) == [
        "dont",
        "10",
        "новости",
        "über",
        "苹果",
    ]


def test_pieces_of_letters_and_of_words() -> None:
    letters = headlines.pieces(["abc", "abc abc", ""], 10, 3)
    assert letters.shape == (3, 1024)
    assert letters[[0]].nnz == letters[[1]].nnz == 7  # " a", "ab", "bc", "c ", " ab", "abc", "bc "
    assert np.allclose(letters[[1]].data, 1.0 + np.log(2.0))
    assert letters[[2]].nnz == 0
    words = headlines.pieces(["red house", "red red"], 10, 2, "words")
    assert (words[[0]].nnz, words[[1]].nnz) == (3, 2)


def test_a_repeated_headline_has_its_pieces_each_time() -> None:
    found = headlines.pieces(["red house", "blue", "red house"], 10, 3).toarray()
    assert (found[0] == found[2]).all()
    assert (found[[0, 1]] == headlines.pieces(["red house", "blue"], 10, 3).toarray()).all()
