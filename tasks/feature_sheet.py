"""The feature definitions of a version as a page: what each column is, its range and unit, and what changed since the last.

Pure. Made of what versions had when they were trained (`tasks.origin`). feature_vN stands for the definitions and for the
code that builds them, so definitions may stay while the number moves on; the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.contract import Feature
from tasks.escape import code, plain
from tasks.origin import Origin
from tasks.sheet import Sheet, table

FIRST = "The first that a version was trained with: there is nothing to compare it with."


def sheets(known: Sequence[Origin]) -> list[Sheet]:
    """One page per feature_vN that a version was trained with.

    Args:
        known: the versions of one model, oldest first.
    """
    first: dict[int, Origin] = {}
    for one in known:
        first.setdefault(one.versions.feature.number, one)
    before: Origin | None = None
    made = []
    for number in sorted(first):
        users = [one.name for one in known if one.versions.feature.number == number]
        made.append(_sheet(first[number], before, users))
        before = first[number]
    return made


def _sheet(made: Origin, before: Origin | None, users: Sequence[str]) -> Sheet:
    version = made.versions.feature
    lines = [
        f"Features of {plain(made.model)}: what `build` makes of its tables, the same for training and for one request. Used by {', '.join(plain(name) for name in users)}.",
        "",
        f"{version.name} stands for these definitions and for the code that builds them; digest {code(version.content)}.",
        "",
        "## What is built",
        "",
        *_definitions(made.features),
        "## What the monitors watch of a request",
        "",
        *_definitions(made.watched),
        f"## What changed{f' since {before.versions.feature.name}' if before else ''}",
        "",
        *([f"- {line}" for line in changes(made, before)] if before else [FIRST]),
    ]
    footer = f"Feature definitions {version.name} of {made.model}."
    return Sheet(name=version.name, title=f"{made.model}: {version.name}", lines=tuple(lines), footer=footer)


def limits(feature: Feature) -> str:
    """The range a value may have, ends included."""
    if feature.low is None and feature.high is None:
        return "any"
    low, high = ("" if end is None else f"{end:g}" for end in (feature.low, feature.high))
    return f"{low} .. {high}".strip()


def _definitions(features: Sequence[Feature]) -> list[str]:
    rows = (
        (code(one.name), one.dtype, limits(one), plain(one.unit) or "-", plain(one.meaning, 600)) for one in features
    )
    return table(("name", "type", "range", "unit", "meaning"), rows) or ["None.", ""]


def changes(made: Origin, before: Origin) -> list[str]:
    """What is other than before, definition by definition; nothing for the same feature_vN."""
    if made.versions.feature == before.versions.feature:
        return []
    said = [
        *_compared("feature", made.features, before.features),
        *_compared("watched", made.watched, before.watched),
    ]
    return said or ["the definitions are the same; the code that builds them changed"]


def _compared(kind: str, new: Sequence[Feature], old: Sequence[Feature]) -> Iterator[str]:
    now, then = ({one.name: one for one in features} for features in (new, old))
    for name in sorted(now.keys() | then.keys()):
        if name not in then:
            yield f"{kind} {code(name)} is new: {plain(now[name].meaning)}"
        elif name not in now:
            yield f"{kind} {code(name)} is gone"
        elif now[name] != then[name]:
            yield f"{kind} {code(name)}: {'; '.join(_parts(now[name], then[name]))}"
    if list(now) != list(then) and now.keys() == then.keys():
        yield f"{kind} columns are in another order"


def _parts(new: Feature, old: Feature) -> Iterator[str]:
    sides = {
        "type": (old.dtype, new.dtype),
        "range": (limits(old), limits(new)),
        "unit": (old.unit or "-", new.unit or "-"),
        "meaning": (old.meaning, new.meaning),
    }
    yield from (f"{part} was {plain(a)}, is {plain(b)}" for part, (a, b) in sides.items() if a != b)
