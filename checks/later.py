"""Comparisons that begin later than the rollout, so that a KPI that falls after a long good time is found on what came since.

Pure. The interval over a whole rollout (`checks.tallies.compare`) must first outweigh all the equal answers from before a
fall. Beside it stand comparisons that begin after every `tallies.tuned_at` answers; a few are kept, of every age. They
only ever say "drop".

Source: each is an always-valid interval of its own (`checks.sequential`), and by the inequality of Boole they are wrong together with at most
the sum of their rates. The rate of the k-th is 0.85 alpha / (k (k + 1)), which sums to 0.85 alpha. That leaves a false drop below alpha in all: of a
two-sided normal mixture with level a, one side alone is crossed with probability at most a / (2 - a). At the crossing the mixture is 1/a or more; it is
the mean of its two halves; the half that points the other way is below 1 there, so the other is above 2/a - 1, and Ville (1939) bounds that.
With a = alpha for the whole and the rates above for the rest it comes to less than alpha for every alpha up to 0.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from checks import sequential, tallies
from checks.tallies import Comparison, Sides
from records import Counter, ReleasePlan, Rollout

SHARE = 0.85  # of alpha, for all later comparisons together
AGES = 5  # of each power of two below 2**5 the two newest multiples are kept: at most eight comparisons
EVER = datetime(1, 1, 1, tzinfo=UTC)
Key = tuple[str, int, int, datetime]


@dataclass(frozen=True)
class Start:
    """Where a later comparison begins: the how-manieth it is, and what was counted by then."""

    number: int
    size: float  # answers before it, as `tallies.size_of` counts them
    hour: datetime  # rows of earlier hours are not in it
    counted: dict[Key, Counter]

    def since(self, rows: Sequence[Counter], *, paired: bool) -> list[Counter]:
        """What was counted since, row by row."""
        newer = [row for row in rows if paired or row.hour >= self.hour]
        return [_less(row, self.counted.get(_key(row, paired=paired))) for row in newer]


@dataclass(frozen=True)
class Starts:
    """The later comparisons of one rollout and role that are kept, oldest first, and how many were begun."""

    of: tuple[str, str] = ("", "")  # salt, role
    begun: int = 0
    kept: tuple[Start, ...] = ()

    def after(self, plan: ReleasePlan, rows: Sequence[Counter]) -> Starts:
        """With one more look at the counters. Who looks for the first time begins with the next multiple: the rate of
        those before it may be spent."""
        who = tallies.sides(plan)
        if who is None or plan.rollout is None:
            return Starts()
        size = tallies.size_of(rows, who)
        number = int(size // tallies.tuned_at(plan.rollout))
        if self.of != (plan.salt, who.role):
            return Starts((plan.salt, who.role), number)
        if number <= self.begun:
            return self
        wanted = ages(number)
        kept = tuple(one for one in self.kept if one.number in wanted)
        return Starts(self.of, number, (*kept, _start(number, size, rows, paired=_are_pairs(rows, who))))


def ages(number: int) -> set[int]:
    """Which starts are kept when this many were begun: of each power of two the two newest multiples."""
    powers = [2**power for power in range(AGES)]
    return {number // power * power - back for power in powers for back in (0, power)}


def rate(number: int, alpha: float) -> float:
    """How often the k-th later comparison may exclude the truth."""
    return SHARE * alpha / (number * (number + 1))


@dataclass(frozen=True)
class Fallen:
    """A later comparison that says drop."""

    start: Start
    rate: float
    compared: Comparison


def fallen(starts: Sequence[Start], rows: Sequence[Counter], who: Sides, rollout: Rollout) -> Fallen | None:
    """The one that says drop on the most answers; None when none does."""
    gates, pairs = rollout.gates, tallies.pairs_of(rows, who)
    paired = tallies.are_paired(pairs)
    judged = pairs if paired else rows  # of pairs these alone: before the first hit they must not look split
    for start in starts:
        doubt = rate(start.number, gates.alpha)
        own = replace(rollout, gates=replace(gates, alpha=doubt))
        compared = tallies.compare(start.since(judged, paired=paired), who, own)
        if sequential.decide(compared.effect, gates.margin_fail, gates.margin_pass) == "drop":
            return Fallen(start, doubt, compared)
    return None


def _are_pairs(rows: Sequence[Counter], who: Sides) -> bool:
    return tallies.are_paired(tallies.pairs_of(rows, who))


def _start(number: int, size: float, rows: Sequence[Counter], *, paired: bool) -> Start:
    hour = EVER if paired else max((row.hour for row in rows if row.answers), default=EVER)
    return Start(number, size, hour, {_key(row, paired=paired): row for row in rows if row.hour >= hour})


def _key(row: Counter, *, paired: bool) -> Key:
    return row.arm, row.version, row.bucket, EVER if paired else row.hour


def _less(row: Counter, before: Counter | None) -> Counter:
    if before is None:
        return row
    return Counter(  # written out, since the guard does this some thousand times a second
        model=row.model,
        salt=row.salt,
        arm=row.arm,
        version=row.version,
        bucket=row.bucket,
        hour=row.hour,
        answers=row.answers - before.answers,
        errors=row.errors - before.errors,
        late=row.late - before.late,
        matured=row.matured - before.matured,
        total=row.total - before.total,
        squares=row.squares - before.squares,
        other_total=row.other_total - before.other_total,
        other_squares=row.other_squares - before.other_squares,
        cross=row.cross - before.cross,
    )
