"""The door: each thing an arm or a plan may lack is refused, with a reason that names it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from errors import AdmissionRefused, NotFound
from models import contract
from records import Arm, Evidence, SignedPlan, Version, Vote
from serving.admission import Door, admit, believe, load
from serving.check import Straight
from stores.ledger import audit, plans
from stores.vault import Vault
from tests.serving.town import NAME, Town
from tests.stores.ledger.world import ROLES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    town = Town(tmp_path_factory.mktemp("admission"))
    arm, _ = town.vote(town.candidate(1), 0)
    yield town, arm
    town.close()


def door(town: Town, roles: tuple[str, ...] = ROLES) -> Door:
    return Door(
        name=NAME, model=contract.find(NAME), store=Straight(town.artifacts),
        verify=Vault.open(town.folder, "reader").verifier.verify, roles=roles, waiting=1, waiting_beside=1,
    )  # fmt: skip


def test_an_arm_with_all_its_parts_is_loaded(made: tuple[Town, Arm]) -> None:
    town, arm = made
    loaded = admit(arm, door(town))
    assert arm.artifact is not None
    assert (loaded.number, loaded.name, loaded.content) == (1, "recommendation-v1", arm.artifact.content)


def other(version: Version) -> Version:
    return replace(version, content="0" * 64)


LACKS: dict[str, tuple[Callable[[Any], Arm], str]] = {
    "artifact": (lambda arm: replace(arm, artifact=None), "no artifact"),
    "features": (lambda arm: replace(arm, features=None), "no features"),
    "versions": (lambda arm: replace(arm, versions=None), "no versions"),
    "one version": (
        lambda arm: replace(arm, versions=replace(arm.versions, pipeline=Version(name="", number=0, content=""))),
        "no pipeline version",
    ),
    "another version": (
        lambda arm: replace(arm, versions=replace(arm.versions, data=other(arm.versions.data))),
        "versions",
    ),
    "configuration": (lambda arm: replace(arm, config=""), "no config"),
    "another number": (lambda arm: replace(arm, number=2), "name"),
    "evidence": (lambda arm: replace(arm, evidence=""), "evidence"),
    "another's evidence": (lambda arm: replace(arm, evidence="e" * 64), "evidence of ballot"),
    "a ballot": (lambda arm: replace(arm, approval=None), "a ballot over it"),
    "a vote": (
        lambda arm: replace(arm, approval=replace(arm.approval, votes=arm.approval.votes[:2])),
        "a yes of each",
    ),
    "a true vote": (
        lambda arm: replace(
            arm, approval=replace(arm.approval, votes=(*arm.approval.votes[:2], replace(arm.approval.votes[2], reason="")))
        ),
        "a valid signature",
    ),
    "a ballot over this": (
        lambda arm: replace(arm, approval=replace(arm.approval, subject=replace(arm.approval.subject, config="c" * 64))),
        "config of ballot",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lack", LACKS)
def test_an_arm_that_lacks_something_is_refused(made: tuple[Town, Arm], lack: str) -> None:
    town, arm = made
    change, said = LACKS[lack]
    with pytest.raises(AdmissionRefused, match=said):
        admit(change(arm), door(town))


def test_a_house_that_asks_for_another_role_refuses(made: tuple[Town, Arm]) -> None:
    with pytest.raises(AdmissionRefused, match="auditor"):
        admit(made[1], door(made[0], (*ROLES, "auditor")))


def test_a_vote_signed_by_an_operator_is_none(made: tuple[Town, Arm]) -> None:
    town, arm = made
    assert arm.approval is not None
    signer = town.signer("operator:mallory")
    forged: list[Vote] = []
    for vote in arm.approval.votes:
        plain = replace(vote, key="", signature="")
        forged.append(replace(plain, key=signer.id, signature=signer.sign(plain.to_json())))
    with pytest.raises(AdmissionRefused, match="the signature of the release key"):
        admit(replace(arm, approval=replace(arm.approval, votes=tuple(forged))), door(town))


def test_a_candidate_that_failed_a_gate_is_refused(made: tuple[Town, Arm]) -> None:
    town = made[0]
    arm, _ = town.vote(town.candidate(11, passed=False), 0)
    with pytest.raises(AdmissionRefused, match="bias fail"):
        admit(arm, door(town))


def test_evidence_about_another_artifact_is_refused(made: tuple[Town, Arm]) -> None:
    town = made[0]
    arm = town.candidate(12)
    found = Evidence.from_json(town.artifacts.document(arm.evidence))
    wrong = replace(found, artifact="a" * 64)
    town.artifacts.put_document(wrong.to_json(), wrong.digest)
    voted, _ = town.vote(replace(arm, evidence=wrong.digest), 0)
    with pytest.raises(AdmissionRefused, match="artifact of the evidence"):
        admit(voted, door(town))


def sealed(town: Town, content: str) -> Path:
    return town.folder / "artifacts" / content[:2] / f"{content}.sealed"


@pytest.mark.parametrize("part", ["artifact", "features"])
def test_one_changed_byte_is_refused(made: tuple[Town, Arm], part: str) -> None:
    town = made[0]
    arm = town.candidate(13)
    path = sealed(town, getattr(arm, part).content)
    right = path.read_bytes()
    at = len(right) // 2
    path.write_bytes(right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :])
    with pytest.raises(AdmissionRefused, match="do not open"):
        load(arm, door(town))
    path.write_bytes(right)
    assert load(arm, door(town)).number == 13


def test_another_artifact_s_bytes_are_refused(made: tuple[Town, Arm]) -> None:
    town = made[0]
    one, two = town.candidate(14), town.candidate(15)
    assert one.artifact
    assert two.artifact
    sealed(town, one.artifact.content).write_bytes(sealed(town, two.artifact.content).read_bytes())
    with pytest.raises(AdmissionRefused, match="artifact"):
        load(one, door(town))


def test_bytes_that_are_gone_may_come_back(made: tuple[Town, Arm]) -> None:
    town = made[0]
    arm = town.candidate(16)
    assert arm.artifact
    sealed(town, arm.artifact.content).unlink()
    with pytest.raises(NotFound):
        load(arm, door(town))


@pytest.mark.parametrize(
    ("tweaks", "said"),
    [
        ({"name": "recommendation-v9"}, "model"),
        ({"model": "demand"}, "model"),
        ({"config_digest": "0" * 64}, "configuration"),
        ({"files": {"items.json": b"[]"}}, "a model that loads"),
        ({"files": {}}, "a model that loads"),
        ({"policy": {"unknown": 1}}, "a model that loads"),
        ({"example": b"[]", "expected": b"[]"}, "some requests"),
        ({"example": b"nonsense"}, "requests and decisions"),
        ({"expected": b"[{}]"}, "each with a decision"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(made: tuple[Town, Arm], tweaks: dict[str, Any], said: str) -> None:
    town = made[0]
    with pytest.raises(AdmissionRefused, match=said):
        load(town.candidate(17, **tweaks), door(town))


def test_answers_other_than_in_training_are_refused(made: tuple[Town, Arm]) -> None:
    town = made[0]
    good = load(town.candidate(18), door(town))
    frame, _, policy = town._prepared()
    model, index = contract.find(NAME), contract.find(NAME).index(frame)
    requests = model.example()
    decided = model.decide(model.predict(good.fitted, index, requests), requests, index, policy)
    first = decided[0]
    for wrong in (
        replace(first, items=first.items[::-1]),
        replace(first, scores=tuple(score * 1.01 for score in first.scores)),
    ):
        with pytest.raises(AdmissionRefused, match="example 0"):
            load(town.candidate(18, expected=msgspec.json.encode([wrong, *decided[1:]])), door(town))
    near = replace(first, scores=tuple(score * (1 + 1e-7) for score in first.scores))
    load(town.candidate(18, expected=msgspec.json.encode([near, *decided[1:]])), door(town))


# ---- plans -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A town and its signed plans, revisions 1 to 3."""
    town = Town(tmp_path_factory.mktemp("plans"))
    town.released()
    yield town, plans.history(town.ledgers["reader"], NAME)
    town.close()


