"""The freeze does not block the cure: drift and a KPI drop, rollback and freeze, a retrained candidate, a ballot that names
the freeze, 100 %, freeze lifted. Everything is real but Prefect, the replicas and the monitors, which the test plays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest
import yaml
from prefect.logging import disable_run_logger

from configs import load as loading
from guard.loop import Guard
from records import Candidate, Evidence, Order, OutboxEvent, ReleasePlan, utc_now
from tasks import board, counting, escape, trace
from tasks.questions import Asked, seated
from tasks.runs import Typed
from tasks.stages import accept, build_features, look_back, train_candidate
from tasks.validate import validate
from tests.checks.traffic import live, pairs
from tests.guard.town import Town
from tests.stores.ledger.world import REVIEWERS
from tests.tasks.school import NAME, START, School, orders

BEFORE = START + timedelta(weeks=20)  # what versions 1 and 2 learned from came before
BAD = {"corruption": "no", "drift": "yes", "kpi": "yes"}
STILL = {"corruption": "no", "drift": "yes", "kpi": "no"}  # the version before sees the drift as well; its KPI holds

pytestmark = pytest.mark.slow  # a season and two trainings


@dataclass
class Story:
    """One home, and what happened on it so far."""

    school: School
    town: Town
    guard: Guard

    def plan(self) -> ReleasePlan:
        return self.town.plan()

    def tick(self, **found: str) -> None:
        """The monitors find something, the replicas follow, the guard looks twice."""
        if found:
            self.town.find(found)
        for _ in range(2):
            self.town.follow()
            self.guard.tick()


def at_once(school: School) -> None:
    """A rollout that asks for answers and for no time."""
    path = school.configs / "defaults.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for step in values["model"]["rollout"]["steps"]:
        step["min_seconds"] = 0
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    school.config = loading.load(school.configs)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Story]:
    """Version 2 answers, version 1 stands behind it. Both know less of what goes with what than today's configuration."""
    folder = tmp_path_factory.mktemp("cure")
    (folder / "mlflow").mkdir()
    (folder / "mlflow" / "mlflow.db").write_bytes(migrated.read_bytes())
    school = School(folder, f"sqlite:///{folder}/mlflow/mlflow.db")
    frame = orders()
    school.take_in(frame[frame["invoice_date"] < BEFORE], "first")
    for neighbours in (1, 2):
        school.configure(params={"neighbours": neighbours})
        released(school, school.train(f"{neighbours} neighbours"))
    school.configure()
    at_once(school)
    town = Town(folder)
    with pytest.MonkeyPatch.context() as environment, disable_run_logger():
        for name, value in school.environment.items():
            environment.setenv(name, value)
        yield Story(school, town, town.guard(school.config))
    town.close()
    school.close()


def released(school: School, candidate: Candidate) -> None:
    """To 100 % without the gates, which are not what this is about."""
    proof = Evidence(
        candidate=candidate.id,
        model=NAME,
        artifact=candidate.artifact.content,
        gates=(),
        metrics={},
        intervals={},
        created_at=utc_now(),
    )
    school.serve(candidate, proof)


def requests(story: Story) -> list[OutboxEvent]:
    return [event for event in story.town.events() if event.name == "grownet.retrain.requested"]


@pytest.fixture(scope="module")
def fallen(story: Story) -> OutboxEvent:
    """Drift and a drop: the guard goes back, freezes, and asks for a training."""
    assert (story.plan().champion.number, story.plan().frozen) == (2, False)
    story.tick(**BAD)
    plan = story.plan()
    assert (plan.champion.number, plan.previous) == (1, None)
    assert (plan.frozen, plan.frozen_for) == (True, "drift")
    (event,) = requests(story)
    return event


@pytest.fixture(scope="module")
def cure(story: Story, fallen: OutboxEvent) -> Candidate:
    """What the lifecycle makes of the request, stage by stage, on the newest rows."""
    frame = orders()
    story.school.take_in(frame[frame["invoice_date"] >= BEFORE], "second")
    order = accept.fn(Order(**fallen.body))
    assert look_back.fn(order).candidate is None
    return train_candidate.fn(order, build_features.fn(order))


