"""What all searches share: a line a trial and what was chosen, or one document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import search
from errors import UsageError


def trials() -> Iterator[dict[str, Any]]:
    for value in (3, 5, 4):
        yield {"value": value, "best": {"value": max(3, min(value, 4))}}


def line(made: dict[str, Any]) -> str:
    return f"tried {made['value']}"


def test_each_trial_is_told_and_the_last_best_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    search.report([], trials, line)
    shown = capsys.readouterr().out
    assert shown.startswith("tried 3\ntried 5\ntried 4\n")
    assert json.loads(shown.split("tried 4\n")[1]) == {"value": 4}


def test_one_document_holds_all_and_a_search_may_choose_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    search.report(["--json"], trials, line, lambda made: max(made, key=lambda one: int(one["value"])))
    found = json.loads(capsys.readouterr().out)
    assert [one["value"] for one in found["trials"]] == [3, 5, 4]
    assert found["chosen"]["value"] == 5


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["segmentation"]])
def test_a_model_without_a_search_is_told_which_have_one(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="similar_content"):
        search.main(argv)
