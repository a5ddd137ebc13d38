"""The model card of a version: purpose, data, training, figures, limits, failures, privacy, owners, approval.

Pure. Made of what was known at training (`tasks.origin`) and of the version's story in the ledger (`tasks.story`): first
at training, again after validation and after each step of a release. Says nothing that is not in one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator

from checks.gates import segments_of
from records import Evidence
from tasks.escape import code, plain
from tasks.evidence_page import Figure, figure, own_metrics, scored
from tasks.origin import Origin, TableFacts
from tasks.quoted import FAILURES, FAIRNESS, PURPOSE, QUALITY
from tasks.sheet import Sheet, table
from tasks.story import Chapter
from tasks.telling import flat, percent, shown, timeline, verdict, votes

VALUE = 200  # characters of a parameter's value
JUDGED = {
    "paired": "What happened did not depend on the answer (a replay): figures say what was found, not what an answer causes. That takes a control.",
    "split": "What happens depends on the answer: figures on history are a hint, the online figure of the rollout decides.",
}


def card(made: Origin, chapter: Chapter) -> Sheet:
    """The card of one version.

    Args:
        made: what was known at training.
        chapter: what happened to it since.
    """
    found = chapter.evidence
    return Sheet(
        name=made.name,
        title=made.name,
        lines=(
            *_purpose(made, chapter),
            *_data(made),
            *_training(made, chapter),
            *(_performance(made, chapter, found) if found else _unmeasured(chapter)),
            *_quote(made, QUALITY, "Against baselines and the literature"),
            *_limits(made, found),
            *_quote(made, FAILURES, FAILURES),
            *_quote(made, FAIRNESS, FAIRNESS),
            *_privacy(made),
            *_recipe(made),
            *_approval(chapter),
        ),
        footer=f"Model card of {made.name}, artifact {made.artifact[:12]}; evidence {found.digest[:12] if found else 'not believed' if chapter.doubt else 'none yet'}.",
        verdict=(verdict(chapter), plain(f"{chapter.state}.".capitalize())),
    )


def _purpose(made: Origin, chapter: Chapter) -> Iterator[str]:
    yield f"{plain(made.description)}. Owners: {', '.join(plain(owner) for owner in made.owners)}."
    yield ""
    if chapter.candidate is not None:
        asked = f", asked for by the verdict {code(chapter.candidate.verdict)}" if chapter.candidate.verdict else ""
        yield f"Trained because: {plain(chapter.candidate.reason)}{asked}."
        if chapter.candidate.segment:
            yield f"Trained for everybody, for the sake of {plain(chapter.candidate.segment)}: it must be better there as well."
        yield ""
    for note in made.notes:
        yield f"> {plain(note)}"
        yield ""
    yield from _quote(made, PURPOSE, PURPOSE)


def _data(made: Origin) -> Iterator[str]:
    yield "## Data"
    yield ""
    for one in made.tables:
        yield f"### {plain(one.table)}, {one.version.name}"
        yield ""
        yield f"{plain(one.description)}. Licence {plain(one.licence)}; owner {plain(one.owner)}."
        yield f"{one.rows:,} rows of {one.first:%Y-%m-%d} to {one.last:%Y-%m-%d}, digest {code(one.version.content[:12])}, Delta version {one.delta_version}."
        yield ""
        yield from table(
            ("column", "type", "meaning"),
            (
                (
                    code(column.name),
                    f"{column.type}{', may be missing' if column.nullable else ''}",
                    plain(column.meaning),
                )
                for column in one.columns
            ),
        )


def _training(made: Origin, chapter: Chapter) -> Iterator[str]:
    versions, learned = made.versions, sum(one.learned for one in made.tables)
    yield "## Training"
    yield ""
    yield f"- learned from the {learned:,} rows before {made.trained_until:%Y-%m-%d %H:%M} UTC; judged on {made.split['outcome_days']} days after"
    yield f"- serves with {made.feature_rows:,} rows of features as of {made.as_of:%Y-%m-%d %H:%M} UTC"
    yield f"- {versions.data.name}, {versions.feature.name}, {versions.pipeline.name}"
    if (one := chapter.candidate) is not None:
        yield f"- commit {code(one.commit)}, configuration {code(one.config_digest[:12])}"
        yield f"- artifact {code(made.artifact)}, {one.artifact.size_bytes:,} bytes, stored encrypted"
    if chapter.trainings > 1:
        yield f"- trained {chapter.trainings} times with the same bytes"
    yield ""


def _performance(made: Origin, chapter: Chapter, found: Evidence) -> Iterator[str]:
    yield "## Performance"
    yield ""
    subjects = found.metrics.get("subjects")
    if subjects is not None:
        yield f"On one holdout, the same {subjects:,.0f} subjects for all; intervals are a paired bootstrap over subjects, 95 %; more is better in each. {code(made.metric)} decides at the gates, {code(made.kpi)} when it serves."
        yield ""
    differences = sorted(
        (name for name in found.metrics if " - " in name), key=lambda name: ("champion" not in name, name)
    )
    yield from table(
        ("this version minus", made.metric),
        ((plain(name.partition(" - ")[2]), shown(figure(found, name), "+")) for name in differences),
        right=1,
    )
    who, named = (
        scored(found),
        {"": "this version", "champion": f"champion ({chapter.before.name})", "training": "training rows"},
    )
    yield from table(
        ("metric", *(plain(named.get(name, name)) for name in who)),
        (
            (code(metric), *(shown(figure(found, f"{name}.{metric}" if name else metric)) for name in who))
            for metric in own_metrics(found)
        ),
        right=len(who),
    )
    yield from _segments(made, found)
    yield "### Gates"
    yield ""
    yield from table(
        ("gate", "result", "why"),
        ((plain(gate.name), gate.outcome, plain(gate.reason, 600)) for gate in found.gates),
    )


def _unmeasured(chapter: Chapter) -> list[str]:
    return ["## Performance", "", f"**{chapter.doubt}**" if chapter.doubt else "Not measured yet.", ""]


def _segments(made: Origin, found: Evidence) -> Iterator[str]:
    told = [one for gate in found.gates if gate.name == "bias" for one in segments_of(gate)]
    if not told:
        return
    yield f"### By segment, {made.metric}"
    yield ""
    yield from table(
        ("segment", "subjects", "mean", "gap to the whole"),
        (
            (
                plain(f"{one.kind}: {one.name}"),
                f"{one.subjects:,.0f}" if one.subjects is not None else "-",
                f"{one.mean:.4g}" if one.mean is not None else "-",
                "too few to judge" if one.gap is None else percent(Figure(one.gap, one.low, one.high)),
            )
            for one in told
        ),
        right=3,
    )


def _limits(made: Origin, found: Evidence | None) -> Iterator[str]:
    """What follows from how it was trained and judged; what people saw is quoted below it."""
    yield "## Limitations"
    yield ""
    yield f"- {JUDGED[made.judge]}"
    yield f"- Its figures are of one stretch of {made.split['outcome_days']} days; its weights know nothing after {made.trained_until:%Y-%m-%d}, its features nothing after {made.as_of:%Y-%m-%d}."
    if found is not None:
        small = [one for gate in found.gates if gate.name == "bias" for one in segments_of(gate) if one.gap is None]
        if small:
            yield f"- Too few to judge, so nothing is known of: {plain(', '.join(f'{one.kind} {one.name}' for one in small), 600)}."
        for name in sorted(found.intervals):
            low, high = found.intervals[name]
            if " - " in name and low <= 0 <= high:
                yield f"- Not beyond doubt better than {plain(name.partition(' - ')[2])}: the difference is {low:+.4g} to {high:+.4g}."
        for gate in found.gates:
            if gate.outcome != "pass":
                yield f"- The gate {plain(gate.name)} says {gate.outcome}: {plain(gate.reason, 600)}"
    yield ""


def _quote(made: Origin, heading: str, title: str) -> Iterator[str]:
    """A section of the model's page as it was at training."""
    text = made.quotes.get(heading)
    yield f"## {title}"
    yield ""
    if text:
        yield f"From docs/models/{made.model}.md, as it was when this card was first made."
        yield ""
    yield text or f"Not written: docs/models/{made.model}.md says nothing under “{heading}”."
    yield ""


