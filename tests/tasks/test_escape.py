from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from tasks.escape import code, plain


@pytest.mark.parametrize(
    "text", ["https://evil.example/x", "see http://evil.example", "_www.evil.example", "ftp://x.y"]
)
def test_an_address_reads_as_it_is_and_no_viewer_links_it(text: str) -> None:
    written = plain(text)
    assert not re.search(r"(?<!\\)://|www\.", written)
    assert MarkdownIt("commonmark").render(written) == f"<p>{text}</p>\n"


@pytest.mark.parametrize("sign", ["\x1b", "\x00", "\u202e", "\u2066", "\u200f", "\x9b", "\ud800"])
def test_what_cannot_be_seen_is_shown(sign: str) -> None:
    assert plain(f"a{sign}b") == "a\ufffdb"
    assert code(f"a{sign}b") == "`a\ufffdb`"


def test_text_is_cut_before_it_is_escaped() -> None:
    assert plain("*" * 9, 3) == "\\*\\*…"
