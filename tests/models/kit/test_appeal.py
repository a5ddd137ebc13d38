"""The learner on tests whose answer is visible by eye: headlines with a question are clicked twice as often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pandas as pd
import pytest

from configs.load import load
from errors import ModelError, TamperError
from models.contract import configure, find
from models.kit import appeal, contests, headlines

NOW = datetime(2014, 1, 5, tzinfo=UTC)
LEARNER = msgspec.structs.replace(configure(find("ranking"), load().models["ranking"])[0].learner, bits=10)
NOUNS = ["river", "bridge", "garden", "window", "letter", "market", "forest", "island", "mirror", "ladder"]


def town(tests: int = 60) -> pd.DataFrame:
    """Each test has a plain headline and a question; every other week has ten times the clicks of the one before."""
    rows = []
    for at in range(tests):
        noun, busy = f"{NOUNS[at % 10]} {NOUNS[at // 10 % 10]}", 10 if at % 2 else 1
        for kind, (text, clicks) in enumerate(((f"The old {noun} is here", 20), (f"Would you cross the {noun}?", 40))):
            rows.append(
                (f"t{at:03d}", f"p{at:03d}{kind}", text, 10_000, clicks * busy, NOW - timedelta(days=7 * (at % 4)))
            )
    columns = ["test_id", "package", "headline", "impressions", "clicks", "tested_until"]
    return pd.DataFrame(rows, columns=columns).assign(image=None)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return contests.features(town(), NOW + timedelta(days=1), 28)


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> appeal.Fitted:
    return appeal.fit(frame, LEARNER)


def test_the_question_wins_on_words_it_never_saw(fitted: appeal.Fitted) -> None:
    plain, asked = appeal.score(fitted, ["The old harbour is here", "Would you cross the harbour?"])
    assert asked - plain > 1.0


def test_words_alone_learn_it_too_and_length_does_not_learn(frame: pd.DataFrame) -> None:
    plain, asked = appeal.score(appeal.fit_words(frame, LEARNER), ["The old harbour", "Would you cross?"])
    assert asked > plain
    assert appeal.score(appeal.Fitted(kind="length"), ["abc", "ab"]).tolist() == [3.0, 2.0]


def test_a_score_does_not_hang_on_its_neighbours(fitted: appeal.Fitted) -> None:
    texts = [f"Would the {noun} answer?" for noun in NOUNS]
    together = appeal.score(fitted, texts)
    assert together.tolist() == [appeal.score(fitted, [text])[0] for text in texts]
    assert together.tolist() == appeal.score(fitted, texts[::-1])[::-1].tolist()


def test_the_quick_way_to_score_is_the_product_it_stands_for(fitted: appeal.Fitted) -> None:
    texts = ["Would you cross the river?", "?", "The old bridge is here"]
    counted = headlines.pieces(texts, 10, fitted.longest)
    idf, coefficients = fitted.arrays["idf"], fitted.arrays["pieces"]
    slow = appeal._weighed(counted, idf) @ coefficients
    np.testing.assert_allclose(appeal._worth(counted, idf, coefficients), slow, rtol=1e-12)


def test_the_fortune_of_a_test_teaches_nothing_about_its_texts() -> None:
    """Ten times the readers of a whole test, with as many clicks: its rates fall alike, and so the same is learned."""
    table = town()
    even = contests.features(table, NOW + timedelta(days=1), 28)
    seen = table["impressions"].where(table["test_id"] < "t030", 100_000)
    moved = contests.features(table.assign(impressions=seen), NOW + timedelta(days=1), 28)
    texts = ["The old harbour is here", "Would you cross the harbour?"]
    ours, theirs = (appeal.score(appeal.fit(frame, LEARNER), texts) for frame in (even, moved))
    assert np.ptp(ours) == pytest.approx(np.ptp(theirs), rel=0.02)


def test_traits_can_be_left_out(frame: pd.DataFrame) -> None:
    without = appeal.fit(frame, msgspec.structs.replace(LEARNER, traits_weight=0.0))
    assert not without.arrays["traits"].any()
    assert without.arrays["pieces"].any()


def test_too_little_to_learn_from(frame: pd.DataFrame) -> None:
    with pytest.raises(ModelError, match="50 packages"):
        appeal.fit(frame.head(10), LEARNER)
    with pytest.raises(ModelError, match="50 packages"):
        appeal.fit_words(frame.head(10), LEARNER)


def test_headlines_that_are_all_alike_teach_nothing(frame: pd.DataFrame) -> None:
    fitted = appeal.fit(frame.assign(headline="The same"), LEARNER)
    assert np.isfinite(appeal.score(fitted, ["The same", "Another"])).all()


def test_other_traits_or_another_file_are_refused(fitted: appeal.Fitted) -> None:
    files = appeal.dump(fitted)
    assert appeal.dump(appeal.load(files)) == files
    with pytest.raises(TamperError, match="digests"):
        appeal.load({**files, "idf.npy": files["pieces.npy"]})
    head = msgspec.json.decode(files["model.json"])
    with pytest.raises(TamperError, match="traits"):
        appeal.load({**files, "model.json": msgspec.json.encode(head | {"traits": ["mood"]})})
