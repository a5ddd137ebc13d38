"""Who saw which pages, arranged two ways: the long feature frame, and an index for looking up a page or a visitor.

The frame has one row per page of the catalogue, whose subject is empty, and one per (subject, page) seen. A page counts
once a visitor. The order in which a visitor saw pages is kept for the entry page only: nothing is learned from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from errors import SchemaError
from models.contract import Proposal
from models.kit import neighbours, split

CATALOGUE = ""  # the subject of a catalogue row
COLUMNS = ("visitor", "page", "title", "seen_at")
EVENT_TIME = "seen_at"
SHORTEST_STEM = 2  # letters of a page's name that must be left when an ending is taken off
DAY = pd.Timedelta(days=1)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Families(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pages are variants of one thing: a name's prefix and ending are taken off, unless the page is named."""

    prefixes: tuple[str, ...]
    endings: tuple[str, ...]
    named: dict[str, tuple[str, ...]]  # family -> its pages


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of every page: one entry each, in order of `pages`."""

    pages: tuple[str, ...]
    position: dict[str, int]
    families: tuple[str, ...]
    visitors: Floats
    days: Floats  # since the last visit


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """The feature frame: `starts[s] : starts[s + 1]` are the entries of visitor number s in `seen`."""

    catalogue: Catalogue
    subjects: dict[str, int]
    starts: Ints
    seen: Ints  # positions in the catalogue

    def of(self, subject: str | None) -> Ints:
        """Catalogue positions of what a visitor saw; none for one never seen."""
        at = self.subjects.get(subject, -1) if subject else -1
        return self.seen[:0] if at < 0 else self.seen[self.starts[at] : self.starts[at + 1]]

    def known(self, subject: str | None, pages: Iterable[str]) -> set[int]:
        """Catalogue positions of what the visitor saw and of the given pages; unknown ones are ignored."""
        found = {self.catalogue.position.get(page, -1) for page in pages} - {-1}
        return found.union(self.of(subject).tolist())


def page_name(text: str) -> str:
    """The address as the catalogue writes it: lower case, one slash in front, none at the end."""
    return "/" + text.strip().strip("/").lower()


def visits(table: pd.DataFrame) -> pd.DataFrame:
    """Each page of each visitor once, at its first time: subject, page, time; visits of nobody are left out.

    Raises:
        SchemaError: when the table lacks a column.
    """
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise SchemaError("table visits", expected=f"columns {list(COLUMNS)}", got=f"no {missing}")
    known = table.loc[table["visitor"].notna() & table["page"].notna(), ["visitor", "page", EVENT_TIME]]
    known = known.rename(columns={"visitor": "subject", EVENT_TIME: "time"}).astype({"subject": "str", "page": "str"})
    known["page"] = known["page"].map({page: page_name(page) for page in known["page"].unique()}).astype("str")
    return known.sort_values(["time", "subject", "page"]).drop_duplicates(["subject", "page"])


def features(seen: pd.DataFrame, as_of: datetime, families: Families) -> pd.DataFrame:
    """The long frame from `visits`: subject, page, family, visitors, days, place; catalogue first, then by visitor."""
    seen = seen.assign(days=(split.utc(as_of) - seen["time"]) / DAY, place=seen.groupby("subject").cumcount() + 1)
    catalogue = seen.groupby("page").agg(visitors=("page", "size"), days=("days", "min")).reset_index()
    catalogue = catalogue.assign(subject=CATALOGUE, place=0)
    own = seen.drop(columns="time").assign(visitors=1).sort_values(["subject", "page"])
    frame = pd.concat([catalogue, own], ignore_index=True)
    named = {page_name(page): family for family, pages in families.named.items() for page in pages}
    kin = {page: named.get(page) or stem(page, families) for page in catalogue["page"]}
    frame["family"] = frame["page"].map(kin)
    return frame.astype(
        {"subject": "str", "page": "str", "family": "str", "visitors": "int64", "place": "int64", "days": "float64"}
    )


def stem(page: str, families: Families) -> str:
    """The page's name without one ending and one prefix: /mswordsupport, /worddev and /msword are of one family."""
    name = page.removeprefix("/")
    for ending in families.endings:
        if name.endswith(ending) and len(name) - len(ending) >= SHORTEST_STEM:
            name = name.removesuffix(ending)
            break
    for prefix in families.prefixes:
        if name.startswith(prefix) and len(name) - len(prefix) >= SHORTEST_STEM:
            return name.removeprefix(prefix)
    return name


