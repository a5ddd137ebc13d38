"""The page of a rollout: its steps and where it is, the arms, the evidence so far, what is still needed, who must act.

Pure Markdown; the flow `progress` keeps it among its artifacts, newest last, beside a bar with the same in a line.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.operating import since
from checks.plans import describe
from checks.progress import Progress, in_step
from records import GuardVerdict, ReleasePlan, Step
from stores.ledger.ballots import Ballot
from tasks.escape import plain
from tasks.stops import WORDS

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def markdown(found: Progress, history: list[ReleasePlan], waiting: Ballot | None) -> str:
    """The page.

    Args:
        history: all revisions of the model, the current one last.
        waiting: its open ballot.
    """
    return "\n".join(
        [
            f"# {found.plan.model}: {headline(found)}",
            "",
            plain(describe(found.plan), 2000),
            "",
            f"**Who must act:** {acts(found, waiting)}",
            "",
            *_needed(found),
            *_steps(found),
            *_arms(found.plan),
            *_evidence(found.verdict, found.plan),
            *_stops(history),
        ]
    )


def headline(found: Progress) -> str:
    """Where the rollout is, in a few words."""
    plan = found.plan
    if plan.canary is not None and plan.rollout is not None:
        share = share_of(plan.rollout.steps[plan.step])
        return f"{plan.canary.name} at step {plan.step + 1} of {len(plan.rollout.steps)}, {share}"
    if plan.mode == "rules" or plan.champion.is_rules:
        return "the rules answer, no rollout runs"
    against = f", compared with {plan.control.name}" if plan.control is not None else ""
    return f"{plan.champion.name} answers, no rollout runs{against}"


def line(found: Progress, waiting: Ballot | None) -> str:
    """The whole of it in a paragraph, for the bar; it begins with the revision."""
    said = [f"{mark(found.plan)} {headline(found)}."]
    if found.verdict is not None:
        said.append(f"Guard: {plain(found.verdict.reason, 1000)}.")
    if found.running:
        said.append(f"Still needed: {_sample(found)}; {_time(found)}.")
    return " ".join([*said, f"Who must act: {acts(found, waiting)}."])


def mark(plan: ReleasePlan) -> str:
    """What the bar of a revision begins with: the bar of the same one is brought up to date, another one gets its own."""
    return f"Revision {plan.revision}:"


def acts(found: Progress, waiting: Ballot | None) -> str:
    """Who must act, with the people whom an open ballot waits for."""
    asked = f"; the reviewers: the ballot to {waiting.subject.verb} is open" if waiting is not None else ""
    return f"{found.acts}{asked}"


def share_of(step: Step) -> str:
    return "in the shadow" if step.percent == 0 else f"answering {step.percent:g} %"


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, length in (("days", DAY), ("hours", HOUR), ("minutes", MINUTE)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _needed(found: Progress) -> Iterator[str]:
    if not found.running:
        return
    yield f"**Sample still needed:** {_sample(found)}"
    yield ""
    yield f"**Time still needed:** {_time(found)}"
    yield ""


def _sample(found: Progress) -> str:
    if found.needed is None:
        rollout = found.plan.rollout
        asked = rollout.steps[found.plan.step].min_answers if rollout else 0
        return f"how much cannot be said yet; the step asks for {asked:,} matured answers at least"
    return "none" if found.needed == 0 else f"about {found.needed:,} matured answers"


def _time(found: Progress) -> str:
    if found.seconds is None:
        return "how long cannot be said before answers mature in this step"
    return f"about {duration(found.seconds)} at the pace of this step" if found.seconds > 0 else "none"


def _steps(found: Progress) -> Iterator[str]:
    plan = found.plan
    if plan.rollout is None:
        return
    yield "| step | share | at least | matured answers | |"
    yield "|--:|---|---|--:|---|"
    for number, step in enumerate(plan.rollout.steps):
        state = "done" if number < plan.step or not found.running else ""
        if found.running and number == plan.step:
            state = f"**here**{f' since {plan.step_started_at:%Y-%m-%d %H:%M:%S} UTC' if plan.step_started_at else ''}"
        share = "shadow" if step.percent == 0 else f"{step.percent:g} %"
        yield f"| {number + 1} | {share} | {duration(step.min_seconds)} | {step.min_answers:,} | {state} |"
    yield ""


def _arms(plan: ReleasePlan) -> Iterator[str]:
    """Every arm with its share. In rules mode none of them answers."""
    shares = {"canary": plan.canary_percent, "control": plan.control_percent, "previous": 0.0}
    yield "| arm | version | answers |"
    yield "|---|---|--:|"
    rules = plan.mode == "rules" and not plan.champion.is_rules
    taken = sum(share for name, share in shares.items() if getattr(plan, name) is not None)
    yield f"| champion | {plain(plan.champion.name)} | {0 if rules else 100 - taken:g} % |"
    for name, share in shares.items():
        arm = getattr(plan, name)
        if arm is not None:
            yield f"| {name} | {plain(arm.name)} | {0 if rules else share:g} % |"
    if rules:
        yield "| rules | | 100 % |"
    yield ""


def _evidence(verdict: GuardVerdict | None, plan: ReleasePlan) -> Iterator[str]:
    """What the guard last concluded, with the estimate and its interval."""
    if verdict is None or plan.rollout is None:
        return
    gates = plan.rollout.gates
    yield f"### Evidence, {verdict.at:%Y-%m-%d %H:%M:%S} UTC, revision {verdict.revision}"
    yield ""
    yield f"{plain(verdict.reason, 1000)}"
    yield ""
    yield f"| {plain(gates.kpi)} against the other arm | interval | matured answers | in the step | taken back when all below | goes on when all above |"
    yield "|--:|---|--:|--:|--:|--:|"
    yield (
        f"| {_percent(verdict.effect)} | {_percent(verdict.low)} to {_percent(verdict.high)} | {verdict.matured:,} | "
        f"{in_step(verdict):,} | {-gates.margin_fail:+.1%} | {-gates.margin_pass:+.1%} |"
    )
    yield ""


def _percent(part: float | None) -> str:
    return "not known" if part is None else f"{part:+.1%}"


def _stops(history: list[ReleasePlan]) -> Iterator[str]:
    for name, plan in since(history).items():
        at = f"{plan.created_at:%Y-%m-%d %H:%M:%S} UTC"
        yield f"- {WORDS[name]} since revision {plan.revision}, by {plain(plan.actor)} at {at}: {plain(plan.reason)}"
