"""The answer path: who answers, who answers instead, and what is no answer."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from checks.plans import RULES_ARM
from errors import ModelError
from models import contract
from models.contract import Decided, Proposal
from models.recommendation import Policy, Request
from records import Arm, ReleasePlan
from serving.answer import Choice, answer, choose, opponent, resolve, rules
from serving.runner import Runner
from serving.view import Loaded, View
from tests.stores.ledger.world import NOON, arm

MODEL = contract.find("recommendation")
POLICY = Policy(withdrawn_after_days=90, max_per_family=2, max_items=100)
V1, V2 = arm(1), arm(2)


def content(of: Arm) -> str:
    assert of.artifact
    return of.artifact.content


def loaded(of: Arm) -> Loaded:
    runner = Runner(of.name, 1, 1)
    assert of.features
    return Loaded(
        number=of.number, name=of.name, content=content(of), fitted=None, index=None, features=of.features, policy=POLICY,
        manifest=None, live=runner, beside=runner,  # type: ignore[arg-type]  # nobody reads the manifest here
    )  # fmt: skip


def view(*have: Arm, **plan: Any) -> View:
    fields = {"champion": V1, "previous": RULES_ARM, "mode": "model", "salt": "s", **plan}
    made = ReleasePlan(model="recommendation", revision=3, reason="", actor="", created_at=NOON, **fields)
    return View(model=MODEL, plan=made, policy=POLICY, loaded={content(one): loaded(one) for one in have}, max_age=10.0)


def who(choice: Choice) -> tuple[str, int, str]:
    return choice.arm, choice.version, choice.override


def test_rules_look_up_the_features_of_the_first_that_is_loaded() -> None:
    behind = view(V2, champion=V1, previous=V2).behind_rules
    assert behind is not None
    assert behind.name == V2.name
    assert view().behind_rules is None
    assert view(V1, previous=V2).loaded_arms.keys() == {"champion"}


def test_features_are_too_old_past_a_limit_only() -> None:
    one, later = view(V1), NOON + timedelta(hours=30)
    assert one.too_old(24, later) == ["champion: features are 30.0 h old"]
    assert one.too_old(30, later) == []
    assert one.too_old(0, later + timedelta(days=9999)) == []


def test_the_champion_answers() -> None:
    assert who(choose(view(V1), "k", 0.0)) == ("champion", 1, "")


def test_the_canary_answers_its_share_and_the_rest_stays() -> None:
    at = view(V1, V2, canary=V2, canary_percent=50.0)
    arms = [choose(at, f"key{n}", 0.0).arm for n in range(1000)]
    assert set(arms) == {"canary", "champion"}
    assert 400 < arms.count("canary") < 600


def test_a_plan_unconfirmed_for_too_long_has_no_canary() -> None:
    at = view(V1, V2, canary=V2, canary_percent=100.0)
    assert who(choose(at, "k", 10.0)) == ("canary", 2, "")
    assert who(choose(at, "k", 10.1)) == ("champion", 1, "stale")
    assert who(choose(replace(at, confirmed_at=5.0), "k", 15.0)) == ("canary", 2, "")


def test_the_break_glass_file_wins_over_everything() -> None:
    assert who(choose(view(V1), "k", 0.0, forced=True)) == ("rules", 0, "break_glass")


def test_rules_mode_needs_nothing() -> None:
    assert who(choose(view(mode="rules"), "k", 0.0)) == ("rules", 0, "")


def test_a_champion_that_is_the_rules() -> None:
    assert who(choose(view(champion=RULES_ARM, previous=None), "k", 0.0)) == ("champion", 0, "")


@pytest.mark.parametrize(
    ("have", "tripped", "expected"),
    [
        ((V1,), (), ("champion", 1, "not_loaded")),
        ((V1, V2), (V2,), ("champion", 1, "tripped")),
        ((), (), ("previous", 0, "not_loaded")),
        ((V1, V2), (V1, V2), ("previous", 0, "tripped")),
    ],
)
def test_who_answers_for_a_canary_that_cannot(have: tuple[Arm], tripped: tuple[Arm], expected: object) -> None:
    at = view(*have, canary=V2, canary_percent=100.0)
    at = replace(at, tripped=frozenset(map(content, tripped)))
    assert who(choose(at, "k", 0.0)) == expected


def test_the_rules_stand_behind_all() -> None:
    assert who(resolve(view(previous=None), "champion")) == ("rules", 0, "not_loaded")
    assert who(resolve(view(previous=V2), "champion")) == ("rules", 0, "not_loaded")


def test_who_is_scored_beside_whom() -> None:
    shadow = view(V1, V2, canary=V2)
    assert [who(one) for one in [opponent(shadow, "champion"), opponent(shadow, "canary")] if one] == [
        ("canary", 2, ""),
        ("champion", 1, ""),
    ]
    after = view(V1, control=RULES_ARM, control_percent=2.0)
    beside = opponent(after, "champion")
    assert beside is not None
    assert who(beside) == ("control", 0, "")
    assert opponent(view(V1), "champion") is None
    assert opponent(view(V1, V2, canary=V2, control=RULES_ARM), "control") is None
    assert opponent(view(V1, V2, canary=V2, mode="rules"), "rules") is None


def test_an_arm_that_is_not_loaded_or_was_dropped_is_nobody_s_opponent() -> None:
    assert opponent(view(V1, canary=V2), "champion") is None
    dropped = replace(view(V1, V2, canary=V2), tripped=frozenset([content(V2)]))
    assert opponent(dropped, "champion") is None


def test_the_rules_answer_without_an_artifact() -> None:
    assert rules(view(mode="rules"), [Request(), Request(k=3)]) == [Decided(), Decided()]


class Odd:
    """A model that answers as it is told to."""

    JUDGE = "paired"

    def __init__(self, proposals: list[Proposal], decided: list[Decided]) -> None:
        self._proposals, self._decided = proposals, decided

    def predict(self, *_: Any) -> list[Proposal]:
        return self._proposals

    def decide(self, *_: Any) -> list[Decided]:
        return self._decided


@pytest.mark.parametrize(
    ("proposals", "decided", "what"),
    [
        ([], [Decided()], "proposals"),
        ([Proposal()], [Decided(), Decided()], "decisions"),
        ([Proposal()], [Decided(items=("a",), scores=(float("nan"),))], "finite"),
        ([Proposal()], [Decided(items=("a",), scores=(np.float32(0.5),))], "plain numbers"),  # type: ignore[arg-type]
        ([Proposal()], [Decided(items=(b"a", object()))], "plain numbers"),  # type: ignore[arg-type]
        ([Proposal()], [Decided(items=("\ud800",))], "plain numbers"),
        ([Proposal()], [Decided(value=float("inf"))], "finite"),
    ],
)
def test_what_is_no_answer_is_a_failure(proposals: list[Proposal], decided: list[Decided], what: str) -> None:
    at = replace(view(V1), model=Odd(proposals, decided))
    with pytest.raises(ModelError, match=what):
        answer(at, at.loaded[content(V1)], [Request()])
