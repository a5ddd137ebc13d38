"""Release notes of a model: what each version changed, how it measured, who said yes, and what became of it.

Pure. Derived from the ledger's story and from what versions were trained with, so they are complete, and the same when
they are made again: `grownet release notes MODEL` and the flows that follow a release call the same function.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checks.plans import describe
from records import Evidence
from tasks import feature_sheet
from tasks.escape import code, plain
from tasks.evidence_page import figure
from tasks.origin import Origin
from tasks.sheet import table
from tasks.story import Chapter, Story
from tasks.telling import flat, shown, timeline, votes

DEMO = "From a house that is marked as a demo, such as that of `grownet demo` or of a benchmark: the reviewers are made up, and so are any faults, drift and data after the bundled data end. Gates, votes, figures and times are what that run measured and did."
VALUE = 120  # characters of a parameter's value


def notes(story: Story, origins: Mapping[int, Origin], *, demo: bool) -> str:
    """The notes as Markdown, newest version first.

    Args:
        origins: by version number; a version whose facts are lost is told without them.
        demo: the ledger is that of a demo, whose people are made up.
    """
    lines = [
        f"# Releases of {story.model}",
        "",
        f"Made from the ledger by `grownet release notes {story.model}`, newest version first. Not edited by hand: made again, it says the same, or what came since.",
        "",
        *([DEMO, ""] if demo else []),
        f"**Now:** {plain(describe(story.plan), 600)}",
        "",
    ]
    for chapter in story.chapters:
        lines += _chapter(chapter, story, origins)
    return "\n".join(lines).rstrip() + "\n"


def _chapter(chapter: Chapter, story: Story, origins: Mapping[int, Origin]) -> Iterator[str]:
    yield f"## {chapter.name}: {plain(chapter.state)}"
    yield ""
    if (one := chapter.candidate) is not None:
        asked = f", asked for by the verdict {code(one.verdict)}" if one.verdict not in one.reason else ""
        segment = f" For the sake of {plain(one.segment)}." if one.segment else ""
        yield f"Trained {one.created_at:%Y-%m-%d %H:%M} UTC because: {plain(one.reason)}{asked}.{segment} Compared with {chapter.before.name}."
        yield ""
        yield from _changed(chapter, story.predecessor(chapter), origins)
    if chapter.evidence is not None:
        yield from _measured(chapter.evidence)
    elif chapter.doubt:
        yield f"**{chapter.doubt}**"
        yield ""
    if chapter.discarded:
        yield f"Discarded, nobody was asked: {plain(chapter.discarded, 600)}"
        yield ""
    for ballot in chapter.asked:
        yield from votes(ballot)
    yield from timeline(chapter)


def _changed(chapter: Chapter, before: Chapter | None, origins: Mapping[int, Origin]) -> list[str]:
    """Data, features, code and configuration of the version before and of this one."""
    made, old = origins.get(chapter.number), origins.get(before.number) if before else None
    rows = [*_facts(chapter, before, made, old), *_settings(made, old)]
    return table(("what changed", before.name if before else "-", chapter.name), rows)


def _facts(
    chapter: Chapter, before: Chapter | None, made: Origin | None, old: Origin | None
) -> Iterator[tuple[str, str, str]]:
    new, then = chapter.candidate, before.candidate if before else None
    assert new is not None  # a version has a candidate
    for kind in ("data", "feature", "pipeline"):
        yield kind, getattr(then.versions, kind).name if then else "-", getattr(new.versions, kind).name
    if made and old and (said := list(feature_sheet.changes(made, old))):
        yield "feature definitions", "", "; ".join(said)
    for name, one in _tables(made).items():
        yield f"table {plain(name)}", _tables(old).get(name, "-"), one
    yield "learned until", f"{then.trained_until:%Y-%m-%d}" if then else "-", f"{new.trained_until:%Y-%m-%d}"
    yield "commit", code(then.commit[:12]) if then else "-", code(new.commit[:12])
    yield "configuration", code(then.config_digest[:12]) if then else "-", code(new.config_digest[:12])


def _tables(made: Origin | None) -> dict[str, str]:
    if made is None:
        return {}
    return {
        one.table: f"{one.rows:,} rows, {one.first:%Y-%m-%d} to {one.last:%Y-%m-%d}; learned from {one.learned:,}"
        for one in made.tables
    }


def _settings(made: Origin | None, old: Origin | None) -> Iterator[tuple[str, str, str]]:
    """Parameters, policy and limits that differ; all of the first version would only repeat its card."""
    if made is None or old is None:
        return
    for kind in ("params", "policy", "limits"):
        now, then = flat(getattr(made, kind)), flat(getattr(old, kind))
        for key in sorted(now.keys() | then.keys()):
            if now.get(key) != then.get(key):
                yield f"{kind} {code(key)}", plain(then.get(key, "-"), VALUE), plain(now.get(key, "-"), VALUE)


def _measured(found: Evidence) -> Iterator[str]:
    against = sorted(
        (name for name in found.metrics if " - " in name), key=lambda name: (not name.endswith(" - champion"), name)
    )
    yield from table(
        ("difference on the holdout", "mean and 95 % interval"),
        ((plain(name), shown(figure(found, name), "+")) for name in against),
        right=1,
    )
    passed = [gate.name for gate in found.gates if gate.outcome == "pass"]
    if passed:
        yield f"Gates passed: {plain(', '.join(passed))}."
    yield from (
        f"Gate {plain(gate.name)} {gate.outcome}: {plain(gate.reason)}"
        for gate in found.gates
        if gate.outcome != "pass"
    )
    yield ""
