"""What a headline looks like: traits that an editor would name, and hashed pieces of its letters.

Read by models that rank texts; the same functions serve training and requests. Nothing is learned here and nothing is
stored: a piece's place follows from its hash, so a vocabulary need not travel. Traits need no library.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.contract import Feature

Floats = npt.NDArray[np.float64]
Unit = Literal["letters", "words"]
WORD = re.compile(r"[A-Za-z0-9']+")  # of the traits: what was learned reads English
ANY_WORD = re.compile(r"[^\W_]+")  # of a folded headline, in any script
APOSTROPHES = "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u2018\u2019\u201a\u201b\u2032\u2035\ua78c\uff07"
MARKS = dict.fromkeys(map(ord, APOSTROPHES), "") | dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033"), '"')
HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)  # drawn as nothing
SENTENCE_END = re.compile(r"[.!?…]+(?:\s|$)")
QUOTED = re.compile(r"(?<!\w)['‘]|['’](?!\w)")
FEW = 2  # quotation marks that make a quotation
ARTICLES = frozenset({"a", "an", "the"})
POINTING = frozenset({"this", "these", "here", "meet", "watch", "see"})
ASKING = frozenset({"why", "how", "what", "who", "when", "where", "if"})
# fmt: off
SMALL = frozenset({
    "the", "a", "an", "of", "to", "in", "is", "it", "and", "that", "this", "for", "on", "with", "as", "are", "was", "be",
    "at", "by", "from", "or", "but", "not", "you", "your", "he", "she", "his", "her", "they", "we", "i", "my", "their",
    "its", "have", "has", "had", "what", "when", "who", "how",
})
# fmt: on

TRAITS: tuple[Feature, ...] = tuple(
    Feature(name=name, dtype="float64", meaning=meaning, unit=unit, low=0.0, high=high)
    for name, high, unit, meaning in (
        ("characters", 1e3, "characters", "length of the headline"),
        ("words", 500.0, "words", "in the headline"),
        ("word_length", 1e3, "characters", "mean of its words"),
        ("question", 1.0, "", "has a question mark"),
        ("exclamation", 1.0, "", "has an exclamation mark"),
        ("ellipsis", 1.0, "", "trails off in dots"),
        ("colon", 1.0, "", "has a colon"),
        ("commas", 500.0, "commas", "in the headline"),
        ("double_quotes", 1.0, "", "has double quotation marks"),
        ("single_quotes", 1.0, "", "has a pair of single quotation marks"),
        ("digits", 1.0, "", "has a digit"),
        ("starts_with_digit", 1.0, "", "a list, mostly"),
        ("shouted", 500.0, "words", "of two letters and more in capitals"),
        ("capitals", 1.0, "", "share of words that begin with a capital"),
        ("sentences", 500.0, "sentences", "in the headline"),
        ("ends_full_stop", 1.0, "", "ends in a full stop"),
        ("ends_question", 1.0, "", "ends in a question mark"),
        ("ends_exclamation", 1.0, "", "ends in an exclamation mark"),
        ("brackets", 1.0, "", "has a bracket"),
        ("dash", 1.0, "", "has a dash or hyphen"),
        ("hash", 1.0, "", "has a hash sign"),
        ("dollar", 1.0, "", "has a dollar sign"),
        ("percent", 1.0, "", "has a per cent sign"),
        ("different_words", 1.0, "", "share of words that are different"),
        ("longest_word", 1e3, "characters", "of the headline"),
        ("small_words", 1.0, "", "share of words that say little by themselves"),
        ("starts_with_article", 1.0, "", "a, an, the"),
        ("starts_pointing", 1.0, "", "this, these, here, meet, watch, see"),
        ("starts_asking", 1.0, "", "why, how, what, who, when, where, if"),
    )
)
NAMES = tuple(trait.name for trait in TRAITS)


def traits(headlines: Sequence[str]) -> Floats:
    """One row per headline, one column per TRAITS. Shape (headlines, traits)."""
    rows = [_traits(headline) for headline in headlines]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(TRAITS))


def words(folded: str) -> list[str]:
    """The words of a folded headline, whatever its script."""
    return ANY_WORD.findall(folded)


def folded(headline: str) -> str:
    """The headline without what changes nothing to a reader.

    Case, outer and double blanks, apostrophes, the shape of double quotation marks, wide and other compatible letters
    (NFKC), and characters that cannot be seen.
    """
    plain = unicodedata.normalize("NFKC", headline.translate(MARKS)).casefold()
    if not plain.isascii():
        plain = HIDDEN.sub("", plain)
    if not plain.isprintable():
        plain = "".join(letter for letter in plain if letter.isprintable() or letter.isspace())
    return " ".join(plain.split())


def pieces(headlines: Sequence[str], bits: int, longest: int, unit: Unit = "letters") -> Any:
    """How often each piece occurs, as 1 + log(count). Sparse, (headlines, 2^bits).

    A piece is 2 to `longest` letters within a word, or 1 to `longest` words. Its column is its hash (MurmurHash3); pieces
    that share a column are counted together.
    """
    from scipy import sparse  # noqa: PLC0415 - the rules answer without it

    places = {
        headline: at for at, headline in enumerate(dict.fromkeys(headlines))
    }  # nearly half of those tested repeat
    counted = sparse.csr_array(_hasher(bits, longest, unit).transform(places))
    counted.data = 1.0 + np.log(counted.data)
    return counted if len(places) == len(headlines) else counted[[places[headline] for headline in headlines]]


@functools.lru_cache(maxsize=16)
def _hasher(bits: int, longest: int, unit: Unit) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415 - the rules answer without it

    kind, least = ("char_wb", 2) if unit == "letters" else ("word", 1)
    return HashingVectorizer(
        analyzer=kind, ngram_range=(least, longest), n_features=2**bits, alternate_sign=False, norm=None
    )


@functools.lru_cache(maxsize=65_536)
def _traits(headline: str) -> tuple[float, ...]:
    found = WORD.findall(headline)
    small = [word.lower() for word in found]
    count, end, first = max(1, len(found)), headline.rstrip()[-1:], small[0] if small else ""
    return (
        float(len(headline)),
        float(len(found)),
        sum(map(len, found)) / count,
        float("?" in headline),
        float("!" in headline),
        float("..." in headline or "…" in headline),
        float(":" in headline),
        float(headline.count(",")),
        float(any(mark in headline for mark in '"“”')),
        float(len(QUOTED.findall(headline)) >= FEW),
        float(any(letter.isdigit() for letter in headline)),
        float(headline.lstrip()[:1].isdigit()),
        float(sum(word.isupper() and len(word) > 1 for word in found)),
        sum(word[0].isupper() for word in found) / count,
        float(max(1, len(SENTENCE_END.findall(headline)))),
        float(end == "."),
        float(end == "?"),
        float(end == "!"),
        float("(" in headline),
        float(any(dash in headline for dash in "-—–")),
        float("#" in headline),
        float("$" in headline),
        float("%" in headline),
        len(set(small)) / count,
        float(max(map(len, found), default=0)),
        sum(word in SMALL for word in small) / count,
        float(first in ARTICLES),
        float(first in POINTING),
        float(first in ASKING),
    )
