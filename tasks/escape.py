"""What people and models wrote, as text in Markdown: it cannot become a heading, a link or a row of a table.

That holds for viewers that link bare addresses too; only a mail address may still be one there. What turns the direction of
writing, and control characters, are shown as U+FFFD.
Pure, and without a heavy import: the page of a ballot is made with it.
"""

from __future__ import annotations

import re

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")
ADDRESS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)  # what GitHub and others make a link of by itself
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST = 300


def plain(text: str, longest: int = LONGEST) -> str:
    """Text as text: on one line, cut, and without meaning to Markdown."""
    flat = _seen(text)
    cut = flat if len(flat) <= longest else f"{flat[: longest - 1]}…"
    return ADDRESS.sub(r"\\\g<0>", SPECIAL.sub(r"\\\1", cut))


def code(text: str) -> str:
    """A name as it is written in code and configuration."""
    return f"`{_seen(text.replace('`', chr(39)))}`".replace("|", "\\|")


def _seen(text: str) -> str:
    """On one line, with nothing in it that cannot be seen and changes how the rest is read."""
    return UNSEEN.sub("\ufffd", " ".join(text.split()))