def _privacy(made: Origin) -> Iterator[str]:
    yield "## Privacy"
    yield ""
    for one in made.tables:
        yield from _at_the_door(one)
    yield "- artifact and features are stored encrypted; MLflow, this card and the evidence hold no row and no subject"
    watched = ", ".join(code(feature.name) for feature in made.watched)
    yield f"- monitors see of a request: {watched or 'nothing'}"
    yield ""


def _at_the_door(one: TableFacts) -> Iterator[str]:
    masked = [code(column.name) for column in one.columns if column.subject]
    yield f"- {plain(one.table)}: {', '.join(masked) or 'no column'} became keyed pseudonyms before anything else saw the rows; any column not listed above stayed outside"
    cleaned = [code(column.name) for column in one.columns if column.redacted]
    if cleaned:
        yield f"- {plain(one.table)}: addresses, personal parts of links and long numbers were taken out of {', '.join(cleaned)} there as well; names of people are not found"
    for name, why in sorted(one.dropped.items()):
        yield f"- {plain(one.table)}: {code(name)} is left outside: {plain(why)}"


def _recipe(made: Origin) -> Iterator[str]:
    yield "## Parameters and policy"
    yield ""
    yield f"Feature definitions: [{made.versions.feature.name}]({made.versions.feature.name}.html)."
    yield ""
    groups = {"parameter": made.params, "policy": made.policy, "gate": made.limits}
    yield from table(
        ("kind", "name", "value"),
        (
            (kind, code(key), plain(value, VALUE))
            for kind, group in groups.items()
            for key, value in flat(group).items()
        ),
    )


def _approval(chapter: Chapter) -> Iterator[str]:
    yield "## Approval and release"
    yield ""
    if chapter.discarded:
        yield f"Discarded, nobody was asked: {plain(chapter.discarded, 600)}"
        yield ""
    elif not chapter.asked:
        yield "Nobody was asked yet."
        yield ""
    for one in chapter.asked:
        yield from votes(one)
    yield from timeline(chapter)
