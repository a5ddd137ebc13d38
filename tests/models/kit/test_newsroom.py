"""Each rule of the newsroom wins over the model, says its name, and gives way where it should."""

from __future__ import annotations

import msgspec
import pandas as pd
import pytest

from configs.load import load
from models.contract import Decided, Proposal, configure, find
from models.kit import newsroom
from models.kit.newsroom import Index, Package

POLICY = configure(find("ranking"), load().models["ranking"])[1]
LATELY = Index(words=frozenset({"bees", "know"}), lately=frozenset({"what bees know"}))


def fill(*packages: Package, places: int = 50, known: Index | None = None, policy: newsroom.Policy = POLICY) -> Decided:
    """The model proposes the packages in the order given."""
    scores = tuple(1.0 - at / 10 for at in range(len(packages)))
    return newsroom.fill(
        Proposal(items=tuple(one.id for one in packages), scores=scores), packages, places, known, policy
    )


PLAIN = Package(id="plain", headline="A bridge was built twice")


def test_without_a_reason_nothing_changes() -> None:
    other = Package(id="other", headline="She asked one question")
    assert fill(PLAIN, other) == Decided(items=("plain", "other"), scores=(1.0, 0.9))


def test_what_the_editor_withholds_is_not_shown() -> None:
    best = Package(id="best", headline="The best of all", withheld=True)
    assert fill(best, PLAIN) == Decided(items=("plain",), scores=(0.9,), overruled=("withheld",))
    assert fill(best) == Decided(items=(), scores=(), overruled=("withheld",))  # not even when nothing else is left


@pytest.mark.parametrize("headline", ["You Won’t Believe What Bees Do", "Why you won't  believe it", "CLICK HERE now"])
def test_a_banned_phrase_is_found_however_it_is_written(headline: str) -> None:
    decided = fill(Package(id="bait", headline=headline), PLAIN)
    assert (decided.items, decided.overruled) == (("plain",), ("blocked_phrase",))


def test_the_worse_of_two_twins_is_left_out() -> None:
    again = Package(id="again", headline="a bridge was built TWICE!")
    decided = fill(PLAIN, again)
    assert (decided.items, decided.overruled) == (("plain",), ("twin",))
    assert (
        fill(PLAIN, msgspec.structs.replace(again, image="dawn")).overruled == ()
    )  # another picture is another package
    assert fill(PLAIN, Package(id="far", headline="A bridge was never built")).overruled == ()


def test_headlines_without_a_word_are_twins_when_they_are_equal() -> None:
    assert fill(Package(id="a", headline="?!"), Package(id="b", headline="?!")).overruled == ("twin",)
    assert fill(Package(id="a", headline="?!"), Package(id="b", headline="…")).overruled == ()


def test_nobody_is_shouted_at_unless_nothing_else_is_left() -> None:
    loud = Package(id="loud", headline="THIS BRIDGE FELL DOWN")
    assert fill(loud, PLAIN).overruled == ("shouting",)
    assert fill(loud) == Decided(items=("loud",), scores=(1.0,))


def test_what_was_shown_lately_stands_back_unless_nothing_else_is_left() -> None:
    shown = Package(id="shown", headline="What Bees Know")
    decided = fill(shown, PLAIN, known=LATELY)
    assert (decided.items, decided.overruled) == (("plain",), ("shown_lately",))
    assert fill(shown, known=LATELY).items == ("shown",)
    assert fill(shown, PLAIN).overruled == ()  # without a snapshot nobody knows


def test_no_more_places_than_asked_for_or_than_the_house_shows() -> None:
    three = [Package(id=f"p{at}", headline=f"Story number {word}") for at, word in enumerate(("one", "two", "three"))]
    assert fill(*three, places=2) == Decided(items=("p0", "p1"), scores=(1.0, 0.9))
    few = msgspec.structs.replace(POLICY, max_places=1)
    assert fill(*three, policy=few) == Decided(items=("p0",), scores=(1.0,), overruled=("max_places",))
    assert fill(*three, places=1, policy=few).overruled == ()  # nobody asked for more


def test_an_index_knows_words_and_what_is_recent() -> None:
    frame = pd.DataFrame({"headline": ["What Bees know", "Old news"], "recent": [True, False]})
    made = newsroom.index(frame)
    assert made.words == {"what", "bees", "know", "old", "news"}
    assert made.lately == {"what bees know"}


def test_a_slate_by_eye() -> None:
    slate = (
        Package(id="a", headline="Bees know?", image="x"),
        Package(id="b", headline="10 wasps", image="x"),
        Package(id="c", headline="Bees know?"),
    )
    found = newsroom.observe(LATELY, [slate, [Package(id="d", headline="!?")]])
    first = found.iloc[0]
    assert first[["packages", "headlines", "images"]].tolist() == [3, 2, 1]
    assert first["question"] == pytest.approx(2 / 3)
    assert first["digits"] == pytest.approx(1 / 3)
    assert first["strange"] == pytest.approx(2 / 6)  # "10" and "wasps"
    assert pd.isna(found.iloc[1]["strange"])