def index(frame: pd.DataFrame) -> Index:
    """The frame arranged for look-up; the order of its rows does not matter."""
    frame = frame.sort_values(["subject", "page"], kind="stable")
    pages, own = frame[frame["subject"] == CATALOGUE], frame[frame["subject"] != CATALOGUE]
    names = tuple(pages["page"])
    position = {page: at for at, page in enumerate(names)}
    numbers, subjects = pd.factorize(own["subject"])  # in order of appearance, which is sorted
    return Index(
        catalogue=Catalogue(
            pages=names,
            position=position,
            families=tuple(pages["family"]),
            visitors=pages["visitors"].to_numpy(np.float64),
            days=pages["days"].to_numpy(np.float64),
        ),
        subjects={subject: at for at, subject in enumerate(subjects)},
        starts=np.searchsorted(numbers, np.arange(len(subjects) + 1)).astype(np.int64),
        seen=own["page"].map(position).to_numpy(np.int64),
    )


def sessions(seen: pd.DataFrame) -> dict[str, list[str]]:
    """The pages of each visitor in the order they were seen, for visitors with at least two; sorted by visitor."""
    grouped = seen.groupby("subject", sort=True)["page"].agg(list)
    return {str(subject): pages for subject, pages in grouped.items() if len(pages) > 1}


def hide(subject: str, pages: Sequence[str]) -> tuple[list[str], str]:
    """The session without one page, and that page: chosen by the visitor's name, so by everyone alike.

    Which page it is depends neither on the order of the visits nor on a clock.
    """
    hidden = sorted(pages)[crc32(subject.encode()) % len(pages)]
    return [page for page in pages if page != hidden], hidden


def popular(found: Index, seen: Sequence[set[int]], near: Sequence[str]) -> Floats:
    """Share of visitors of every page, one more for the family of the page asked about; minus infinity where seen.

    Args:
        seen: of each request, catalogue positions that are left out.
        near: of each request, the page asked about, or "".

    Returns:
        (requests x pages).
    """
    catalogue = found.catalogue
    shares = catalogue.visitors / max(float(catalogue.visitors.sum()), 1.0)
    values = np.tile(shares, (len(seen), 1))
    members = _members(catalogue)
    for row, own, page in zip(values, seen, near, strict=True):
        at = catalogue.position.get(page, -1)
        if at >= 0:
            row[members[catalogue.families[at]]] += 1.0
        row[list(own)] = -np.inf
    return values


def ranked(pages: Sequence[str], values: Floats, counts: Sequence[int]) -> list[Proposal]:
    """The first pages of each row with their values; equal values in the order of `pages`."""
    proposals = []
    for row, best, count in zip(values, neighbours.top(values, max(counts, default=0)), counts, strict=True):
        kept = best[:count]
        proposals.append(Proposal(items=tuple(pages[at] for at in kept), scores=tuple(row[kept].tolist())))
    return proposals


def found(answers: Sequence[Proposal], hidden: Sequence[str], depth: int) -> npt.NDArray[np.bool_]:
    """Whether each of the first places of each answer holds its hidden page. Shape (answers, depth)."""
    table = np.zeros((len(answers), depth), dtype=np.bool_)
    for row, answer, page in zip(table, answers, hidden, strict=True):
        row[: len(answer.items)] = [item == page for item in answer.items[:depth]]
    return table


def _members(catalogue: Catalogue) -> Mapping[str, list[int]]:
    members: dict[str, list[int]] = {}
    for at, family in enumerate(catalogue.families):
        members.setdefault(family, []).append(at)
    return members
