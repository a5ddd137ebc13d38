from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from msgspec.structs import replace

from checks.plans import initial
from errors import TamperError, UsageError
from models.contract import find
from records import Candidate, Evidence, Gate
from stores.artifacts import Bundle
from stores.ledger import evidence
from tasks.aliases import mirror
from tasks.features import artifacts_of
from tasks.measure import Rival
from tasks.validate import current_plan, judged, rival_of, validate
from tests.stores.ledger.world import NOON, arm
from tests.tasks.school import NAME, School

ALL = {"new", "champion", "baseline", "bias", "drift", "backtest", "overfitting", "service", "latency", "size"}


@pytest.fixture(scope="module")
def candidate(taught: School) -> Candidate:
    return taught.train("first release")


@pytest.fixture(scope="module")
def found(taught: School, candidate: Candidate) -> Evidence:
    return validate(taught.settings, taught.config, candidate)


def outcomes(made: Evidence) -> dict[str, str]:
    return {gate.name: gate.outcome for gate in made.gates}


def test_a_good_candidate_passes_every_gate_against_the_rules(found: Evidence, candidate: Candidate) -> None:
    assert set(outcomes(found)) == ALL
    assert found.passed, found.reason
    assert "against rules" in next(gate.reason for gate in found.gates if gate.name == "champion")
    assert found.artifact == candidate.artifact.content
    assert found.metrics["ndcg_at_20"] > found.metrics["rules.ndcg_at_20"]
    assert found.intervals["ndcg_at_20 - champion"][0] > 0


def test_evidence_is_kept_in_the_ledger_and_beside_the_artifact(
    taught: School, candidate: Candidate, found: Evidence
) -> None:
    assert evidence.evidence(taught.ledgers["reader"], found.digest) == found
    assert Evidence.from_json(artifacts_of(taught.settings).document(found.digest)) == found
    assert evidence.discarded(taught.ledgers["reader"], candidate.id) is None


def test_mlflow_shows_figures_and_verdict(taught: School, candidate: Candidate, found: Evidence) -> None:
    run = MlflowClient(taught.settings.mlflow_url).get_run(candidate.run_id)
    assert run.data.metrics["holdout/ndcg_at_20"] == found.metrics["ndcg_at_20"]
    assert run.data.tags["grownet.status"] == "passed"
    assert run.data.tags["gate.champion"].startswith("pass: against rules")


def test_judging_again_gives_what_was_found_first(taught: School, candidate: Candidate, found: Evidence) -> None:
    assert validate(taught.settings, taught.config, candidate) == found
    assert len(evidence.evidence_of(taught.ledgers["reader"], candidate.id)) == 1


def test_the_page_stands_alone_and_says_it_all(taught: School, candidate: Candidate, found: Evidence) -> None:
    made = judged(taught.settings, taught.config, candidate)
    assert found.digest[:12] in made.card.read_text(encoding="utf-8")  # the card is completed with the evidence
    page = made.page
    assert page == taught.settings.home / "pages" / "models" / f"{candidate.id}.html"
    text = page.read_text(encoding="utf-8")
    assert "Passed all gates" in text
    assert all(f">{name}<" in text for name in ALL)
    assert found.digest in text
    assert candidate.artifact.content in text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert "p1_" not in text


def test_the_configuration_must_be_that_of_training(taught: School, candidate: Candidate) -> None:
    other = replace(candidate, config_digest="0" * 64)
    with pytest.raises(UsageError, match="train again"):
        validate(taught.settings, taught.config, other)


def test_a_candidate_that_does_not_pass_is_discarded_with_its_reason(school: School) -> None:
    impossible: dict[str, Any] = {
        "champion_margin": 1.0,
        "baseline_margin": 1.0,
        "overfit_max_gap": 0.0,
        "latency_p99_seconds": 0.0,
        "size_max_bytes": 1,
        "drift_max_psi": 0.0,
    }
    school.configure(**impossible)
    candidate = school.train()
    made = judged(school.settings, school.config, candidate)
    failed = {name for name, outcome in outcomes(made.evidence).items() if outcome == "fail"}
    assert failed == {"champion", "baseline", "overfitting", "latency", "size", "drift"}
    assert not made.evidence.passed
    assert evidence.discarded(school.ledgers["reader"], candidate.id) == made.evidence.reason
    run = MlflowClient(school.settings.mlflow_url).get_run(candidate.run_id)
    assert run.data.tags["grownet.status"] == "discarded"
    assert run.data.tags["grownet.discarded"].startswith("champion fail")
    assert "Nothing was released" in made.page.read_text(encoding="utf-8")


