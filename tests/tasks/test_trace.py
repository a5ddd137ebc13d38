"""From an answer of a running service back to voters, commit and rows; what served at a moment; how models stand."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from checks import plans as moves
from configs.load import load, settings
from configs.schema import Config, Settings
from errors import NotFound, TamperError
from records import Evidence, utc_now
from stores.ledger.evidence import save_candidate, save_evidence
from tasks.trace import current_plan, describe, overview, served, trace
from tests.serving.town import NAME, Server, Town


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Config, dict[str, Any]]]:
    """A home with a released model, and one answer with its feedback that a running service gave."""
    home = tmp_path_factory.mktemp("traced") / "home"
    town = Town(home)
    arm = town.candidate(1)
    save_candidate(town.ledgers["flow"], town.record(arm))
    save_evidence(town.ledgers["flow"], Evidence.from_json(town.artifacts.document(arm.evidence)))
    plan = town.begin(arm)
    while plan.canary is not None:
        plan = town.guard(moves.advance)
    key = town.key("predict", "feedback")
    server = Server(town).ready()
    try:
        reply = server.ask(key, {"customer": "4"})
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        outcome = {"prediction_id": answer["prediction_id"], "outcome": {"purchased": answer["decision"]["items"][:1]}}
        assert server.ask(key, outcome, path="feedback").status_code == 200
    finally:
        server.stop()
    chosen = town.settings
    yield chosen, load(chosen.configs), answer
    town.close()


def test_an_answer_leads_to_voters_commit_and_rows(house: tuple[Settings, Config, dict[str, Any]]) -> None:
    chosen, config, answer = house
    facts = trace(chosen, config, answer["prediction_id"])
    assert facts["answer"].decision["items"] == answer["decision"]["items"]
    assert facts["feedback"].outcome == {"purchased": answer["decision"]["items"][:1]}
    assert facts["release"]["revision"] == answer["revision"]
    if answer["version"]:
        roles = {vote.role for vote in facts["votes"]}
        assert roles == set(config.defaults.approval.roles["promote"])
        assert facts["commit"]
        assert facts["card"] == f"cards/{NAME}/{facts['served_by']}.html"
        assert facts["data"]
        assert all(gate.outcome == "pass" for gate in facts["gates"])


def test_an_unknown_or_forged_id_is_not_found(house: tuple[Settings, Config, dict[str, Any]]) -> None:
    chosen, config, answer = house
    for identity in ("nonsense", answer["prediction_id"].replace(answer["prediction_id"].split(".")[-2], "zzzzzzzz")):
        with pytest.raises(NotFound):
            trace(chosen, config, identity)


def test_a_changed_line_of_the_journal_is_told(house: tuple[Settings, Config, dict[str, Any]], tmp_path: Path) -> None:
    chosen, config, answer = house
    home = tmp_path / "home"
    shutil.copytree(chosen.home, home)
    moved = chosen.model_copy(update={"home": home})
    for segment in (home / "journal").rglob("*"):
        if segment.is_file():
            data = segment.read_bytes()
            segment.write_bytes(data.replace(b'"latency_us":', b'"latency_uz":', 1))
    with pytest.raises((TamperError, NotFound)):
        trace(moved, config, answer["prediction_id"])


def test_what_served_then_and_how_often(house: tuple[Settings, Config, dict[str, Any]]) -> None:
    chosen, config, answer = house
    when = trace(chosen, config, answer["prediction_id"])["answer"].received_at
    facts = served(chosen, NAME, when)
    assert facts["plan"].revision == answer["revision"]
    assert sum(facts["answers_that_minute"].values()) >= 1
    assert served(chosen, NAME, utc_now() - timedelta(days=3650))["plan"].revision == 0


def test_the_overview_reads_like_the_plan(house: tuple[Settings, Config, dict[str, Any]]) -> None:
    chosen, config, _ = house
    facts = overview(chosen, config)
    assert [item["model"] for item in facts] == sorted(config.models)
    plan, words = current_plan(chosen, NAME)
    standing = next(item for item in facts if item["model"] == NAME)
    assert standing["plan"] == plan
    assert standing["candidates"]
    assert standing["candidates"][0]["card"].startswith(f"cards/{NAME}/{NAME}-v")
    assert words in describe(facts)


def test_settings_of_another_home_know_nothing(tmp_path: Path, house: tuple[Settings, Config, dict[str, Any]]) -> None:
    with pytest.raises(NotFound):
        trace(settings({"GROWNET_HOME": str(tmp_path)}), house[1], house[2]["prediction_id"])
