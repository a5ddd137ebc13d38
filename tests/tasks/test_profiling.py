"""Profile rows of the journals: one odd line or bundle blinds nobody, and what changed on the disk counts once."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from models import recommendation
from records import Finding
from stores.lake import Lake
from tasks.profiling import TABLE, counted
from tests.serving.town import NAME
from tests.tasks.observatory import NOW, Observatory

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def table(town: Observatory) -> pd.DataFrame:
    return Lake(town.settings.lake_uri).read(TABLE)


def corruption(found: list[Finding]) -> Finding:
    return next(one for one in found if one.kind == "corruption")


@pytest.mark.parametrize("decision", [None, {"what": 1, "items": 7}])
def test_an_answer_without_a_decision_is_unreadable_and_the_others_count(town: Observatory, decision: Any) -> None:
    lines = town.answers(NOW - DAY, 60)
    town.journal().append(*[replace(one, decision=decision) if at == 3 else one for at, one in enumerate(lines)])
    assert corruption(town.monitor()).answer == "no"
    rows = table(town)
    assert (rows["answers"].sum(), rows["unreadable"].sum()) == (60, 1)


def test_a_bundle_that_raises_is_said_to_be_broken_and_the_mark_is_kept(
    town: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(_: pd.DataFrame) -> None:
        raise KeyError("column of another release")

    town.said(NOW - DAY, 60)
    monkeypatch.setattr(recommendation, "index", other)
    found = corruption(town.monitor())
    assert (found.answer, found.where) == ("yes", "snapshot")
    assert "column of another release" in found.reason
    assert table(town)["answers"].sum() == 60
    assert town.read() == 0


def test_a_model_that_raises_on_what_it_is_asked_blinds_no_run(
    town: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: Any) -> None:
        raise ValueError("shapes differ")

    town.said(NOW - DAY, 60)
    with monkeypatch.context() as patched:
        patched.setattr(recommendation, "observe", odd)
        found = corruption(town.monitor())
    assert (found.answer, found.where) == ("yes", "snapshot")
    assert "shapes differ" in found.reason
    town.said(NOW - HOUR, 1)
    assert town.read() == 1


def test_a_segment_cut_in_the_middle_and_shipped_whole_later_counts_once(town: Observatory) -> None:
    lines = town.answers(NOW - DAY, 60)
    town.journal().append(*lines)
    town.close_journals()
    (path,) = (town.folder / "journal" / "replica-1").glob("*.log")
    parts = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(parts[:20] + parts[40:]))
    assert town.read() == 40
    path.write_bytes(b"".join(parts))
    assert town.read(NOW + HOUR) == 60
    assert town.read(NOW + HOUR) == 0
    rows = counted(Lake(town.settings.lake_uri), NAME)
    assert rows["answers"].sum() == 60
    hours = pd.Series([one.event_time.replace(minute=0, second=0) for one in lines]).value_counts()
    pd.testing.assert_series_equal(rows.set_index("hour")["answers"], hours, check_names=False, check_like=True)
    assert corruption(town.monitor(NOW + HOUR)).figures  # judged from the same rows


def test_a_replica_folder_made_anew_in_the_same_minute_is_read(town: Observatory) -> None:
    town.said(NOW - DAY, 60)
    assert town.read() == 60
    town.close_journals()
    shutil.rmtree(town.folder / "journal" / "replica-1")
    town.said(NOW - DAY, 50)
    assert town.read() == 50
