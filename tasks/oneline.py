"""What people or data wrote, as one line for a terminal: it cannot begin a line, move the cursor, or turn the reading direction.

Pure. Used where answers and audits are printed, and where an answer is taken.
"""

from __future__ import annotations

import unicodedata

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format and surrogate characters, line and paragraph breaks


def oneline(text: str) -> str:
    """The text on one line, without characters that are not seen."""
    return "".join(one for one in " ".join(text.split()) if unicodedata.category(one) not in HIDDEN)


def odd(text: str) -> list[str]:
    """The characters of a text that are not seen or that break the line, each once, as they are written in code."""
    return sorted({ascii(one) for one in text if unicodedata.category(one) in HIDDEN})
