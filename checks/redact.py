"""Takes what points to a person out of a free text: e-mail addresses, personal parts of links, phone and account numbers.

Pure. Called by `tasks.minimise` for columns that declare `redact: true`, before anything else sees a row, and by `mask`
of a model whose requests hold texts: training and service see the same. Names of people and places are not found.
"""

from __future__ import annotations

import re
import unicodedata

EMAIL = "x@x.xx"  # as short as an address can be, and nobody's
REST = "/"  # stands for everything behind the host of a link
LINK = re.compile(r"(?i)(https?://|\bwww\.)([^\s/?#]*)([/?#]\S*)?")
BARE_LINK = re.compile(r"(?i)\b((?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24})[/?#]\S+")
ADDRESS = re.compile(r"(?i)[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
NUMBER = re.compile(r"\d{5,}|\d(?:[ ./()-]{0,2}\d){6,}")  # five digits in a row, or seven with the usual breaks


def redact(text: str) -> str:
    """The text without addresses and long numbers, never longer than it was; doing it again changes nothing.

    Length and look stay where they can: digits become 0, so a phone number still looks like one. Signs that stand for
    others (full-width digits, a mathematical @) are folded and invisible ones taken out first, or they would hide what
    is looked for; so a text of invisible signs only becomes empty.
    """
    plain = text if text.isascii() else _folded(text)
    plain = BARE_LINK.sub(rf"\1{REST}", LINK.sub(_link, plain))
    return NUMBER.sub(_zeros, ADDRESS.sub(EMAIL, plain))


def _folded(text: str) -> str:
    """One sign for one sign, by the compatibility forms of Unicode (NFKC); format signs (Cf) are dropped."""
    signs = ((sign, unicodedata.normalize("NFKC", sign)) for sign in text)
    folded = (form if len(form) == 1 else sign for sign, form in signs)
    return "".join(sign for sign in folded if unicodedata.category(sign) != "Cf")


def _link(found: re.Match[str]) -> str:
    scheme, authority, rest = found.groups()
    host = authority.rpartition("@")[2]  # before it stand a user and a password
    return f"{scheme}{host}{REST if rest else ''}"


def _zeros(found: re.Match[str]) -> str:
    return re.sub(r"\d", "0", found[0])
