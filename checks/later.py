"""Comparisons that begin later than the rollout, so that a KPI that falls after a long good time is found on what came since.

Pure. The interval over a whole rollout (`checks.tallies.compare`) must first outweigh all the equal answers from before a
fall. Beside it stand comparisons that begin after every `tallies.tuned_at` answers; a few are kept, of every age. They
only ever say "drop".

Source: each is an always-valid interval of its own (`checks.sequential`), and by the inequality of Boole they are wrong together with at most
the sum of what each may be. A drop is one side of a two-sided normal mixture; with level a that side is crossed with probability at most a / (2 - a): at
the crossing the mixture is 1/a or more; it is the mean of its two halves; the half that points the other way is below 1 there, so the other is above
2/a - 1, and Ville (1939) bounds that. `rate` shares among later comparisons what this leaves of alpha.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from checks import sequential, tallies
from checks.tallies import Comparison, Sides
from records import Counter, ReleasePlan, Rollout

AGES = 5  # of each power of two below 2**5 the two newest multiples are kept: at most eight comparisons
EVER = datetime(1, 1, 1, tzinfo=UTC)
Key = tuple[str, int, int]


@dataclass(frozen=True)
class Start:
    """Where a later comparison begins: the how-manieth it is, and what was counted by then."""

    number: int
    hour: datetime  # of a split form: rows of earlier hours are not in it
    counted: dict[Key, Counter]  # of pairs: what is not in it

    def since(self, rows: Iterable[Counter]) -> list[Counter]:
        """What was counted since, row by row."""
        return [_less(row, self.counted.get(_key(row))) for row in rows if row.hour >= self.hour]


@dataclass(frozen=True)
class Starts:
    """The later comparisons of one rollout and role that are kept, oldest first, and how many were begun."""

    of: tuple[str, str] = ("", "")  # salt, role
    paired: bool = False  # what is kept; before the first hit pairs look split
    begun: int = 0
    kept: tuple[Start, ...] = ()

    def after(self, plan: ReleasePlan, rows: Sequence[Counter]) -> Starts:
        """With one more look at the counters. Who looks for the first time begins with the next multiple: the rate of
        those before it may be spent."""
        who = tallies.sides(plan)
        if who is None or plan.rollout is None:
            return Starts()
        paired = tallies.are_paired(tallies.pairs_of(rows, who))
        closed = rows if paired else tallies.due(rows, plan.rollout.gates.attribution_seconds)
        number = int(tallies.size_of(closed, who) // tallies.tuned_at(plan.rollout))
        if self.of != (plan.salt, who.role):
            return Starts((plan.salt, who.role), paired, number)
        known = self if paired == self.paired else Starts(self.of, paired, self.begun)
        if number <= known.begun:
            return known
        wanted = ages(number)
        kept = tuple(one for one in known.kept if one.number in wanted)
        start = _of_pairs(number, tallies.pairs_of(rows, who)) if paired else _of_hours(number, closed)
        return Starts(self.of, paired, number, (*kept, start))


def ages(number: int) -> set[int]:
    """Which starts are kept when this many were begun: of each power of two the two newest multiples."""
    powers = [2**power for power in range(AGES)]
    return {number // power * power - back for power in powers for back in (0, power)}


def rate(number: int, alpha: float) -> float:
    """How often the k-th later comparison may exclude the truth: R / (k (k + 1)), R what the whole leaves of alpha."""
    # false drops of all later ones may have what is left, and each has at most rate / (2 - R / 2)
    left = alpha - alpha / (2 - alpha)
    return 2 * left / (1 + left / 2) / (number * (number + 1))


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
    # of pairs these alone: before the first hit they must not look split
    since: Sequence[Counter] = pairs if paired else rows
    for start in starts:
        doubt = rate(start.number, gates.alpha)
        own = replace(rollout, gates=replace(gates, alpha=doubt))
        newer = start.since(since)
        if not paired:
            since = newer  # the next begins later
        compared = tallies.compare(newer, who, own)
        if sequential.decide(compared.effect, gates.margin_fail, gates.margin_pass) == "drop":
            return Fallen(start, doubt, compared)
    return None


def _of_pairs(number: int, pairs: Iterable[Counter]) -> Start:
    """Begins now: both arms have the same labels."""
    return Start(number, EVER, {_key(row): row for row in pairs})


def _of_hours(number: int, closed: Iterable[Counter]) -> Start:
    """Begins with the next whole hour: of half an hour the labels that came first would be missing, in one arm more than the other."""
    return Start(number, max(row.hour for row in closed) + timedelta(hours=1), {})


def _key(row: Counter) -> Key:
    return row.arm, row.version, row.bucket


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