def test_the_training_goes_on_and_its_candidate_beats_what_answers_now(
    story: Story, fallen: OutboxEvent, cure: Candidate
) -> None:
    made = validate(story.school.settings, story.school.config, cure)
    assert made.passed, made.reason
    assert cure.number == 3
    assert cure.reason == f"{fallen.body['reason']} (verdict {fallen.body['verdict']})"
    assert f"against {NAME}-v1" in next(gate.reason for gate in made.gates if gate.name == "champion")


def test_a_worse_one_is_discarded_and_listed_and_nothing_else_happens(story: Story, fallen: OutboxEvent) -> None:
    """The drift is no excuse: a retrained candidate must beat what answers."""
    school, before = story.school, story.plan()
    blend = school.config.models[NAME].params["blend"]
    school.configure(
        params={"blend": blend | {"popularity_weight": 1000.0}}
    )  # it proposes what sells most, to everybody
    try:
        order = accept.fn(Order(model=NAME, reason="any model is better than none"))
        worse = train_candidate.fn(order, build_features.fn(order))
        made = validate(school.settings, school.config, worse)
    finally:
        school.configure()
        at_once(school)
    assert not made.passed
    listed = next(
        one for one in trace.overview(school.settings, school.config)[0]["candidates"] if one["id"] == worse.id
    )
    assert "champion" in listed["discarded"]
    assert "discarded: champion" in trace.describe(trace.overview(school.settings, school.config))
    assert story.plan() == before


@dataclass
class Way:
    """What was seen on the way of the cure."""

    page: str
    names_freeze: bool
    waiting: ReleasePlan  # when its ballot was carried out
    percents: list[float]


@pytest.fixture(scope="module")
def way(story: Story, cure: Candidate) -> Way:
    """People are asked and say yes; the guard takes the canary to 100 %, while what answers goes on seeing the drift."""
    school = story.school
    validate(school.settings, school.config, cure)
    asked = Asked(model=NAME, verb="promote", candidate=cure.id, detail=cure.reason, run="run-1")
    with seated(school.settings, school.config) as seats:
        found = board.ask(seats, asked)
        story.tick(**STILL)
        for name in REVIEWERS:
            assert counting.count(seats, found, yes(school, name)).vote
        page = board.page(seats, found, "")
        board.carry_out(seats, board.ask(seats, asked))
    waiting, percents = story.plan(), []
    for step in range(20):
        story.tick(**STILL)
        plan = story.plan()
        if plan.canary is None:
            break
        percents.append(plan.canary_percent)
        story.town.count([*pairs(plan.salt, 3, 4000, (0.3, 0.3), seed=step), *live(plan.salt, "canary", 3, 100)])
    return Way(page, found.subject.names_freeze, waiting, percents)


def yes(school: School, name: str) -> Typed:
    at = utc_now()
    code = str(pyotp.TOTP(school.secrets[name]).at(at))
    return Typed(values={"reviewer": name, "decision": "yes", "reason": "read it", "code": code}, at=at)


def test_the_ballot_names_the_freeze_and_the_verdict(way: Way, fallen: OutboxEvent) -> None:
    assert way.names_freeze
    assert f"**{NAME} is frozen.**" in way.page
    assert "its promotion to 100 % lifts the freeze" in way.page
    assert escape.plain(fallen.body["verdict"]) in way.page


def test_it_goes_to_a_hundred_percent_and_out_of_the_freeze(story: Story, way: Way) -> None:
    assert way.waiting.canary is not None
    assert (way.waiting.canary.number, way.waiting.frozen, way.waiting.hold) == (3, True, False)
    assert sorted(set(way.percents)) == [0, 5, 25, 50]
    plan = story.plan()
    assert (plan.champion.number, plan.canary, plan.hold) == (3, None, False)
    assert (plan.frozen, plan.frozen_for) == (False, "")
    assert plan.control is not None
    assert plan.control.number == 1
    assert len(requests(story)) == 1


def test_told_again_the_verdict_is_done(story: Story, way: Way, fallen: OutboxEvent, cure: Candidate) -> None:
    before = look_back.fn(accept.fn(Order(**fallen.body)))
    school = story.school
    listed = trace.describe(trace.overview(school.settings, school.config))
    assert f"asked for by {fallen.body['verdict']}" in listed
    assert before.candidate == cure
    assert before.ended.endswith("is released")
