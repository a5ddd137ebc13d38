"""What is learned: what everybody expects of trust, limits at both ends, files that are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from configs.load import load
from errors import TamperError
from models.kit import trust
from models.kit.contributors import NUMBERS
from models.kit.trust import Fitted, Learner, Lessons

LEARNER = msgspec.convert(load().models["reputation"].params["learner"], Learner)
SMALL = msgspec.structs.replace(LEARNER, trees=60)
LOGISTIC = msgspec.structs.replace(LEARNER, kind="logistic", ridge=1.0)


def lessons(rows: int = 800) -> Lessons:
    """The more posts and the less silence, the likelier; all else is noise."""
    rng = np.random.default_rng(3)
    seen = rng.gamma(1.0, 3.0, (rows, len(NUMBERS)))
    logits = seen[:, NUMBERS.index("posts")] - seen[:, NUMBERS.index("silent_days")]
    return Lessons(seen=seen, again=rng.random(rows) < 1 / (1 + np.exp(-logits)), weights=np.ones(rows))


@pytest.fixture(scope="module", params=["trees", "logistic"])
def fitted(request: pytest.FixtureRequest) -> Fitted:
    return trust.learn(lessons(), SMALL if request.param == "trees" else LOGISTIC, seed=1)


def test_it_learns_what_is_there(fitted: Fitted) -> None:
    found, other = trust.probabilities(fitted, lessons().seen), lessons()
    assert found[other.again].mean() > found[~other.again].mean() + 0.2
    assert ((found > 0) & (found < 1)).all()
    assert trust.probabilities(fitted, other.seen[:0]).tolist() == []


@pytest.mark.parametrize("name", [name for name, way in trust.INPUTS.items() if way])
def test_more_activity_never_lowers_the_trees(name: str) -> None:
    grown = trust.learn(lessons(), SMALL, seed=1)
    rows = np.repeat(lessons().seen[:40], 25, axis=0)
    rows[:, NUMBERS.index(name)] = np.tile(np.linspace(0, 40, 25), 40)
    steps = np.diff(trust.probabilities(grown, rows).reshape(40, 25), axis=1) * trust.INPUTS[name]
    assert (steps >= -1e-12).all()


def test_limits_hold_so_many_at_either_end(fitted: Fitted) -> None:
    newest = lessons(400).seen
    limited = trust.limited(fitted, newest, 0.05, 0.1)
    found = trust.probabilities(fitted, newest)
    assert (found >= limited.trusted_from).sum() == pytest.approx(20, abs=3)
    assert (found < limited.distrusted_below).sum() == pytest.approx(40, abs=6)
    assert limited.everyone == pytest.approx(found.mean())
    assert (found >= trust.limited(fitted, newest, 0.0, 0.0).trusted_from).sum() >= 1


def test_one_row_answers_as_among_many(fitted: Fitted) -> None:
    rows = lessons(50).seen
    alone = np.concatenate([trust.probabilities(fitted, rows[at : at + 1]) for at in range(len(rows))])
    assert np.array_equal(alone, trust.probabilities(fitted, rows))


def test_files_that_do_not_fit_together_are_refused(fitted: Fitted) -> None:
    files = trust.dump(fitted)
    assert trust.dump(trust.load(files)) == files
    head = msgspec.json.decode(files[trust.MODEL])
    changes: list[dict[str, Any]] = [{"inputs": ["posts", "shoe_size"]}, {"inputs": []}, {"kind": "oracle"}]
    changes += [{"trusted_from": -1.0}, {"trusted_from": 1.5}, {"distrusted_below": -0.1}, {"everyone": 2.0}]
    for change in changes:
        with pytest.raises(TamperError):
            trust.load({**files, trust.MODEL: msgspec.json.encode({**head, **change})})
    if fitted.kind == "logistic":
        with pytest.raises(TamperError, match="a figure for each input"):
            trust.load({trust.MODEL: msgspec.json.encode({**head, "scales": [1.0]})})
    else:
        with pytest.raises(TamperError, match="of digest"):
            trust.load({**files, trust.TREES: files[trust.TREES] + b"\n"})
