from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.contract import names
from tasks import quoted
from tasks.quoted import FAILURES, FAIRNESS, PURPOSE, QUALITY, QUOTED

PAGE = """# toy

What it answers ([why](../decisions/030-x.md), [paper](https://doi.org/10.1/x)).

## How good it is

| | hit |
|---|---:|
| **ours** | 0.5 |

### In detail

Better.

## Known failure modes

![curve](worst.png)
- <script>alert(1)</script> is text, 1 < 2
"""


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "toy.md").write_text(PAGE)
    return tmp_path


def test_sections_are_quoted_whole_and_a_missing_one_is_said(docs: Path) -> None:
    found, note = quoted.quoted("toy", docs)
    assert list(found) == [PURPOSE, QUALITY, FAILURES]
    assert found[PURPOSE] == "What it answers (why, [paper](https://doi.org/10.1/x))."
    assert "### In detail" in found[QUALITY]
    assert found[FAILURES].startswith("curve\n")
    assert note == f"docs/models/toy.md has nothing under: {FAIRNESS}."


def test_a_model_without_a_page_and_an_installation_without_documentation_say_so(docs: Path) -> None:
    assert quoted.quoted("nobody", docs) == (
        {},
        "Nobody wrote a page about nobody: docs/models/nobody.md is not there.",
    )
    found, note = quoted.quoted("toy", docs / "nowhere")
    assert not found
    assert "carries no documentation" in note


def test_nothing_quoted_becomes_markup(docs: Path) -> None:
    text = quoted.html(PAGE)
    assert "&lt;script&gt;" in text
    assert not re.search(r"<(script|img|iframe|style)", text)
    assert re.findall(r'href="([^"]*)"', text) == ["https://doi.org/10.1/x"]
    assert "<script" not in quoted.quoted("toy", docs)[0][FAILURES]


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "http://example.org", "data:text/html,x", "../../etc/passwd", "//x"]
)
def test_a_link_that_leads_elsewhere_stays_text(address: str) -> None:
    assert "<a" not in quoted.html(f"[here]({address})")


def test_tables_scroll_and_marks_and_times_are_shown_as_such() -> None:
    text = quoted.html("| a | b |\n|---|---|\n| pass | 2026-11-22 06:19:32 |\n")
    assert '<div class="scroll"><table>' in text
    assert '<span class="mark pass">pass</span>' in text
    assert '<td class="when">2026-11-22 06:19:32</td>' in text


@pytest.mark.parametrize("name", names())
def test_every_model_on_disk_has_its_page_with_all_that_a_card_quotes(name: str) -> None:
    found, note = quoted.quoted(name)
    assert note == ""
    assert [heading for heading in (PURPOSE, *QUOTED) if not found.get(heading)] == []
