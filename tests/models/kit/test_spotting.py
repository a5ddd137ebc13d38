"""A spotter with two n-grams whose margin is counted by hand, its file, and damaged files."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from errors import TamperError
from models.kit import spotting
from models.kit.spotting import Curve, Fitted, View

CURVE = Curve(steepness=1.0, offset=0.0, marked=0.5, quarantined=0.9)


def spotter(scaled: bool = True) -> Fitted:
    view = View("words", {"lunch": 0, "prize": 1}, np.array([2.0, 2.0]), np.array([-3.0, 4.0]))
    return Fitted(views=(view,), bias=-1.0, curve=CURVE, scaled=scaled)


def margin(text: str, fitted: Fitted) -> float:
    likely = float(spotting.probabilities(fitted, [text])[0])
    return math.log(likely / (1 - likely))


def test_margins_by_hand() -> None:
    assert margin("prize", spotter()) == pytest.approx(3.0)  # one n-gram of length one
    assert margin("lunch prize", spotter()) == pytest.approx(-1.0 + 1.0 / math.sqrt(2))
    assert margin("something else", spotter()) == pytest.approx(-1.0)
    assert margin("prize prize lunch", spotter(scaled=False)) == pytest.approx(0.0)  # presence only
    once, twice = 1.0, 1.0 + math.log(2)
    assert margin("prize prize lunch", spotter()) == pytest.approx(
        -1 + (4 * twice - 3 * once) / math.hypot(once, twice)
    )


def test_the_stand_in_of_one_sign() -> None:
    found = spotting.probabilities(spotting.one_sign(), ["call 00000", "hello"])
    assert (found >= 0.5).tolist() == [True, False]


def test_alone_as_among_others_to_the_last_bit() -> None:
    given = ["prize", "lunch prize", "", "nothing", "prize prize lunch lunch lunch"]
    together = spotting.probabilities(spotter(), given)
    assert together.tolist() == [spotting.probabilities(spotter(), [text])[0] for text in given]
    assert spotting.probabilities(spotter(), []).shape == (0,)


def test_the_file_answers_the_same() -> None:
    loaded = spotting.load(spotting.dump(spotter()))
    assert spotting.dump(loaded) == spotting.dump(spotter())
    assert margin("lunch prize", loaded) == margin("lunch prize", spotter())
    assert spotting.load(spotting.dump(spotting.one_sign())).sign == spotting.SIGN


def test_files_that_do_not_fit_together_are_refused() -> None:
    files = spotting.dump(spotter())
    plain = msgspec.json.decode(files["fitted.json"])
    longer = {**plain, "views": [{"look": "words", "grams": ["lunch", "prize", "won"]}]}
    other = {**plain, "views": [{"look": "pictures", "grams": ["lunch", "prize"]}]}
    limits: list[dict[str, float]] = [
        {"quarantined": -1},
        {"quarantined": 1.5},
        {"marked": -0.1},
        {"quarantined": 0.4},
        {"steepness": -1.0},
    ]
    curves = [{**plain, "curve": dict(plain["curve"], **change)} for change in limits]
    for wrong in (longer, other, {**plain, "curve": {}}, {**plain, "more": 1}, *curves):
        with pytest.raises(TamperError, match="spam model"):
            spotting.load({**files, "fitted.json": msgspec.json.encode(wrong)})
