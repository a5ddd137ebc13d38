"""How long until a drop is said: against how large it is and how much traffic there is, beside the sample that was printed.

The clock runs from the first answer, labels come late as in `world`. Printed is what the guard says is needed, at the first
look with the first step's sample; planned is what could be said of a drop of this size before any answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.judging.judges import ALPHA, FORMS, LEAST, MARGIN, OURS, TUNED_AT, ends
from benchmarks.judging.looks import Looks
from benchmarks.judging.world import SLOTS_A_DAY, Floats, World, chunks, draw
from checks import sequential
from checks.sequential import Effect

EFFECTS = (-0.1, -0.15, -0.2, -0.3, -0.5)
TRAFFIC = (200, 800, 3200)  # answers a day
PEOPLE = 5  # subjects for each of them: more traffic is more people
SHARE = 0.25  # of the canary, held: a growing one would hide what the traffic does


@dataclass
class Seen:
    """What came of some runs: when the drop was said, and what was printed before."""

    runs: int = 0
    days: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    printed: list[float] = field(default_factory=list)

    def add(self, chunk: Looks) -> None:
        low, high = ends(OURS, chunk)
        dropped = high < -MARGIN
        for run in range(len(dropped)):
            self.runs += 1
            said = printed(chunk, (low, high), run)
            if said is not None:
                self.printed.append(said)
            if dropped[run].any():
                at = int(dropped[run].argmax())
                self.days.append(float(chunk.time[run, at]) / SLOTS_A_DAY)
                self.answers.append(float(chunk.matured[run, at]))

    def facts(self) -> dict[str, Any]:
        never = self.runs - len(self.days)
        return {
            "runs": self.runs,
            "never": never / self.runs,
            "days": of_all(self.days, never),
            "answers": of_all(self.answers, never),
            "printed": float(np.median(self.printed)) if self.printed else None,
        }


def delays(world: World, runs: int, seed: int) -> list[dict[str, Any]]:
    """A row for each form, traffic and effect."""
    rows = []
    for a_day in TRAFFIC:
        for effect in EFFECTS:
            here = replace(world, a_day=a_day, subjects=PEOPLE * a_day, effect=effect, steps=((0.0, SHARE),))
            seen = {form: Seen() for form in FORMS}
            for drawn in chunks(here, runs, seed):
                for form, one in seen.items():
                    one.add(FORMS[form](drawn))
            plan = planned(here, effect)
            rows += [
                {"form": form, "a_day": a_day, "effect": effect, **one.facts(), "planned": plan[form]}
                for form, one in seen.items()
            ]
    return rows


def of_all(values: list[float], never: int) -> list[float | None]:
    """Median and 90th percentile of all runs, None where the drop was not said by then."""
    ordered: list[float | None] = [*sorted(values), *[None] * never]
    return [ordered[round(part * (len(ordered) - 1))] if ordered else None for part in (0.5, 0.9)]


def printed(chunk: Looks, both: tuple[Floats, Floats], run: int) -> float | None:
    """Matured answers and those still needed, together, at the first look with the sample of the first step."""
    at = int(np.argmax(chunk.matured[run] >= LEAST))
    if chunk.matured[run, at] < LEAST or chunk.size[run, at] <= 0:
        return None
    effect = effect_at(chunk, both, run, at)
    more = sequential.still_needed(effect, MARGIN, MARGIN, alpha=ALPHA, tuned_at=TUNED_AT)
    if more is None:
        return None
    matured = float(chunk.matured[run, at])
    return matured + more * max(matured / effect.size, 1.0)


def effect_at(chunk: Looks, both: tuple[Floats, Floats], run: int, at: int) -> Effect:
    """What the guard holds at one look."""
    low, high, arm, control, size = (float(one[run, at]) for one in (*both, chunk.arm, chunk.control, chunk.size))
    ratio, squares = arm / control, [float(one[run, at]) for one in chunk.by_bucket]
    noise = squares[0] - 2 * ratio * squares[1] + ratio**2 * squares[2]
    least = max(float(one[run, at]) for one in chunk.least)
    return Effect(ratio - 1, low, high, size, size * noise / control**2, size * least / control**2)


def planned(world: World, effect: float) -> dict[str, int | None]:
    """Matured answers for a drop of this size by form, from the control's rate and the arms' agreement alone."""
    known = draw(replace(world, effect=0.0, a_day=5000), 1, np.random.default_rng(0))
    rate, agreement = float(known.control.mean()), float(np.corrcoef(known.arm[0], known.control[0])[0, 1])
    needs = {
        form: sequential.answers_needed(
            sequential.hit_variance(rate, MARGIN, agreement=shared), -effect - MARGIN, alpha=ALPHA, tuned_at=TUNED_AT
        )
        for form, shared in (("paired", agreement), ("split", None))
    }
    whole = needs["split"]
    return {"paired": needs["paired"], "split": None if whole is None else round(whole / (1 - SHARE))}
