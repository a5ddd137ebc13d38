"""What a newsroom adds to an order of packages: which may not be shown, and what a slate looks like to the monitors.

The rules of `fill`, each by the name it has in `overruled`:

    withheld        the editor said so with the request           hard
    blocked_phrase  the headline has a phrase the house bans      hard
    twin            same picture and nearly the same words as one that stands further up
    shouting        most of its letters are capitals              gives way when nothing else is left
    shown_lately    the same headline was tested lately           gives way when nothing else is left
    max_places      more was asked for than the house shows
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from models.contract import Decided, Feature, Proposal
from models.kit import headlines

MAX_PACKAGES, MAX_ID, MAX_HEADLINE = 50, 128, 500
DTYPES = {"int64": "int64", "float64": "float64"}
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

WATCHED: tuple[Feature, ...] = (
    Feature(name="packages", dtype="int64", low=1, high=MAX_PACKAGES, unit="packages", meaning="in the slate"),
    Feature(name="headlines", dtype="int64", low=1, high=MAX_PACKAGES, unit="headlines", meaning="different ones"),
    Feature(name="images", dtype="int64", low=0, high=MAX_PACKAGES, unit="images", meaning="different ones, named"),
    Feature(name="characters", dtype="float64", low=0, high=MAX_HEADLINE, unit="characters", meaning="mean length"),
    Feature(name="sentences", dtype="float64", low=0, high=MAX_HEADLINE, unit="sentences", meaning="mean"),
    Feature(name="question", dtype="float64", low=0, high=1, meaning="share of headlines with a question mark"),
    Feature(name="digits", dtype="float64", low=0, high=1, meaning="share of headlines with a digit"),
    Feature(name="capitals", dtype="float64", low=0, high=1, meaning="share of words that begin with a capital"),
    Feature(name="strange", dtype="float64", low=0, high=1, meaning="share of words that no earlier headline had"),
)
_MEANS = ("characters", "sentences", "question", "digits", "capitals")


class Package(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]
    headline: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_HEADLINE)]
    image: Annotated[str, msgspec.Meta(max_length=MAX_ID)] = ""  # a name; only whether two are the same is used
    withheld: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    blocked_phrases: tuple[Annotated[str, msgspec.Meta(min_length=3)], ...]  # anywhere in a headline, both folded
    max_capitals: Share  # of the letters
    twin_words: Share  # common words over all words of two headlines (Jaccard) that make them twins
    max_places: Annotated[int, msgspec.Meta(ge=1, le=MAX_PACKAGES)]


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What earlier headlines say: their words, and those shown lately, folded."""

    words: frozenset[str]
    lately: frozenset[str]


class _Read(NamedTuple):
    """A package and what the rules look at, read once: a slate compares each with each."""

    package: Package
    folded: str
    words: frozenset[str]


def index(features: pd.DataFrame) -> Index:
    """From the feature frame of `contests.features`."""
    texts = features["headline"].unique()
    lately = features.loc[features["recent"], "headline"].unique()
    return Index(
        words=frozenset(word for text in texts for word in headlines.words(headlines.folded(text))),
        lately=frozenset(headlines.folded(text) for text in lately),
    )


def fill(proposal: Proposal, packages: Sequence[Package], places: int, known: Index | None, policy: Policy) -> Decided:
    """The first packages of a proposal that no rule keeps out, at most `places`, naming each rule that did."""
    by_id = {package.id: package for package in packages}
    order = [_read(by_id[item]) for item in proposal.items]
    banned = _folded(policy.blocked_phrases)
    hard = [_hard(one, banned) for one in order]
    taste = [rule or _soft(one, known, policy) for rule, one in zip(hard, order, strict=True)]
    kept, overruled = _walk(order, taste, policy)
    if not kept:  # a matter of taste leaves no place empty
        kept, overruled = _walk(order, hard, policy)
    if len(kept) > policy.max_places < places:
        overruled |= {"max_places"}
    kept = kept[: min(places, policy.max_places)]
    return Decided(
        items=tuple(proposal.items[at] for at in kept),
        scores=tuple(proposal.scores[at] for at in kept),
        overruled=tuple(sorted(overruled)),
    )


def observe(known: Index, slates: Sequence[Sequence[Package]]) -> pd.DataFrame:
    """The WATCHED columns of each slate; `strange` is missing where no headline has a word."""
    rows = [_seen(known, slate) for slate in slates]
    frame = pd.DataFrame(rows, columns=[feature.name for feature in WATCHED])
    return frame.astype({feature.name: DTYPES[feature.dtype] for feature in WATCHED})


def _read(package: Package) -> _Read:
    text = headlines.folded(package.headline)
    return _Read(package, text, frozenset(headlines.words(text)))


@functools.lru_cache(maxsize=16)
def _folded(phrases: tuple[str, ...]) -> tuple[str, ...]:
    """Without those of which nothing is left, since they are in every headline."""
    return tuple(text for phrase in phrases if (text := headlines.folded(phrase)))


def _walk(order: Sequence[_Read], rules: Sequence[str], policy: Policy) -> tuple[list[int], frozenset[str]]:
    """Places of the packages that stay, and the rules that took others out. `rules`: of each, empty when none forbids it."""
    kept: list[int] = []
    overruled: set[str] = set()
    for at, one in enumerate(order):
        rule = rules[at] or ("twin" if any(_twins(one, order[up], policy) for up in kept) else "")
        if rule:
            overruled.add(rule)
        else:
            kept.append(at)
    return kept, frozenset(overruled)


def _hard(one: _Read, banned: Sequence[str]) -> str:
    if one.package.withheld:
        return "withheld"
    return "blocked_phrase" if any(phrase in one.folded for phrase in banned) else ""


def _soft(one: _Read, known: Index | None, policy: Policy) -> str:
    letters = "".join(filter(str.isalpha, one.package.headline))
    if letters and sum(map(str.isupper, letters)) > policy.max_capitals * len(letters):
        return "shouting"
    return "shown_lately" if known is not None and one.folded in known.lately else ""


def _twins(one: _Read, two: _Read, policy: Policy) -> bool:
    """The same picture, or none named, and nearly the same words."""
    if one.package.image != two.package.image:
        return False
    if not one.words or not two.words:
        return one.package.headline == two.package.headline
    common = len(one.words & two.words)
    return common >= policy.twin_words * (len(one.words) + len(two.words) - common)


def _seen(known: Index, slate: Sequence[Package]) -> tuple[float, ...]:
    texts = [package.headline for package in slate]
    means = dict(zip(headlines.NAMES, headlines.traits(texts).mean(axis=0).tolist(), strict=True))
    words = [word for text in texts for word in headlines.words(headlines.folded(text))]
    strange = sum(word not in known.words for word in words) / len(words) if words else np.nan
    images = {package.image for package in slate if package.image}
    return (len(slate), len(set(texts)), len(images), *(means[name] for name in _MEANS), strange)
