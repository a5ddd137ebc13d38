"""The decision table over all combinations and roles, against design section 9 written out here once more."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from checks.facts import Facts, Judged, Limits, Standing
from checks.policy import derived_again, evaluate, facts_of, is_over, retrain_refused, row_of, rule, taken_back
from configs.load import load
from configs.schema import ROLES, Action, Corruption
from records import RULES, Answered, Fell, Finding, Role, Ruling
from tests.stores.ledger.world import MODEL, NOON

TABLE = load().decisions
ANSWERS: tuple[Answered, ...] = get_args(Answered)
COMBINATIONS: list[tuple[Corruption, Answered, Fell]] = list(product(get_args(Corruption), ANSWERS, get_args(Fell)))
Expected = tuple[str, set[Action]]


def designed(role: Role, corruption: Corruption, drift: Answered, kpi: Fell) -> Expected:
    """Design section 9, in prose order: level and what is done by itself. A canary is taken back where a champion is
    rolled back; the rules have nothing to go back to and nothing to retrain."""
    back: dict[Role, set[Action]] = {"canary": {"take_back"}, "champion": {"rollback"}, "rules": set()}
    if corruption in {"stream", "journal", "snapshot"} and role == "canary":  # decision 084: nobody else's
        return "emergency", {"freeze", "take_back", "incident"}
    if corruption in {"stream", "journal", "snapshot"}:
        return "emergency", {"freeze", "fallback", "incident"}
    rules: set[Action] = {"fallback", "incident"} if role == "champion" else {"incident"} if role == "rules" else set()
    if kpi == "both" and corruption == "batch":  # decision 131: nobody is rolled back to what fell as well
        return "emergency", {"freeze", *rules}
    if kpi == "both" and (corruption, drift) == ("no", "yes"):
        return "critical", rules | ({"freeze", "retrain"} if role == "champion" else {"freeze"})
    if kpi == "both":
        return "critical", rules
    if corruption == "batch":
        fell: set[Action] = back[role] | {"incident"} if kpi == "yes" else set()  # decision 084: a drop all the same
        return "emergency", {"freeze", *fell}
    if kpi == "yes" and drift == "yes" and corruption == "no":
        cure: set[Action] = {"retrain"} if role == "champion" else set()
        return "critical", back[role] | cure | {"freeze", "incident"}
    if kpi == "yes":  # decision 084: also while nobody can say whether something is corrupt
        return "critical", back[role] | {"incident"}
    if drift == "yes" and corruption == "no":
        return "warning", {"freeze"}
    if (corruption, drift) == ("no", "no"):  # decision 084: also while the KPI is undecided
        return "ok", set() if role == "canary" else {"unfreeze"}
    return "inconclusive", set()


def test_there_are_as_many_combinations_as_there_should_be() -> None:
    assert len(COMBINATIONS) == 6 * 3 * 4
    assert set(ROLES) == {"canary", "champion", "rules"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("corruption", "drift", "kpi"), COMBINATIONS)
def test_the_table_says_what_was_designed(role: Role, corruption: Corruption, drift: Answered, kpi: Fell) -> None:
    found = evaluate(TABLE, role, corruption, drift, kpi)
    assert (found.level, set(found.actions)) == designed(role, corruption, drift, kpi)
    assert found.asked


@pytest.mark.parametrize(("corruption", "drift", "kpi"), COMBINATIONS)
def test_drift_alone_never_retrains_and_a_retraining_is_never_silent(
    corruption: Corruption, drift: Answered, kpi: Fell
) -> None:
    for role in ROLES:
        found = evaluate(TABLE, role, corruption, drift, kpi)
        if "retrain" in found.actions:
            assert (corruption, drift, kpi in {"yes", "both"}) == ("no", "yes", True)
            assert "incident" in found.actions


# ---- from facts to a ruling -----------------------------------------------------------------------

LIMITS = Limits(clean_windows=3, cool_down_hours=72.0, max_per_quarter=3)
STANDING = Standing(
    mode="model", frozen=False, frozen_for="", name="v2", previous="v1", canary="", control="v1", voting=False
)


def finding(kind: str, answer: str, where: str = "") -> Finding:
    return Finding(
        id=f"{kind}-{answer}",
        model=MODEL,
        kind=kind,  # type: ignore[arg-type]  # one of the four
        answer=answer,  # type: ignore[arg-type]  # one of the three
        where=where,  # type: ignore[arg-type]  # one of the places
        version=2,
        window_start=NOON - timedelta(days=1),
        window_end=NOON,
        reason=f"{kind} {answer}",
        figures={"psi": 0.25, "share": 0},
        found_at=NOON,
        expires_at=NOON + timedelta(hours=2),
    )


def judgement(state: str = "watching", kpi: str = "inconclusive") -> Judged:
    return Judged(
        verdict="verdict-1",
        state=state,
        kpi=kpi,  # type: ignore[arg-type]  # one of the three
        reason=f"the judge says {state}",
        effect=-0.1,
        low=-0.2,
        high=-0.06,
        matured=4000,
        since=NOON,
    )


def facts(*findings: Finding, **changes: Any) -> Facts:
    made = Facts(
        model=MODEL,
        role="champion",
        revision=7,
        version=2,
        findings=findings,
        judged=None,
        standing=STANDING,
        clean=(),
        requested=(),
        silent=(),
        before="",
        limits=LIMITS,
        at=NOON,
    )
    return replace(made, **changes)


def found(corruption: str = "no", drift: str = "no", kpi: str = "no") -> list[Finding]:
    where = corruption if corruption in {"stream", "journal", "snapshot"} else ""
    return [finding("corruption", "yes" if where else corruption, where), finding("drift", drift), finding("kpi", kpi)]


def ruled(*findings: Finding, **changes: Any) -> Ruling:
    return rule(facts(*findings, **changes), TABLE)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([], ("undecided", "undecided", "undecided")),
        (found(), ("no", "no", "no")),
        (found("stream", "yes", "undecided"), ("stream", "yes", "undecided")),
        ([*found(), finding("batch", "yes", "batch")], ("batch", "no", "no")),
        ([*found("snapshot"), finding("batch", "yes", "batch")], ("snapshot", "no", "no")),
        ([finding("batch", "yes", "batch")], ("batch", "undecided", "undecided")),
        ([finding("batch", "no")], ("undecided", "undecided", "undecided")),
        ([*found(), finding("level", "yes")], ("no", "no", "both")),
        ([*found(kpi="undecided"), finding("level", "yes")], ("no", "no", "both")),
        ([*found(kpi="yes"), finding("level", "yes")], ("no", "no", "yes")),  # its control beats it: that leads back
        ([*found(), finding("level", "no")], ("no", "no", "no")),
        ([*found(kpi="undecided"), finding("level", "no")], ("no", "no", "undecided")),
        ([finding("level", "yes")], ("undecided", "undecided", "both")),
    ],
)
def test_the_three_inputs(findings: list[Finding], expected: tuple[str, str, str]) -> None:
    ruling = ruled(*findings)
    assert (ruling.corruption, ruling.drift, ruling.kpi) == expected


def test_the_judges_drop_counts_whatever_the_finding_says_and_its_silence_does_not() -> None:
    assert ruled(*found(), judged=judgement("kpi_drop", "drop")).kpi == "yes"
    assert ruled(judged=judgement("kpi_drop", "drop")).row == "drop"
    assert ruled(judged=judgement("watching", "pass")).kpi == "undecided"
    assert ruled(judged=judgement("sample_ratio", "drop")).kpi == "undecided"  # the comparison is in doubt


def test_what_has_no_effect_is_left_out_or_replaced_and_said() -> None:
    bad = found(drift="yes", kpi="yes")
    assert ruled(*bad).actions == ("rollback", "freeze", "retrain", "incident")
    nowhere = ruled(*bad, standing=replace(STANDING, previous=""))
    assert nowhere.actions == ("fallback", "freeze", "retrain", "incident")
    assert "there is no previous version" in nowhere.reason
    frozen = replace(STANDING, frozen=True, frozen_for="drift")
    assert ruled(*bad, standing=frozen).actions == ("rollback", "retrain", "incident")
    assert ruled(*found(drift="yes"), standing=frozen).actions == ()
    assert ruled(*found("stream"), standing=frozen).actions == ("fallback", "freeze", "incident")


def test_a_state_that_goes_on_opens_no_second_incident() -> None:
    rules = replace(STANDING, mode="rules", frozen=True, frozen_for="corruption", canary="", control="")
    again = {"role": "rules", "version": RULES, "standing": rules}
    assert ruled(*found("stream"), before="", **again).actions == ("incident",)
    assert ruled(*found("stream"), before="corrupt", **again).actions == ()


@pytest.mark.parametrize(
    ("changes", "lifted", "said"),
    [
        ({"clean": (NOON,) * 3}, True, ""),
        ({"clean": (NOON,) * 2}, False, "2 so far"),
        ({"clean": (NOON,) * 3, "frozen_for": "corruption"}, False, ""),
        ({"clean": (NOON,) * 3, "frozen_for": ""}, False, ""),
        ({"clean": (NOON,) * 3, "frozen": False, "frozen_for": ""}, False, ""),
        ({"clean": (NOON,) * 3, "voting": True}, False, "ballot is open"),
    ],
)
def test_when_a_freeze_is_lifted(changes: dict[str, Any], lifted: bool, said: str) -> None:
    clean = changes.pop("clean")
    stands = replace(STANDING, **{"frozen": True, "frozen_for": "drift", **changes})
    ruling = ruled(*found(), clean=clean, standing=stands)
    assert ("unfreeze" in ruling.actions) is lifted
    assert said in ruling.reason


@pytest.mark.parametrize(
    ("hours", "why"),
    [
        ([], ""),
        ([71.9], "cool-down"),
        ([72], ""),
        ([100, 200, 300], "3 in the last 91 days"),
        ([100, 200, 91 * 24], ""),
    ],
)
def test_how_often_a_retraining_may_be_asked_for(hours: list[float], why: str) -> None:
    refused = retrain_refused(facts(requested=tuple(NOON - timedelta(hours=one) for one in hours)))
    assert why in refused
    assert bool(refused) is bool(why)


def test_a_clock_that_went_back_asks_as_if_the_later_request_had_not_been() -> None:
    assert retrain_refused(facts(requested=(NOON + timedelta(hours=1),))) == ""


FINDINGS = st.tuples(
    st.sampled_from([None, *(finding("corruption", one) for one in ANSWERS), finding("corruption", "yes", "stream")]),
    st.sampled_from([None, *(finding("drift", one) for one in ANSWERS)]),
    st.sampled_from([None, *(finding("kpi", one) for one in ANSWERS)]),
    st.sampled_from([None, finding("batch", "yes", "batch"), finding("batch", "no")]),
    st.sampled_from([None, *(finding("level", one) for one in ANSWERS)]),
).map(lambda some: tuple(one for one in some if one is not None))
STANDINGS = st.builds(
    Standing,
    mode=st.sampled_from(["model", "rules"]),
    frozen=st.booleans(),
    frozen_for=st.sampled_from(["", "drift", "corruption", "batch"]),
    name=st.just("v2"),
    previous=st.sampled_from(["", "v1"]),
    canary=st.sampled_from(["", "v3"]),
    control=st.sampled_from(["", "v1"]),
    voting=st.booleans(),
)
ANY_FACTS = st.builds(
    facts,
    role=st.sampled_from(ROLES),
    judged=st.sampled_from([None, judgement(), judgement("kpi_drop", "drop"), judgement("watching", "pass")]),
    standing=STANDINGS,
    clean=st.sampled_from([(), (NOON,) * 3]),
    requested=st.sampled_from([(), (NOON - timedelta(hours=1),), (NOON - timedelta(days=10),) * 3]),
    silent=st.sampled_from([(), ("kpi",)]),
    before=st.sampled_from(["", *(row.name for row in TABLE.rows)]),
)


@given(ANY_FACTS, FINDINGS)
def test_every_ruling_is_sound_and_derived_again_from_what_is_stored(one: Facts, findings: tuple[Finding, ...]) -> None:
    one = replace(one, findings=findings)
    ruling = rule(one, TABLE)
    stored = Ruling.from_json(ruling.to_json())
    assert derived_again(stored) == stored == ruling
    assert facts_of(stored) == one
    level, allowed = designed(one.role, ruling.corruption, ruling.drift, ruling.kpi)
    assert ruling.level == level
    assert set(ruling.actions) <= allowed | ({"fallback"} if "rollback" in allowed else set())
    assert row_of(stored).name == ruling.row
    assert ruling.reason
    if "retrain" in ruling.actions:
        assert "incident" in ruling.actions
        assert retrain_refused(one) == ""
    if "unfreeze" in ruling.actions:
        assert (one.standing.frozen, one.standing.frozen_for) == (True, "drift")
    assert not {"rollback", "fallback"} <= set(ruling.actions)


@pytest.mark.parametrize(
    ("before", "kpi", "over"),
    [
        ("drift", "undecided", True),
        ("drop", "undecided", False),
        ("drop", "no", True),
        ("ok", "undecided", False),  # nothing was amiss
        ("no_drift", "no", False),
        ("", "no", False),
        ("a row of an earlier table", "undecided", True),
    ],
)
def test_what_an_ok_ruling_ends(before: str, kpi: str, over: bool) -> None:
    assert is_over(ruled(*found(kpi=kpi)), before) is over
    assert not is_over(ruled(*found(drift="yes")), before)


def test_windows_on_which_a_model_was_taken_back_are_remembered() -> None:
    acted = ruled(*found("stream", "yes", "yes"))
    assert taken_back([acted]) == {("corruption", RULES): NOON, ("drift", 2): NOON, ("kpi", 2): NOON}
    assert taken_back([ruled(*found(drift="yes"))]) == {}  # frozen only
