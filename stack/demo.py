"""`grownet demo`: the whole story on real data, with nothing pretended, ending in a report.

Starts a stack of its own on free loopback ports, trains on the orders before September 2011, asks three reviewers, releases
step by step while the orders after that are replayed as traffic, then breaks things on purpose. Writes below
`.grownet/demo`; its ledger is marked and refused elsewhere. Ends its processes however it ends.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pandas as pd
from rich.console import Console
from rich.table import Table

from configs.load import HERE, load, overlay, settings
from configs.schema import Settings
from errors import StackError
from records import ReleasePlan, Ruling, utc_now
from stack import replay, report, season
from stack.backstage import Chapters, Runs, memory_watched
from stack.chapters import MODEL, ORDERS, ROLLOUT, SERVICE, Demo, play
from stack.endpoints import Mailbox, endpoints
from stack.processes import Stack, ending_on_signals
from stack.replay import Traffic
from stack.report import Story
from stack.state import running
from stack.up import start

HOME = Path(".grownet/demo")
MARK = "demo.home"  # a folder without it is never removed


def run(keep: bool, as_json: bool) -> None:
    """Plays the whole story; prints it to stderr and, with `as_json`, its facts to stdout.

    Raises:
        StackError: when a chapter does not end as it must; the processes are ended all the same.
    """
    home = _fresh(HOME.resolve())
    story = Story(started=utc_now())
    chapters = Chapters(story)
    begin = time.monotonic()
    with ExitStack() as stage:
        stage.enter_context(ending_on_signals())
        stage.enter_context(memory_watched(story))
        story.mailbox = stage.enter_context(endpoints())
        demo = _opened(stage, _settings(home, story.mailbox), story, chapters)
        stage.callback(demo.traffic.stop)
        play(demo)
        demo.traffic.stop()
        story.seconds = time.monotonic() - begin
        page = report.write(home / "report", _collected(demo))
        _say_goodbye(demo, page, as_json)
        if keep:
            _leave_running(demo, chapters.console)


def _fresh(home: Path) -> Path:
    """An empty home; a former demo's is removed, anything else is left alone."""
    if running(home) is not None:
        raise StackError(f"demo at {home}", expected="no demo running", got="one that runs", do="end it with Ctrl-C")
    if home.exists():
        if not (home / MARK).exists():
            raise StackError(f"folder {home}", expected="a former demo's", got="something else", do="move it away")
        shutil.rmtree(home)
    home.mkdir(parents=True)
    (home / MARK).write_text("made by grownet demo; removed by the next one\n", encoding="utf-8")
    return home


def _settings(home: Path, box: Mailbox) -> Settings:
    chosen = settings(
        {
            "GROWNET_HOME": str(home),
            "GROWNET_CONFIGS": str(home / "configs"),
            "GROWNET_DEMO": "true",
            "GROWNET_SLACK_URL": box.slack_url,
            "GROWNET_SMTP_URL": box.smtp_url,
        }
    )
    overlay(HERE, chosen.configs, {f"{MODEL}.yaml": {"rollout": ROLLOUT}, "defaults.yaml": {"service": SERVICE}})
    return chosen


def _opened(stage: ExitStack, chosen: Settings, story: Story, chapters: Chapters) -> Demo:
    """Starts everything and returns the demo ready to play."""
    config = load(chosen.configs)
    with chapters.chapter("Start Prefect, worker, MLflow, guard and service") as telling:
        stack = stage.enter_context(Stack(chosen))
        start(stack)
        telling.say(f"on free loopback ports; logs in {chosen.home / 'logs'}")
    real = replay.orders(ORDERS, replay.SEASON_START)
    stream = iter([order for order in real if order.at < season.PAUSE])
    story.links = {
        "Prefect: runs and approvals": stack.settings.prefect_ui_url,
        "MLflow: experiments and versions": stack.settings.mlflow_url,
        "prediction service: metrics": f"{stack.service_url}/metrics",
    }
    traffic = Traffic(stack.service_url, MODEL, "", stream, more=True)
    return Demo(stack.settings, config, stack, story, chapters, Runs(stack.settings), traffic)


