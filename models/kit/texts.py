"""Short texts taken apart: what makes two the same, their n-grams, their shape, and plain signs of an advertisement.

Pure standard library, so that rules can use it without the model library. Texts are as `checks.redact` leaves them: a long
number is a row of zeros. Read by `models/spam.py` and by the learner beside this file.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import NamedTuple

CHARACTERS = (1, 4)  # lengths of character n-grams, and
WORDS = (1, 2)  # of word n-grams: grownet bench search spam
WORD = re.compile(r"\w+|[£$€!?@%&]")
BLANKS, MARKS, DIGIT = re.compile(r"\s+"), re.compile(r"\W+"), re.compile(r"\d")
PADDING = re.compile(r"[\W_]+")
SIGNS = {  # of somebody who wants an answer or money; looked for in small letters
    "number": re.compile(r"\d{5,}|\d(?:[ ./()-]{0,2}\d){6,}"),
    "link": re.compile(r"https?://|\bwww\.|\b\w{2,63}\.(?:com|net|org|info|biz|tv|mobi|co|uk)\b|\bwap\b"),
    "price": re.compile(r"[£$€] ?\d|\d ?p\b|ppm|p/m|\d/(?:wk|week|msg|min)"),
    "prize": re.compile(
        r"\b(?:prize|won|win|winner|award|awarded|claim|guaranteed|selected|voucher|bonus|urgent|free)\b"
    ),
    "order": re.compile(
        r"\b(?:txt|text|reply|call|ring|send)\b.{0,40}?\d|\bstop\b|\bunsub|\bopt ?-?out|\bt&c|\b1[68]\+"
    ),
}


class Shape(NamedTuple):
    """What is seen of a text without reading it."""

    characters: int
    digits: float  # shares of the characters
    capitals: float
    signs: frozenset[str]  # names of SIGNS


def key(text: str) -> str:
    """What makes two texts the same: letters and digits only, in small letters, each digit a 0."""
    plain = DIGIT.sub("0", MARKS.sub(" ", text.casefold())).strip()
    return plain or BLANKS.sub(" ", text).strip()  # a text of marks only is the same as itself


def digest(text: str) -> str:
    """The key, hashed: the name of a text that may be kept where the text may not."""
    return hashlib.sha256(key(text).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def characters(text: str) -> Counter[str]:
    """Character n-grams of the text in small letters, blanks run together."""
    plain = BLANKS.sub(" ", text.casefold())
    low, high = CHARACTERS
    return Counter(plain[at : at + n] for n in range(low, high + 1) for at in range(len(plain) - n + 1))


def words(text: str) -> Counter[str]:
    """Word n-grams: words and a few telling marks, each digit a 0."""
    found = WORD.findall(DIGIT.sub("0", text.casefold()))
    low, high = WORDS
    return Counter(" ".join(found[at : at + n]) for n in range(low, high + 1) for at in range(len(found) - n + 1))


def length(text: str) -> int:
    """How much there is to read: characters, each run of blanks and marks counting as one."""
    return len(PADDING.sub(" ", text).strip())


def shape(text: str) -> Shape:
    """The shape of a text; shares of an empty one are 0."""
    count = max(len(text), 1)
    digits = sum(sign.isdecimal() for sign in text)
    capitals = sum(sign.isupper() for sign in text)
    return Shape(len(text), digits / count, capitals / count, signs(text))


def signs(text: str) -> frozenset[str]:
    """The names of the SIGNS in it."""
    plain = text.casefold()
    return frozenset(name for name, pattern in SIGNS.items() if pattern.search(plain))
