import pytest
from msgspec.structs import replace

from errors import NotFound, RoleRefused
from stores.ledger import audit, people
from stores.vault import Vault
from tests.stores.ledger.world import NOON, World


def test_reviewers_are_enrolled_with_a_sealed_secret(world: World) -> None:
    world.enrol()
    ada = people.reviewer(world.release, "ada")
    assert ada.role == "data_science_lead"
    assert Vault.open(world.folder, "release").open_code("ada", ada.secret) == world.secrets["ada"]
    assert world.secrets["ada"].encode() not in (world.folder / "ledger.db").read_bytes()
    assert [one.name for one in people.reviewers(world.release)] == ["ada", "ben", "cleo"]
    with pytest.raises(NotFound, match="mallory"):
        people.reviewer(world.release, "mallory")


def test_a_new_enrolment_replaces_the_old_and_is_audited(world: World) -> None:
    world.enrol()
    ada = people.reviewer(world.release, "ada")
    people.add_reviewer(world.release, ada, "release")  # the same again: nothing
    people.add_reviewer(world.release, replace(ada, role="dev_ops", enrolled_by="ballot-1"), "release")
    assert people.reviewer(world.release, "ada").role == "dev_ops"
    assert [entry.detail["role"] for entry in audit.entries(world.release, "ada")] == ["data_science_lead", "dev_ops"]


def test_nobody_enrols_but_the_release_flow(world: World) -> None:
    one = people.Reviewer(name="eve", role="dev_ops", secret="x", enrolled_by="eve", at=NOON)
    for role in ("operator", "guard", "flow", "serving"):
        with pytest.raises(RoleRefused):
            people.add_reviewer(world.ledgers[role], one, "eve")


def test_operators(world: World) -> None:
    operator = world.ledgers["operator"]
    ada = people.Operator(name="ada", key="operator:ada", added_by="ada", at=NOON)
    people.add_operator(operator, ada, "ada")
    people.add_operator(operator, replace(ada, added_by="eve"), "eve")
    assert people.operators(operator) == [ada]
