"""What the checks of the review say of a house in order, and that each of them can say no."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from configs.load import HERE, load
from configs.schema import Check
from records import utc_now
from stores.ledger import bias, plans
from tasks import proofs
from tasks.proofs import CHECKS, House, Proof
from tests.serving.town import NAME, Town
from tests.stores.ledger.test_bias import Listener, made

LATER = utc_now() + timedelta(days=20)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town") / "home"
    town = Town(folder)
    town.released()
    town.close()
    return folder


@pytest.fixture
def town(released: Path, tmp_path: Path) -> Iterator[Town]:
    shutil.copytree(released, tmp_path / "home")
    made = Town(tmp_path / "home")
    yield made
    made.close()


def ask(town: Town, check: Check, **changes: object) -> Proof:
    with proofs.house(town.settings, town.config, LATER) as house:
        known = {"settings", "config", "ledger", "ring", "at", "root"}
        return CHECKS[check](House(**{name: changes.get(name, getattr(house, name)) for name in known}))  # type: ignore[arg-type]


def forge(town: Town, table: str, old: str, new: str) -> None:
    raw = sqlite3.connect(town.folder / "ledger.db")
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f'DROP TRIGGER "{name}"')
    assert raw.execute(f"UPDATE {table} SET payload = replace(payload, ?, ?)", (old, new)).rowcount
    raw.commit()
    raw.close()


def test_every_check_of_the_configuration_is_there_and_the_other_way_round() -> None:
    asked = {item.check for item in load().compliance.items} - {None}
    assert set(get_args(Check)) == set(CHECKS) == asked


def test_a_house_in_order(town: Town) -> None:
    checks: tuple[Check, ...] = ("audit_chain", "owners", "approvals")
    for check in checks:
        assert ask(town, check).good, check


def test_a_forged_plan_is_found_by_the_chain_and_by_the_approvals(town: Town) -> None:
    forge(town, "releases", "salt-1", "salt-2")
    assert not ask(town, "audit_chain").good
    assert "signature" in ask(town, "approvals").said


def test_an_approval_that_lacks_a_role_the_house_asks_for_is_found(town: Town) -> None:
    approval = town.config.defaults.approval.model_copy(
        update={"roles": {**town.config.defaults.approval.roles, "promote": ("data_science_lead", "auditor")}}
    )
    stricter = town.config.model_copy(
        update={"defaults": town.config.defaults.model_copy(update={"approval": approval})}
    )
    said = ask(town, "approvals", config=stricter)
    assert (said.good, "auditor" in said.said) == (False, True)


def test_one_owner_under_two_spellings_and_a_model_without_configuration_are_found(town: Town) -> None:
    model = town.config.models[NAME].model_copy(update={"owners": ("a@example.org", " A@example.org")})
    said = ask(town, "owners", config=town.config.model_copy(update={"models": {NAME: model}}))
    assert said == Proof(False, f"{NAME}: 1 owners")
    gone = ask(town, "owners", config=town.config.model_copy(update={"models": {}}))
    assert gone == Proof(False, f"{NAME} serves and has no configuration")


def test_what_serves_and_was_not_audited_lately_is_found(town: Town) -> None:
    begun = plans.releases(town.ledgers["reader"], NAME)[0].at
    assert ask(town, "bias_audited", at=begun + timedelta(days=1)).good  # it has not served for long
    at = begun + timedelta(days=15)
    assert ask(town, "bias_audited", at=at) == Proof(False, f"{NAME}: never audited")
    late = replace(made(1, "no"), found_at=begun + timedelta(days=2))
    bias.save(town.ledgers["flow"], [late], Listener(), "audit")
    assert ask(town, "bias_audited", at=at).good
    assert "last audited" in ask(town, "bias_audited", at=at + timedelta(days=9)).said
    blind = replace(made(2, "undecided"), found_at=at + timedelta(days=8), subjects=0)
    bias.save(town.ledgers["flow"], [blind], Listener(), "audit")
    said = ask(town, "bias_audited", at=at + timedelta(days=9))
    assert (said.good, said.said.endswith("the newest audit could look at nobody")) == (False, True)


def test_a_model_without_a_page_about_its_failures_is_found(town: Town, tmp_path: Path) -> None:
    pages = tmp_path / "tree" / "docs" / "models"
    pages.mkdir(parents=True)
    assert f"{NAME}: Nobody wrote a page" in ask(town, "failure_modes", root=tmp_path / "tree").said
    page = pages / f"{NAME}.md"
    page.write_text("# It\n\n## Known failure modes\n\n## Who it is fair to\n\nAll.\n", encoding="utf-8")
    assert not ask(town, "failure_modes", root=tmp_path / "tree").good
    page.write_text("# It\n\n## Known failure modes\n\nNew customers.\n", encoding="utf-8")
    assert ask(town, "failure_modes", root=tmp_path / "tree").good


def test_data_without_a_licence_or_its_notice_is_found(town: Town, tmp_path: Path) -> None:
    assert ask(town, "licences").good
    (tmp_path / "data").mkdir()
    assert "online_retail: no notice beside the bundled file" in ask(town, "licences", root=tmp_path).said
    one = town.config.datasets["online_retail"].model_copy(update={"licence": " "})
    said = ask(town, "licences", config=town.config.model_copy(update={"datasets": {"online_retail": one}}))
    assert said == Proof(False, "online_retail: no licence is said")


def test_the_tree_we_ship_carries_its_notices() -> None:
    uris = {name: dataset.source.uri or "" for name, dataset in load().datasets.items()}
    bundled = {name: uri.removeprefix(proofs.BUNDLED) for name, uri in uris.items() if uri.startswith(proofs.BUNDLED)}
    assert bundled
    for name, file in bundled.items():
        folder = (HERE.parent / "data" / file).parent
        assert any((folder / notice).is_file() for notice in proofs.NOTICES), name