def test_a_newer_signed_plan_is_believed(history: tuple[Town, list[SignedPlan]]) -> None:
    town, signed = history
    ring = Vault.open(town.folder, "reader").verifier
    seen = None
    for one in signed:
        seen = believe(one, NAME, ring, seen, lambda head: audit.descends(town.ledgers["reader"], head))
    assert seen is not None
    assert seen.revision == 3


def forged(signed: SignedPlan) -> SignedPlan:
    return replace(signed, payload=signed.payload.replace('"hold":false', '"hold":true'))


BAD: dict[str, tuple[Callable[[Town, list[SignedPlan]], SignedPlan], str]] = {
    "changed": (lambda _, signed: forged(signed[-1]), "the signature of that key"),
    "no json": (lambda _, signed: replace(signed[-1], payload="{"), "signature"),
    "a stranger's": (lambda _, signed: replace(signed[-1], key="operator:mallory"), "a key for plans"),
    "older": (lambda _, signed: signed[0], "a revision above 2"),
    "as old": (lambda _, signed: signed[1], "a revision above 2"),
}


@pytest.mark.parametrize("what", BAD)
def test_another_plan_is_refused(history: tuple[Town, list[SignedPlan]], what: str) -> None:
    town, signed = history
    change, said = BAD[what]
    with pytest.raises(AdmissionRefused, match=said):
        believe(change(town, signed), NAME, town.signer("guard").ring, signed[1].plan, lambda _: True)


def test_a_ledger_with_another_history_is_refused(history: tuple[Town, list[SignedPlan]], tmp_path: Path) -> None:
    town, signed = history
    elsewhere = Town(tmp_path)
    with pytest.raises(AdmissionRefused, match="a ledger with audit entry"):
        believe(
            signed[2], NAME, town.signer("guard").ring, signed[1].plan,
            lambda head: audit.descends(elsewhere.ledgers["reader"], head),
        )  # fmt: skip
    elsewhere.close()


def test_a_plan_for_another_model_is_refused(history: tuple[Town, list[SignedPlan]]) -> None:
    town, signed = history
    with pytest.raises(AdmissionRefused, match="one of demand"):
        believe(signed[2], "demand", town.signer("guard").ring, None, lambda _: True)