def test_the_champion_again_and_a_rejected_canary_are_refused_at_once(school: School) -> None:
    first = school.train("first")
    proof = validate(school.settings, school.config, first)
    plan = school.serve(first, proof)
    assert plan.champion.artifact == first.artifact
    assert mirror(school.settings, NAME, 10) == {"champion": "1"}

    same = trained_again(school, first)
    made = validate(school.settings, school.config, same)
    assert outcomes(made) == {"new": "fail"}
    assert evidence.discarded(school.ledgers["reader"], same.id) is not None
    assert "is the champion" in made.reason

    school.configure(params={"neighbours": 1}, champion_margin=-1.0)
    other = school.train("worse, and let through")
    judged_other = validate(school.settings, school.config, other)
    assert judged_other.passed, judged_other.reason
    assert f"against {NAME}-v1" in next(gate.reason for gate in judged_other.gates if gate.name == "champion")
    school.take_back(other, judged_other)
    again = validate(school.settings, school.config, trained_again(school, other))
    assert "taken back" in again.reason


def trained_again(school: School, candidate: Candidate) -> Candidate:
    """What training gives when nothing changed: the same artifact under another id (`test_train` shows it)."""
    same = replace(candidate, id=f"{candidate.id}-again")
    evidence.save_candidate(school.ledgers["flow"], same)
    return same


def test_an_artifact_with_one_byte_changed_is_not_judged(school: School) -> None:
    candidate = school.train()
    path = next(Path(school.settings.artifacts_uri).rglob(f"{candidate.artifact.content}.sealed"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TamperError):
        validate(school.settings, school.config, candidate)


def test_the_rival_is_the_champion_or_the_rules_or_said_to_be_unreadable(taught: School, candidate: Candidate) -> None:
    model, artifacts = find(NAME), artifacts_of(taught.settings)
    rules = initial(NAME, NOON)
    assert current_plan(taught.settings, taught.ledgers["reader"], NAME) is None
    assert mirror(taught.settings, NAME, 10) == {}
    assert rival_of(None, model, artifacts) == rival_of(rules, model, artifacts) == Rival()

    champion = replace(arm(1), artifact=candidate.artifact)
    rival = rival_of(replace(rules, champion=champion), model, artifacts)
    assert isinstance(rival, Rival)
    assert (rival.name, rival.trained_until) == (f"{NAME}-v1", candidate.trained_until)

    manifest = Bundle.unpack(artifacts.get(candidate.artifact)).manifest
    strange = artifacts.put(Bundle({"other": b""}, manifest, b"[]", b"[]", {}).pack())
    gate = rival_of(replace(rules, champion=replace(champion, artifact=strange)), model, artifacts)
    assert isinstance(gate, Gate)
    assert gate.outcome == "inconclusive"
    assert f"{NAME}-v1 cannot be read" in gate.reason


def test_a_training_for_a_segment_is_judged_there_too(school: School, found: Evidence) -> None:
    first = school.train("first")
    school.serve(first, replace(found, candidate=first.id, artifact=first.artifact.content))
    school.configure(params={"neighbours": 1})
    worse = school.train("home fell behind", segment="country=home")
    made = judged(school.settings, school.config, worse)
    gate = next(gate for gate in made.evidence.gates if gate.name == "segment")
    assert (gate.outcome, gate.required) == ("fail", True)
    assert gate.reason.startswith("country=home: against recommendation-v1")
    assert made.evidence.intervals["ndcg_at_20 - champion in country=home"][1] < 0
    assert "segment fail" in str(evidence.discarded(school.ledgers["reader"], worse.id))
    assert "champion in country=home" in made.page.read_text(encoding="utf-8")


def test_the_version_that_fell_does_not_come_back_as_its_own_cure(school: School) -> None:
    """Nothing was learned since: the same artifact, although another version answers by now."""
    fallen = school.train("first")
    school.rule("fell", version=fallen.number)
    again = replace(fallen, id=f"{fallen.id}-again", verdict="fell")
    evidence.save_candidate(school.ledgers["flow"], again)
    made = validate(school.settings, school.config, again)
    assert outcomes(made) == {"new": "fail"}
    assert "the verdict was about" in made.reason
