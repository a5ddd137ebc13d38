"""Each verb can be seen by whoever looks: in `grownet models` and `release show` with who, when and why, and on `/plan` of a replica."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.load import load
from records import ReleasePlan
from tasks.operate import act, add_operator
from tasks.trace import current_plan, describe, overview
from tests.serving.inside import inside
from tests.serving.town import NAME, Town, wait_for


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Version 1 answers, version 2 is beside it, and olga may act."""
    made = Town(tmp_path / "home")
    made.released()
    made.begin(made.candidate(2))
    add_operator(made.settings, "olga")
    yield made
    made.close()


def test_every_verb_is_seen_by_who_looks_at_models_and_at_a_replica(town: Town) -> None:
    def listed() -> dict[str, Any]:
        return next(item for item in overview(town.settings, load(town.settings.configs)) if item["model"] == NAME)

    def stopped(verb: str) -> ReleasePlan:
        return act(town.settings, verb, NAME, "olga", f"the {verb} of a test")[0]

    with inside(town) as service:
        service.ready()

        def replica(revision: int) -> dict[str, Any]:
            wait_for(lambda: service.call("plan", b"", method="GET")[1]["plan"]["revision"] == revision)
            shown: dict[str, Any] = service.call("plan", b"", method="GET")[1]["plan"]
            return shown

        for verb, field, seen in (("hold", "hold", "held"), ("freeze", "frozen", "frozen"), ("rollback", "", "")):
            plan = stopped(verb)
            shown = replica(plan.revision)
            assert shown["reason"] == f"{verb}: the {verb} of a test"
            assert (shown["actor"], shown.get(field, True)) == ("operator:olga", True)
            if seen:
                assert f"{seen} since revision {plan.revision}, by operator:olga" in describe([listed()])
        assert shown["canary"] is None
        assert len(shown["rejected"]) == 1
        words = describe([listed()])
        assert "1 artifact(s) rejected for good" in words
        assert "rollback: the rollback of a test" in words
        back = stopped("fallback")
        assert replica(back.revision)["mode"] == "rules"
    facts, words = listed(), current_plan(town.settings, NAME)[1]
    assert set(facts["stops"]) == {"frozen", "held", "rules"}
    assert facts["stops"]["rules"]["reason"] == "fallback: the fallback of a test"
    for line in ("held since", "frozen since", f"in rules mode since revision {back.revision}, by operator:olga"):
        assert line in describe([facts])
        assert line in words
