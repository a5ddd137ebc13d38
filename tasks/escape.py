"""What people and models wrote, as text in Markdown: it cannot become a heading, a link or a row of a table.

Pure, and without a heavy import: the page of a ballot is made with it.
"""

from __future__ import annotations

import re

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")
LONGEST = 300


def plain(text: str, longest: int = LONGEST) -> str:
    """Text as text: on one line, cut, and without meaning to Markdown."""
    flat = " ".join(text.split())
    cut = flat if len(flat) <= longest else f"{flat[: longest - 1]}…"
    return SPECIAL.sub(r"\\\1", cut)


def code(text: str) -> str:
    """A name as it is written in code and configuration."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")
