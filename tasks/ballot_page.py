"""The page a reviewer reads before voting: Markdown, shown on top of the form in the Prefect UI.

Pure. Written by the release flow when a ballot opens; what was voted so far is put on top each time it asks again.
Whatever people or models wrote is escaped: a reason cannot become a heading or a link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from checks.gates import segments_of
from checks.plans import describe
from configs.schema import Config
from records import Candidate, Evidence, Gate, ReleasePlan, Rollout, Step, Vote
from stores.ledger.ballots import Question
from tasks import places
from tasks.escape import plain

MOST_FIGURES = 30
AGREEMENTS = (0.9, 0.5)  # correlations of two arms' hits that a sample is named for
MARKS: Mapping[str, str] = {"pass": "pass", "fail": "FAIL", "inconclusive": "undecided"}
VERBS: Mapping[str, str] = {
    "promote": "Release",
    "unfreeze": "Lift the freeze of",
    "resume": "End the hold of",
    "restore": "Let the model answer again:",
    "advance": "Take the next step of",
    "enroll": "Enrol a reviewer:",
}


@dataclass(frozen=True)
class Promotion:
    """What the page of a release is made of."""

    candidate: Candidate
    evidence: Evidence
    plan: ReleasePlan
    rollout: Rollout
    names_freeze: bool
    cards: str  # where the model cards are
    card: str = ""  # that of this candidate, below home


def promotion(about: Promotion, config: Config) -> str:
    """The page of a ballot over a release."""
    return "\n".join(
        [
            *_asked(about),
            *_changed(about),
            *_measured(about.evidence),
            *_gates(about.evidence.gates),
            *_bias(about.evidence.gates),
            *_apart(about.evidence.gates, "drift", "Drift of the training data against the newest"),
            *_privacy(about.candidate, config),
            *_steps(about),
        ]
    )


def undoing(verb: str, plan: ReleasePlan, reason: str) -> str:
    """The page of a ballot over a verb that undoes or advances."""
    lines = [
        f"## {VERBS[verb]} {plan.model}?",
        "",
        f"**Now:** {plain(describe(plan))}",
        "",
        f"**Asked because:** {plain(reason)}",
        "",
        *(_step(plan) if verb == "advance" else []),
    ]
    return "\n".join(lines)


def _step(plan: ReleasePlan) -> Iterator[str]:
    yield "The guard could not decide from the sample: your yes replaces it for one step."
    yield ""
    if plan.canary is not None:
        page = places.shadow(plan.model, plan.canary.name)
        yield f"How {plan.canary.name} answers beside the champion: `grownet shadow {plan.model}`, which writes `{page}` below home."
        yield ""


def enrolment(name: str, role: str, identities: Sequence[str], asked_by: str) -> str:
    """The page of a ballot over a new reviewer, or a new secret of a known one."""
    known = ", ".join(plain(one) for one in identities) or "none given"
    return "\n".join(
        [
            f"## {VERBS['enroll']} {plain(name)}?",
            "",
            f"- role: **{plain(role)}**",
            f"- addresses, compared with the authors of what is voted on: {known}",
            f"- asked by {plain(asked_by)}",
            "",
            "A name that is enrolled already gets this role and a new secret; the old codes stop counting.",
            "",
        ]
    )


def standing(page: str, votes: Sequence[Vote], question: Question, last: str, link: str) -> str:
    """The page with what happened so far on top: votes, who is still missing, and why the last submission was none.

    Args:
        link: where the page can be read at full width, since the form is narrow; empty on that page itself.
    """
    title, _, rest = page.partition("\n")
    cast = {vote.role: vote for vote in votes}
    lines = [title, ""]
    if last:
        lines += [f"**The last submission was no vote:** {plain(last)}", ""]
    for role in question.required_roles:
        vote = cast.get(role)
        said = f"**{vote.decision}**, {plain(vote.reviewer)}: {plain(vote.reason)}" if vote else "still missing"
        lines.append(f"- {plain(role.replace('_', ' '))}: {said}")
    until = f"{question.expires_at:%Y-%m-%d %H:%M} UTC"
    more = f" [Read this page at full width]({link})" if link else ""
    lines += ["", f"Every role must say yes; one no refuses. Open until {until}.{more}", ""]
    return "\n".join(lines) + rest


def _asked(about: Promotion) -> Iterator[str]:
    name = about.candidate.versions.model.name
    yield f"## {VERBS['promote']} {name}?"
    yield ""
    yield f"**Now:** {plain(describe(about.plan))}"
    yield ""
    yield f"**If every role says yes:** {name} starts in the shadow and takes over step by step, as below; the guard takes it back when it does worse."
    yield ""
    if about.names_freeze:
        yield f"**{about.candidate.model} is frozen.** A yes to this ballot lets it out nevertheless, and its promotion to 100 % lifts the freeze."
        yield ""


def _changed(about: Promotion) -> Iterator[str]:
    new, old = about.candidate, about.plan.champion
    yield "### What changed"
    yield ""
    yield "| | champion | candidate |"
    yield "|---|---|---|"
    yield f"| model | {plain(old.name)} | {plain(new.versions.model.name)} |"
    for kind in ("data", "feature", "pipeline"):
        before = getattr(old.versions, kind).name if old.versions else "-"
        yield f"| {kind} | {before} | {getattr(new.versions, kind).name} |"
    yield f"| configuration | {old.config[:12] or '-'} | {new.config_digest[:12]} |"
    yield f"| artifact | {old.artifact.content[:12] if old.artifact else '-'} | {new.artifact.content[:12]} |"
    yield f"| subjects | {old.features.rows if old.features else '-'} | {new.features.rows} |"
    yield f"| features as of | {f'{old.features.as_of:%Y-%m-%d}' if old.features else '-'} | {new.features.as_of:%Y-%m-%d} |"
    yield ""
    if new.verdict:
        yield f"**Asked for by the guard's verdict {plain(new.verdict)}**; `grownet replay {plain(new.verdict)}` derives it again."
    if new.segment:
        yield f"**Asked for the sake of {plain(new.segment)}**: trained for everybody, and judged there as well."
    yield f"Trained because: {plain(new.reason)}. Learned from rows before {new.trained_until:%Y-%m-%d}, judged on rows after it."
    yield f"Commit {plain(new.commit[:19])} by {', '.join(plain(author) for author in new.authors)}; authors cannot vote."
    here = f"; this one, with its known failure modes: `{about.card}` below home" if about.card else ""
    yield f"[Model cards]({about.cards}){here}"
    yield ""


def _measured(evidence: Evidence) -> Iterator[str]:
    """Names are as `tasks.measure` gives them: "hit_rate", "champion.hit_rate", and "hit_rate - champion" for a difference."""
    known = sorted({*evidence.metrics, *evidence.intervals})
    yield "### Champion against candidate, on the holdout"
    yield ""
    yield "| difference | mean and interval |"
    yield "|---|---|"
    for name in known:
        if " - " in name:
            yield f"| {plain(name)} | **{_figure(evidence, name, '+')}** |"
    yield ""
    yield "| figure | candidate | champion |"
    yield "|---|---|---|"
    for name in known:
        if " - " not in name and "." not in name:
            yield f"| {plain(name)} | {_figure(evidence, name)} | {_figure(evidence, f'champion.{name}')} |"
    yield ""


def _figure(evidence: Evidence, name: str, sign: str = "") -> str:
    mean, interval = evidence.metrics.get(name), evidence.intervals.get(name)
    shown = [f"{mean:{sign}.4g}"] if mean is not None else []
    return " ".join([*shown, *([f"[{interval[0]:{sign}.4g}, {interval[1]:{sign}.4g}]"] if interval else [])]) or "-"


def _gates(gates: Sequence[Gate]) -> Iterator[str]:
    yield "### Gates"
    yield ""
    for gate in gates:
        optional = "" if gate.required else ", not required"
        yield f"- **{plain(gate.name)}** {MARKS[gate.outcome]}{optional}: {plain(gate.reason)}"
    yield ""


def _bias(gates: Sequence[Gate]) -> Iterator[str]:
    """The bias gate with every segment, the one served worst first."""
    yield from _apart([replace(gate, figures={}) for gate in gates], "bias", "Bias, by segment")
    told = [one for gate in gates if gate.name == "bias" for one in segments_of(gate)]
    if told:
        yield "| segment | subjects | mean | gap to the whole |"
        yield "|---|---|---|---|"
    for one in told[:MOST_FIGURES]:
        size, mean = (f"{value:.4g}" if value is not None else "-" for value in (one.subjects, one.mean))
        interval = f" [{one.low:+.1%}, {one.high:+.1%}]" if one.low is not None and one.high is not None else ""
        gap = f"{one.gap:+.1%}{interval}" if one.gap is not None else "too few to judge"
        yield f"| {plain(one.kind)}: {plain(one.name)} | {size} | {mean} | {gap} |"
    yield ""


def _apart(gates: Sequence[Gate], name: str, title: str) -> Iterator[str]:
    """A gate that reviewers ask about by name, with all its figures."""
    yield f"### {title}"
    yield ""
    found = [gate for gate in gates if gate.name.startswith(name)]
    if not found:
        yield "Not measured: no gate of that name is in the evidence."
    for gate in found:
        yield f"**{MARKS[gate.outcome]}**: {plain(gate.reason)}"
        yield ""
        shown = list(gate.figures.items())[:MOST_FIGURES]
        if shown:
            yield "| figure | value |"
            yield "|---|---|"
        for key, value in shown:
            yield f"| {plain(key)} | {value:.4g} |"
    yield ""


def _privacy(candidate: Candidate, config: Config) -> Iterator[str]:
    yield "### Privacy"
    yield ""
    recipe = config.models[candidate.model]
    for name in sorted(set(recipe.tables.values())):
        dataset = config.datasets[name]
        masked = [column for column, declared in dataset.columns.items() if declared.subject]
        yield f"- {plain(name)}: {plain(', '.join(masked)) or 'no column'} kept as keyed pseudonyms only; licence {plain(dataset.licence)}"
        cleaned = [column for column, declared in dataset.columns.items() if declared.redact]
        if cleaned:
            yield f"- {plain(name)}: addresses and long numbers are taken out of {plain(', '.join(cleaned))}; names of people are not found"
        for column, why in sorted(dataset.dropped.items()):
            yield f"- {plain(name)}: {plain(column)} is left outside: {plain(why)}"
    yield "- artifact and features are stored encrypted; MLflow holds no model and no real row"
    yield ""


def _steps(about: Promotion) -> Iterator[str]:
    rollout, gates = about.rollout, about.rollout.gates
    yield "### Rollout and limits, fixed by this ballot"
    yield ""
    yield "| step | share | at least | matured answers |"
    yield "|---|---|---|---|"
    for number, step in enumerate(rollout.steps, 1):
        yield f"| {number} | {_share(step)} | {step.min_seconds:g} s | {step.min_answers} |"
    yield ""
    yield f"- taken back when {plain(gates.kpi)} is more than {gates.margin_fail:.1%} below the champion's, beyond doubt at {gates.alpha:g}"
    yield f"- goes on when it is less than {gates.margin_pass:.1%} below, beyond doubt; else it waits"
    yield f"- {_sample(about)}"
    yield f"- taken back at more than {gates.max_error_rate:.1%} errors or {gates.max_late_rate:.1%} late answers, from {gates.min_requests} requests on"
    yield f"- held after {gates.missing_seconds:g} s without matured answers; {rollout.control_percent:g} % stay on the version before as control"
    yield ""


def _sample(about: Promotion) -> str:
    """How many matured answers that takes, by the rate on the holdout: at most for a KPI between 0 and 1, but for subjects
    who return."""
    kpi, metrics = about.rollout.gates.kpi, about.evidence.metrics
    rate = metrics.get(f"champion.{kpi}", metrics.get(kpi))
    if rate is None or not 0 < rate < 1:
        return f"how many answers that takes is said as they come: the holdout has no {plain(kpi)} between 0 and 1"
    from models.contract import find

    needs = samples(about.rollout, rate, paired=find(about.candidate.model).JUDGE == "paired")
    said = " or ".join(f"{_count(need)}{f' (hits that correlate by {one:g})' if one else ''}" for need, one in needs)
    asked = sum(step.min_answers for step in about.rollout.steps)
    return (
        f"an arm that is as good needs about {said} matured answers to pass nine times in ten; the steps ask for "
        f"{asked:,} in all. A step whose sample cannot decide waits for more, or for a vote"
    )


def samples(rollout: Rollout, rate: float, *, paired: bool) -> list[tuple[int | None, float | None]]:
    """The matured answers of both arms that the page names, each with the correlation of hits it is for; None: beyond saying.

    Args:
        rate: the champion's KPI on the holdout, between 0 and 1.
    """
    from checks.tallies import sample_needed  # here, since a vote, which needs none of it, waits for no frames

    cases = AGREEMENTS if paired else (None,)
    needs = [(sample_needed(rollout, rate, agreement), agreement) for agreement in cases]
    times = 1 if paired else 2  # each of two equal arms has twice their harmonic size
    return [(None if need is None else need * times, agreement) for need, agreement in needs]


def _count(need: int | None) -> str:
    return "more than can be said" if need is None else f"{need:,}"


def _share(step: Step) -> str:
    return "shadow" if step.percent == 0 else f"{step.percent:g} %"
