"""What people or data wrote, as one line for a terminal: it cannot begin a line, move the cursor, or turn the reading direction.

Pure. Used where answers and audits are printed, and where an answer is taken.
"""

from __future__ import annotations

import unicodedata

from errors import UsageError

LONGEST = 2000
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format and surrogate characters, line and paragraph breaks


def oneline(text: str) -> str:
    """The text on one line, without characters that are not seen."""
    return "".join(one for one in " ".join(text.split()) if unicodedata.category(one) not in HIDDEN)


def odd(text: str) -> list[str]:
    """The characters of a text that are not seen or that break the line, each once, as they are written in code."""
    return sorted({ascii(one) for one in text if unicodedata.category(one) in HIDDEN})


def typed(option: str, text: str) -> str:
    """What a person gave to an option of the command line, without blanks around it.

    Raises:
        UsageError: when it is empty, endless, of several lines, or has characters that are not seen.
    """
    said = text.strip()
    if not 1 <= len(said) <= LONGEST:
        raise UsageError(option, expected=f"something, in at most {LONGEST} characters", got=len(said))
    if hidden := odd(said):
        raise UsageError(option, expected="one line of characters that can be seen", got=", ".join(hidden))
    return said