def _collected(demo: Demo) -> Story:
    """Fills the story with what ledger and client recorded."""
    from stores.ledger import ballots, evidence, plans, rulings, verdicts, votes
    from tasks.operate import opened
    from tasks.trace import overview

    story = demo.story
    with opened(demo.settings, "reader") as ledger:
        standing = overview(demo.settings, demo.config)
        candidates = evidence.candidates(ledger, MODEL)
        names = {found.id: found.versions.model.name for found in candidates}
        story.models = _plain([{key: item[key] for key in item if key != "verdicts"} for item in standing])
        story.gates = _plain(
            [
                {"candidate": names[found.id], **msgspec.structs.asdict(gate)}
                for found in candidates
                for judged in evidence.evidence_of(ledger, found.id)[-1:]
                for gate in judged.gates
            ]
        )
        story.votes = _plain(
            [
                {
                    "verb": asked.subject.verb,
                    "name": names.get(asked.question.candidate, ""),
                    **msgspec.structs.asdict(vote),
                }
                for asked in ballots.ballots(ledger, MODEL)
                for vote in votes.votes(ledger, asked.id)
            ]
        )
        story.releases = [_release(signed.plan) for signed in plans.history(ledger, MODEL)]
        story.verdicts = _plain([item for item in verdicts.verdicts(ledger, MODEL) if item.action != "none"])
        story.rulings = _plain([_in_short(ruling) for ruling in rulings.rulings(ledger, MODEL)])
    _add_timeline(demo)
    story.incidents = _plain([incident for item in standing for incident in item["incidents"]])
    story.sent = demo.traffic.sent
    return story


def _in_short(ruling: Ruling) -> dict[str, Any]:
    """A ruling without its inputs, which `grownet replay` reads from the ledger."""
    return {name: value for name, value in msgspec.structs.asdict(ruling).items() if name != "inputs"}


def _add_timeline(demo: Demo) -> None:
    """The windows of event time, their plot, and what retraining on drift alone would have meant."""
    from stack import plots, timeline

    story, recipe = demo.story, demo.config.models[MODEL]
    found = timeline.windows(demo.settings, demo.config, MODEL)
    revenue = season.weekly_revenue(pd.read_parquet(demo.settings.home / season.EXPORT))
    story.timeline = _plain(found)
    story.timeline_plot = plots.of_windows(found, recipe.monitor.floor_psi, revenue)
    drift_only = timeline.retrainings(found, recipe.retrain)
    asked = [ruling for ruling in story.rulings if "retrain" in ruling["actions"]]
    story.retraining |= {
        "windows": len(found),
        "windows with drift": sum(one.drift == "yes" for one in found),
        "by drift alone": _plain(drift_only),
        "by the table": [ruling["at"] for ruling in asked],
    }


def _release(plan: ReleasePlan) -> dict[str, Any]:
    who = "the rules" if plan.mode == "rules" else plan.champion.name
    parts = [who]
    if plan.canary:
        parts.append(f"canary {plan.canary.name} {plan.canary_percent:g} %")
    if plan.control:
        parts.append(f"control {plan.control.name} {plan.control_percent:g} %")
    facts: dict[str, Any] = _plain(
        {
            "revision": plan.revision,
            "created_at": plan.created_at,
            "actor": plan.actor,
            "reason": plan.reason,
            "mode": plan.mode,
        }
    )
    return facts | {"serves": ", ".join(parts)}


def _plain(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


def _say_goodbye(demo: Demo, page: Path, as_json: bool) -> None:
    facts = demo.story.facts()
    table = Table(title="what happened", title_justify="left", show_header=True)
    for column in ("revision", "who", "what serves", "why"):
        table.add_column(column, overflow="fold")
    for row in demo.story.releases:
        table.add_row(str(row["revision"]), row["actor"], row["serves"], str(row["reason"])[:90])
    console = demo.chapters.console
    console.print(table)
    requests = facts["requests"]
    console.print(
        f"{requests['sent']:,} requests, {requests['failed']} failed, p99 {requests['latency_ms'].get('p99', 0)} ms at the client; "
        f"{len(demo.story.incidents)} incident(s), {facts['alerts']['slack']} Slack messages, {facts['alerts']['mail']} mails; "
        f"{demo.story.seconds:.0f} s, {demo.story.peak_bytes / 2**30:.1f} GB at most"
    )
    console.print(f"report: {page}")
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(facts, order="sorted")).decode())  # noqa: T201  (the document)


def _leave_running(demo: Demo, console: Console) -> None:
    """Waits for Ctrl-C or SIGTERM, which `ending_on_signals` turns into an exit."""
    for name, url in demo.story.links.items():
        console.print(f"{name}: {url}")
    home = demo.settings.home
    console.print(f"look around with GROWNET_HOME={home} GROWNET_DEMO=true grownet models; Ctrl-C ends everything")
    Event().wait()
