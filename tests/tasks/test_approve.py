from pathlib import Path

import pytest

from configs.load import settings
from errors import NotFound, ReleaseRefused, StackError, UsageError
from records import utc_now
from stores.ledger import audit, people
from tasks.approve import enroll, request, submit
from tasks.operate import opened
from tests.stores.ledger.world import MODEL
from tests.tasks.release_world import House

NOWHERE = {"GROWNET_PREFECT_URL": "http://127.0.0.1:9/api"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("approve"))


def test_the_first_of_a_role_is_enrolled_directly_and_the_secret_is_shown_once(house: House) -> None:
    facts = enroll(house.settings, house.config, name="ada", role="dev_ops", email="ada@example.org", actor="olga")
    assert facts["direct"]
    assert facts["uri"].startswith("otpauth://totp/grownet:ada")
    assert facts["secret"] in facts["text"]
    with opened(house.settings, "reader") as ledger:
        known = people.reviewer(ledger, "ada")
        assert known.enrolled_by == "operator:olga"
        assert known.identities == ("ada@example.org",)
        assert facts["secret"] not in known.secret
        assert audit.entries(ledger, "ada")[-1].action == "reviewer.enrolled"


@pytest.mark.parametrize(("name", "role"), [("eve", "dev_ops"), ("ada", "privacy_officer"), ("ada", "dev_ops")])
def test_a_second_of_a_role_or_a_new_secret_takes_a_vote(house: House, name: str, role: str) -> None:
    away = house.settings.model_copy(update={"prefect_url": NOWHERE["GROWNET_PREFECT_URL"]})
    with pytest.raises(StackError, match="Prefect"):
        enroll(away, house.config, name=name, role=role, email=f"{name}@example.org", actor="olga")
    with opened(house.settings, "reader") as ledger:
        assert {one.name: one.role for one in people.reviewers(ledger)} == {"ada": "dev_ops"}


@pytest.mark.parametrize(
    ("name", "role"), [("bob", "janitor"), ("", "dev_ops"), (" bob ", "dev_ops"), ("b" * 65, "dev_ops")]
)
def test_who_cannot_be_enrolled(house: House, name: str, role: str) -> None:
    with pytest.raises(UsageError, match="roles"):
        enroll(house.settings, house.config, name=name, role=role, email="bob@example.org", actor="olga")


@pytest.mark.parametrize("email", ["", "bob", "@", "b @x.org", "Bob <bob@example.org>"])
def test_an_address_is_needed(house: House, email: str) -> None:
    with pytest.raises(UsageError, match="--email"):
        enroll(house.settings, house.config, name="bob", role="privacy_officer", email=email, actor="olga")


@pytest.mark.parametrize(
    ("name", "email"),
    [("ada2", "ada@example.org"), ("ada2", " Ada@Example.ORG "), ("ADA", "other@example.org")],
)
def test_one_person_is_not_enrolled_in_two_roles(house: House, name: str, email: str) -> None:
    with pytest.raises(ReleaseRefused, match=r"ada \(dev_ops\)"):
        enroll(house.settings, house.config, name=name, role="privacy_officer", email=email, actor="olga")
    with opened(house.settings, "reader") as ledger:
        assert [one.name for one in people.reviewers(ledger)] == ["ada"]


def test_only_a_known_operator_enrols(house: House) -> None:
    with pytest.raises(NotFound, match="operators add"):
        enroll(
            house.settings, house.config, name="bob", role="privacy_officer", email="bob@example.org", actor="mallory"
        )


def test_a_vote_without_a_ballot(house: House) -> None:
    with pytest.raises(NotFound, match="an open ballot"):
        submit(house.settings, MODEL, "ada", "yes", "read", "123456")


def test_asking_needs_a_known_verb_a_reason_and_prefect(tmp_path: Path) -> None:
    away = settings({"GROWNET_HOME": str(tmp_path), **NOWHERE})
    with pytest.raises(UsageError, match="verb"):
        request(away, MODEL, "explode", "", "why")  # type: ignore[arg-type]  # the wrong verb is the point
    with pytest.raises(UsageError, match="--reason"):
        request(away, MODEL, "unfreeze", "", " ")
    start = utc_now()
    with pytest.raises(StackError, match="grownet up"):
        request(away, MODEL, "unfreeze", "", "mended")
    assert (utc_now() - start).total_seconds() < 30
