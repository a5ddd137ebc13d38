"""Each rule of the newsroom wins over the model, says its name, and gives way where it should."""

from __future__ import annotations

import msgspec
import pandas as pd
import pytest

from configs.load import load
from models.contract import Decided, Proposal, configure, find
from models.kit import headlines, newsroom
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


@pytest.mark.parametrize(
    "headline",
    [
        "You Won’t Believe What Bees Do",
        "Why you won't  believe it",
        "CLICK HERE now",
        "You won\u02bct believe this",
        "You won\u2032t believe this",
        "You wont believe this",
        "You won't\u200b be\u00adlieve this",
        "\uff23\uff2c\uff29\uff23\uff2b \uff28\uff25\uff32\uff25 now",
    ],
)
def test_a_banned_phrase_is_found_however_it_is_written(headline: str) -> None:
    decided = fill(Package(id="bait", headline=headline), PLAIN)
    assert (decided.items, decided.overruled) == (("plain",), ("blocked_phrase",))


def test_a_phrase_of_marks_only_bans_nothing() -> None:
    odd = msgspec.structs.replace(POLICY, blocked_phrases=("'''",))
    assert fill(PLAIN, policy=odd).overruled == ()


def test_the_worse_of_two_twins_is_left_out() -> None:
    again = Package(id="again", headline="a bridge was built TWICE!")
    decided = fill(PLAIN, again)
    assert (decided.items, decided.overruled) == (("plain",), ("twin",))
    assert (
        fill(PLAIN, msgspec.structs.replace(again, image="dawn")).overruled == ()
    )  # another picture is another package
    assert fill(PLAIN, Package(id="far", headline="A bridge was never built")).overruled == ()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Новости Apple: акции упали", "Как работает Apple"),
        ("5 причин любить осень", "5 советов садоводу"),
        ("苹果公司 iPhone 销量下降", "我为什么买 iPhone"),
    ],
)
def test_headlines_of_other_scripts_are_twins_by_all_their_words(one: str, two: str) -> None:
    assert fill(Package(id="a", headline=one), Package(id="b", headline=two)).overruled == ()
    assert fill(Package(id="a", headline=one), Package(id="b", headline=f"{one}!")).overruled == ("twin",)


def test_each_headline_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are to compare it with, and however many phrases are banned."""
    read: list[str] = []
    real = headlines.folded

    def counted(text: str) -> str:
        read.append(text)
        return real(text)

    monkeypatch.setattr(headlines, "folded", counted)
    slate = [Package(id=str(at), headline=f"Story number {at} of {at * 7}") for at in range(50)]
    fill(*slate)
    fill(*slate)
    assert {read.count(one.headline) for one in slate} == {2}
    assert all(read.count(phrase) <= 1 for phrase in POLICY.blocked_phrases)


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
