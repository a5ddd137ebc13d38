from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tasks.sheet import Sheet, publish, table

SHEET = Sheet(
    name="toy-v1",
    title="toy-v1",
    lines=("Why: <b>because</b>", "", *table(("gate", "result"), [("champion", "pass")])),
    footer="Card of <toy>.",
    verdict=("fail", "Discarded."),
)


def test_the_text_and_the_page_say_the_same_and_name_its_digest() -> None:
    assert SHEET.markdown.startswith("# toy-v1\n\n**Discarded.**\n\nWhy:")
    assert SHEET.digest in SHEET.html
    assert '<div class="verdict fail"><b>Discarded.</b></div>' in SHEET.html
    assert replace(SHEET, lines=("other",)).digest != SHEET.digest


def test_the_page_works_offline_and_escapes() -> None:
    assert "&lt;b&gt;because&lt;/b&gt;" in SHEET.html
    assert "Card of &lt;toy&gt;" in SHEET.html
    assert not re.search(r"<script|<link|@import|src=|url\(|https?://", SHEET.html)


def test_files_are_written_once_and_only_what_changed_again(tmp_path: Path) -> None:
    folder = tmp_path / "cards" / "toy"
    other = replace(SHEET, name="toy-v2")
    assert publish(folder, [SHEET, other]) == [folder / "toy-v1.html", folder / "toy-v2.html"]
    assert publish(folder, [SHEET, other]) == []
    assert publish(folder, [SHEET, replace(other, title="new")]) == [folder / "toy-v2.html"]
    assert sorted(path.name for path in folder.iterdir()) == ["toy-v1.html", "toy-v1.md", "toy-v2.html", "toy-v2.md"]


def test_a_table_without_rows_is_none() -> None:
    assert table(("a", "b"), []) == []
    assert table(("a", "b"), [("x", "1")], right=1) == ["| a | b |", "| --- | ---: |", "| x | 1 |", ""]
