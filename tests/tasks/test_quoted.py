from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

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


def page(docs: Path, text: bytes) -> dict[str, str]:
    (docs / "toy.md").write_bytes(text)
    return quoted.quoted("toy", docs)[0]


def test_a_heading_within_a_fence_is_none(docs: Path) -> None:
    found = page(docs, b"# T\n\np\n\n## Known failure modes\n\n```\n## no heading\n```\n\nrest\n")
    assert found[FAILURES] == "```\n## no heading\n```\n\nrest"


@pytest.mark.parametrize("fence", ["```", "~~~~", "  ```text"])
def test_a_fence_that_nobody_closed_ends_with_its_quote(docs: Path, fence: str) -> None:
    found = page(docs, f"# T\n\n## Known failure modes\n\n{fence}\nopen\n".encode())
    made = quoted.html(f"{found[FAILURES]}\n\n## Privacy\n")
    assert "<h2>Privacy</h2>" in made
    assert "open\n</code></pre>" in made


def test_a_heading_that_comes_again_loses_nothing(docs: Path) -> None:
    assert page(docs, b"## Known failure modes\nfirst\n## Known failure modes\n\n")[FAILURES] == "first"
    assert page(docs, b"## Known failure modes\na\n## Known failure modes\nb")[FAILURES] == "a\n\nb"


def test_a_byte_order_mark_makes_no_purpose_of_the_title(docs: Path) -> None:
    assert page(docs, b"\xef\xbb\xbf# Title\r\n\r\nwhy\r\n")[PURPOSE] == "why"
    assert PURPOSE not in page(docs, b"\xef\xbb\xbf# Title\n\n## Known failure modes\n\nx\n")


def test_a_byte_that_is_no_utf_8_stops_nothing(docs: Path) -> None:
    assert page(docs, b"## Known failure modes\n\nna\xefve\n")[FAILURES] == "na\ufffdve"


def test_code_stays_as_it_is_written() -> None:
    text = "`<x>` and <y>\n\n```\n<z> [a](b)\n```"
    assert quoted.harmless(text) == "`<x>` and &lt;y>\n\n```\n<z> [a](b)\n```"
    assert "<code>&lt;x&gt;</code>" in quoted.html(quoted.harmless(text))


@pytest.mark.parametrize(
    "text",
    [
        "![i](https://x.example/p.png)",
        "![i][r]\n\n[r]: https://x.example/p.png",
        "!![](a.md)![b](https://x.example)",
        "\\`<img src=x>\\`",
        "a ` b\n\n<img src=x> ` c",
        "| `a | <img src=x>` |\n|---|---|\n| ` | <b> ` |",
        "- ` x\n- <img src=x> `",
    ],
)
def test_no_picture_and_no_markup_is_left_for_any_viewer(text: str) -> None:
    found = MarkdownIt("commonmark").enable("table").render(quoted.harmless(text))
    assert not re.search(r"<img|<b>", found)
