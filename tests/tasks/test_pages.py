"""The page of a window: ours on top and deciding, Evidently's below from a stated sample, and none where nothing is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from tasks import drift_page, monitor, pages, sample_report
from tasks.profiling import read_journals
from tests.serving.town import NAME
from tests.tasks.observatory import NOW, Observatory

DAY = timedelta(days=1)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Observatory]:
    made = Observatory(tmp_path)
    made.watched()
    yield made
    made.close()


def test_a_page_says_what_was_decided_and_where_theirs_is(town: Observatory) -> None:
    for back in (2, 1):
        town.said(NOW - back * DAY, 80, k=30)
    with monitor.watching(town.settings, town.config, until=NOW.isoformat()) as watch:
        assert pages.publish(watch, monitor.judged(watch, NAME), theirs=False) is None  # nothing was read yet
        read_journals(town.settings, town.config, watch.ledger, watch.eyes, NOW)
        found = monitor.judged(watch, NAME)
        page = pages.publish(watch, found)
    assert page is not None
    newest = monitor.newest_of(found, "drift")
    assert newest is not None
    assert page == town.folder / newest.report
    text = page.read_text(encoding="utf-8")
    assert text.index("Drift: yes") < text.index("Not deciding. Made from a sample: the newest 80 of 80")
    assert "http" not in text.replace("http-equiv", "")
    theirs = page.with_name(f"{page.stem}-evidently.html")
    assert theirs.name in text
    assert theirs.stat().st_size > 100_000
    assert list(page.parent.glob(".*")) == []
    short = drift_page.markdown([one for one in found if one.kind != "drift" or one is newest], page)
    assert "| k | " in short
    assert str(page) in short


def test_columns_without_a_figure_are_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"gone": [1.0] * 30, "still": ["a"] * 30, "empty": [None] * 30})
    said = sample_report.write(frame, frame.drop(columns="gone"), tmp_path / "page.html")
    assert [one.split(":")[0] for one in said] == ["gone", "still", "empty"]
    assert not (tmp_path / "page.html").exists()
