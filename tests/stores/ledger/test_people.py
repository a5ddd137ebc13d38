import sqlite3

import pytest
from msgspec.structs import replace

from errors import NotFound, ReleaseRefused, RoleRefused, TamperError
from stores.ledger import audit, people
from stores.vault import Vault
from tests.stores.ledger.world import NOON, World, by_hand


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


def test_an_operators_secret_is_the_one_that_was_given_last(world: World) -> None:
    operator, reader = world.ledgers["operator"], world.ledgers["reader"]
    olga = people.Operator(name="olga", key="operator:olga", added_by="operator:olga", at=NOON)
    people.add_operator(operator, olga, "operator:olga")  # of before there were secrets
    assert people.operator(reader, "olga") == olga
    given = people.give_secret(operator, "olga", "sealed", "operator:olga")
    assert people.operator(reader, "olga") == given == replace(olga, secret="sealed")
    people.add_operator(operator, replace(olga, name="otto", key="operator:otto", secret="other"), "operator:otto")
    assert people.operator(reader, "otto").secret == "other"
    assert people.verify_operators(reader) == 2
    with pytest.raises(NotFound, match="operators add"):
        people.operator(reader, "eve")
    with pytest.raises(NotFound, match="operators add"):
        people.give_secret(operator, "eve", "x", "eve")


@pytest.mark.parametrize("secret", ["another", ""])
def test_an_operators_secret_that_was_changed_by_hand_proves_nothing(world: World, secret: str) -> None:
    olga = people.Operator(name="olga", key="operator:olga", added_by="operator:olga", at=NOON, secret="sealed")
    people.add_operator(world.ledgers["operator"], olga, "operator:olga")
    by_hand(world, "UPDATE operators SET payload = replace(payload, 'sealed', ?)", secret)
    for read in (lambda: people.operator(world.release, "olga"), lambda: people.verify_operators(world.release)):
        with pytest.raises(TamperError, match="operator olga"):
            read()


def test_without_a_vote_only_the_first_of_a_role_is_enrolled(world: World) -> None:
    world.enrol({"ada": "data_science_lead"})
    ada = people.reviewer(world.release, "ada")
    for name, role in (("eve", "data_science_lead"), ("ada", "dev_ops")):
        with pytest.raises(ReleaseRefused, match="a role that has nobody"):
            people.add_reviewer(world.release, replace(ada, name=name, role=role), "olga", first=True)
    people.add_reviewer(world.release, replace(ada, name="eve", role="dev_ops"), "olga", first=True)


@pytest.mark.parametrize(("name", "identity"), [("Ada", "x@example.org"), ("eve", "ADA@example.org"), ("eve", "ada")])
def test_a_name_or_address_of_somebody_else(world: World, name: str, identity: str) -> None:
    ada = people.Reviewer(
        name="ada", role="dev_ops", secret="x", identities=("ada@example.org",), enrolled_by="ballot", at=NOON
    )
    people.add_reviewer(world.release, ada, "release")
    twin = replace(ada, name=name, role="privacy_officer", identities=(identity,))
    with pytest.raises(ReleaseRefused, match="not enrolled"):
        people.add_reviewer(world.release, twin, "release")
    assert people.reviewers(world.release) == [ada]


@pytest.mark.parametrize("what", ["changed", "slipped in", "taken away"])
def test_a_row_that_is_not_the_one_enrolled(world: World, what: str) -> None:
    world.enrol()
    assert people.verify(world.release) == 3
    ada = people.reviewer(world.release, "ada")
    raw = sqlite3.connect(world.folder / "ledger.db")
    with raw:
        if what == "changed":
            forged = replace(ada, identities=("nobody@example.org",)).to_json().decode()
            raw.execute("UPDATE reviewers SET payload = ? WHERE name = 'ada'", (forged,))
        elif what == "slipped in":
            forged = replace(ada, name="eve").to_json().decode()
            raw.execute("INSERT INTO reviewers VALUES ('eve', 'dev_ops', ?)", (forged,))
        else:
            raw.execute("DELETE FROM reviewers WHERE name = 'ada'")
    raw.close()
    if what != "taken away":
        with pytest.raises(TamperError, match="audit log"):
            people.reviewer(world.release, "ada" if what == "changed" else "eve")
    with pytest.raises(TamperError, match="eve" if what == "slipped in" else "ada"):
        people.verify(world.release)


def test_an_operator_that_was_changed_or_is_gone_is_found(world: World) -> None:
    olga = people.Operator(name="olga", key="operator:olga", added_by="operator:olga", at=NOON)
    people.add_operator(world.ledgers["operator"], olga, "operator:olga")
    assert people.verify_operators(world.ledgers["reader"]) == 1
    by_hand(world, "UPDATE operators SET payload = replace(payload, 'operator:olga', 'operator:eve')")
    with pytest.raises(TamperError, match="operator olga"):
        people.verify_operators(world.ledgers["reader"])
    by_hand(world, "DELETE FROM operators")
    with pytest.raises(TamperError, match=r"operator olga.*got none"):
        people.verify_operators(world.ledgers["reader"])


def test_a_reviewer_that_cannot_be_read_is_named(world: World) -> None:
    world.enrol()
    by_hand(world, "UPDATE reviewers SET payload = '{garbage' WHERE name = 'ada'")
    for read in (lambda: people.reviewers(world.release), lambda: people.verify(world.release)):
        with pytest.raises(TamperError, match="reviewer ada"):
            read()
