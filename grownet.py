"""The command line. Each command is a few lines over the rooms; heavy imports stay inside the command.

Facts go to stdout (as one JSON document with --json), everything else to stderr. Exit codes are those of `errors.py`.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from configs.load import load, recipe_of, settings
from errors import GrownetError, UsageError

if TYPE_CHECKING:
    from configs.schema import Config, Settings
    from records import Verb

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
release_app = typer.Typer(
    no_args_is_help=True, help="What serves: look at it, stop it, take it back, and ask to undo that."
)
reviewers_app = typer.Typer(no_args_is_help=True, help="The people who vote.")
operators_app = typer.Typer(no_args_is_help=True, help="The people who may freeze, hold, roll back and fall back.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit log, the bias audit and the compliance review.")
incident_app = typer.Typer(no_args_is_help=True, help="What went wrong: look at it, note, explain, close.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys of the prediction service.")
for name, group in {
    "release": release_app, "reviewers": reviewers_app, "operators": operators_app, "audit": audit_app, "keys": keys_app,
    "incident": incident_app,
}.items():  # fmt: skip
    app.add_typer(group, name=name)

Json = Annotated[bool, typer.Option("--json", help="Print the facts as one JSON document.")]
ModelName = Annotated[str, typer.Argument(help="A model's name, such as recommendation.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the audit log.")]
IncidentId = Annotated[str, typer.Argument(metavar="ID", help="Of an incident, as `grownet incident list` has it.")]
Actor = Annotated[str, typer.Option("--as", help="Your operator name; your own key signs.")]
Seen = Annotated[
    int | None,
    typer.Option("--revision", help="The one you looked at; nothing is done when somebody changed it since."),
]


def _house() -> tuple[Settings, Config]:
    from stack.state import connected

    chosen = connected(settings())
    return chosen, load(chosen.configs)


def _print(facts: Any, as_json: bool, text: str = "") -> None:
    """One JSON document, or the text for people (the facts as indented JSON when there is none)."""
    data = msgspec.json.format(msgspec.json.encode(facts, order="sorted"), indent=2).decode()
    typer.echo(data if as_json or not text else text)


def _time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError("--at", expected="ISO 8601, such as 2026-11-21T14:30:00+00:00", got=text) from error
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Leave everything running at the end, to look at.")] = False,
    as_json: Json = False,
) -> None:
    """The whole story on real data: train, gate, vote, release, break, take back. Ends with a report."""
    from stack.demo import run

    run(keep=keep, as_json=as_json)


@app.command()
def up() -> None:
    """Run the whole stack in the foreground: Prefect, worker, MLflow, guard and service."""
    from stack.up import up as run

    chosen = settings()
    run(chosen, load(chosen.configs))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port for the Open Inference Protocol over gRPC; none when left out."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Replicas on this machine, started again when they die; one is this process."),
    ] = 1,
    check: Annotated[
        str, typer.Option(help="Load this candidate as production would, answer its example, and exit.")
    ] = "",
) -> None:
    """Answer requests."""
    chosen, config = settings(), load(settings().configs)
    if check:
        from serving.check import main

        raise typer.Exit(main([check]))
    if workers > 1:
        from serving.workers import supervise

        return supervise(chosen, config, workers, (host, port), grpc_port)
    from serving.server import run

    return run(chosen, config, host, port, grpc_port)


@app.command()
def ship(
    follow: Annotated[bool, typer.Option(help="Go on, a pass each service.ship_seconds.")] = False,
    keep: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that shipped segments stay, if not as configured: 0 on a full disk."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Ship the journals on this machine to the lake; clear what is shipped, read and old. The monitor flow does it hourly."""
    from tasks import ship as shipper

    chosen, config = _house()
    if follow:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        if keep is not None:
            raise UsageError("--keep", expected="one pass", got="--follow", do="set service.journal_keep_seconds")
        shipper.follow(chosen, config)
    _print(shipper.ship(chosen, config, keep), as_json)


@app.command()
def guard() -> None:
    """Watch releases, advance them, take them back, deliver alerts."""
    from guard.loop import main

    chosen = settings()
    main(chosen, load(chosen.configs))


@app.command()
def ingest(
    dataset: Annotated[str, typer.Argument(help="A dataset of configs/datasets.")],
    batch: Annotated[str, typer.Option(help="One batch; all new ones when left out.")] = "",
    until: Annotated[str, typer.Option(help="The last batch to take, such as 2011-08.")] = "",
    as_json: Json = False,
) -> None:
    """Take batches of a dataset in: minimise, mask, check, append."""
    from tasks.ingest import take_in

    _print(take_in(*_house(), dataset, batch or None, until=until or None), as_json)


@app.command()
def refresh(model: ModelName, as_json: Json = False) -> None:
    """Build the features of what serves anew from the rows that came since; replicas follow within seconds."""
    from tasks.refresh import describe
    from tasks.refresh import refresh as run

    found = run(*_house(), model)
    _print(found, as_json, describe(found))


@app.command()
def retrain(
    model: ModelName,
    reason: Annotated[str, typer.Option(help="Why; kept with the candidate, read by those who vote.")] = "",
    segment: Annotated[str, typer.Option(help="KIND=NAME: it must be better there too, such as country=home.")] = "",
    verdict: Annotated[str, typer.Option(help="The ruling that asks for it, when its event did not start one.")] = "",
    as_json: Json = False,
) -> None:
    """Start a lifecycle run: features, training, gates, and a ballot when they pass."""
    from records import Order, utc_now
    from tasks.retrain import start

    chosen, config = _house()
    run = start(chosen, config, Order(model=model, reason=reason, verdict=verdict, segment=segment), utc_now())
    _print({"flow_run": run, "url": f"{chosen.prefect_ui_url}/runs/flow-run/{run}"}, as_json)


@app.command()
def monitor(
    model: Annotated[str, typer.Argument(help="A model's name; all that are enabled when left out.")] = "",
    until: Annotated[
        str, typer.Option(help="ISO 8601 event time to stop at; windows older than what is known are shown, not saved.")
    ] = "",
    report: Annotated[bool, typer.Option(help="Make Evidently's report too.")] = True,
    as_json: Json = False,
) -> None:
    """Start a monitor run: profiles of new answers, then drift, corruption and the KPI, judged and shown."""
    from tasks.runs import MONITOR, start_deployment

    chosen, config = _house()
    if model:
        recipe_of(config, model)
    run = start_deployment(chosen, MONITOR, {"model": model, "until": until, "report": report})
    _print({"flow_run": run, "url": f"{chosen.prefect_ui_url}/runs/flow-run/{run}"}, as_json)


@app.command()
def models(as_json: Json = False) -> None:
    """Every model: what serves, what is on its way, what the gates, votes and the guard said."""
    from tasks.trace import describe, overview

    facts = overview(*_house())
    _print(facts, as_json, describe(facts))


@app.command()
def shadow(model: ModelName, as_json: Json = False) -> None:
    """How a candidate answers beside the champion: overlap, scores, decisions and KPI, by segment. Writes a page too."""
    from records import utc_now
    from tasks.shadow import report
    from tasks.shadow_page import describe, kept

    chosen, config = _house()
    found = report(chosen, config, model, utc_now())
    page = kept(chosen.home, found)
    _print(found, as_json, describe(found, page))


@app.command()
def card(
    model: ModelName,
    version: Annotated[int, typer.Option(help="N of MODEL-vN; the newest when left out.")] = 0,
    as_json: Json = False,
) -> None:
    """The model card of a version as Markdown; brings all cards, feature definitions and notes of the model up to date."""
    from tasks.paperwork import card_of

    facts = card_of(*_house(), model, version)
    _print(facts, as_json, str(facts["markdown"]))


@app.command()
def trace(prediction_id: Annotated[str, typer.Argument(help="The id in a reply.")], as_json: Json = False) -> None:
    """From an answer to its version, votes, commit, configuration, rows and expectations."""
    from tasks.trace import trace as find

    _print(find(*_house(), prediction_id), as_json)


@app.command()
def served(model: ModelName, at: Annotated[str, typer.Option(help="ISO 8601 time.")], as_json: Json = False) -> None:
    """What answered for a model at a moment, by whose leave."""
    from tasks.trace import served as find

    _print(find(_house()[0], model, _time(at)), as_json)


@app.command()
def replay(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Of a ruling, or of a verdict of the guard.")],
    as_json: Json = False,
) -> None:
    """Derive a conclusion of the guard again from its stored inputs; exit code 1 when it comes out differently."""
    from tasks.replay import describe
    from tasks.replay import replay as derive

    facts = derive(*_house(), identity)
    _print(facts, as_json, describe(facts))
    if not facts["same"]:
        raise typer.Exit(1)


@app.command()
def vote(
    model: ModelName,
    reviewer: Annotated[str, typer.Option(help="Your enrolled name.")],
    decision: Annotated[str, typer.Option(help="yes or no.")],
    reason: Reason,
    code: Annotated[str, typer.Option(prompt="Code from your authenticator", hide_input=True, help="Six digits.")],
    as_json: Json = False,
) -> None:
    """Cast the same vote as the form in the Prefect UI."""
    from tasks.approve import submit

    _print(submit(_house()[0], model, reviewer, decision, reason, code), as_json)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context, question: Annotated[str, typer.Argument(help="quality, drift, ...")], as_json: Json = False
) -> None:
    """Measure against peers; one file of benchmarks/ a question, which takes further options (`bench drift --data NAME`)."""
    import importlib

    from benchmarks import questions

    if question not in questions():
        raise UsageError("bench", expected=f"one of {questions()}", got=question)
    importlib.import_module(f"benchmarks.{question}").main([*context.args, *(["--json"] if as_json else [])])


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    options_metavar="[FAULT ...] [--repeats N] [--out FOLDER | --resume FOLDER]",
)
def drill(context: typer.Context, as_json: Json = False) -> None:
    """Inject faults into a stack of its own under traffic, and measure how releases take themselves back (`drill --help`)."""
    from benchmarks.drill import main

    main([*context.args, *(["--json"] if as_json else [])])


@app.command()
def doctor(as_json: Json = False) -> None:
    """Every setting with where it came from (secrets hidden), and what is reachable."""
    from stack.doctor import check_up

    facts = check_up(settings())
    _print(facts, as_json)
    if not facts["ok"]:
        raise typer.Exit(1)


@release_app.command("show")
def release_show(model: ModelName, as_json: Json = False) -> None:
    """The current plan in words."""
    from tasks.trace import current_plan

    plan, words = current_plan(_house()[0], model)
    _print(plan, as_json, words)


@release_app.command()
def notes(
    model: ModelName,
    write: Annotated[Path | None, typer.Option(help="Write MODEL.md into this folder, such as docs/releases.")] = None,
    as_json: Json = False,
) -> None:
    """The release notes, made from the ledger: what each version changed, how it measured, who said yes, what became of it."""
    from tasks.paperwork import notes_of

    facts = notes_of(*_house(), model, write)
    _print(facts, as_json, facts["file"] or facts["markdown"])


def _operate(verb: str, model: str, reason: str, actor: str, seen: int | None, as_json: bool) -> None:
    from tasks.operate import act

    chosen, config = _house()
    recipe_of(config, model)  # a name with a slip in it freezes nothing
    plan, words = act(chosen, verb, model, actor, reason, seen)
    _print(plan, as_json, words)


@release_app.command()
def freeze(model: ModelName, reason: Reason, actor: Actor, revision: Seen = None, as_json: Json = False) -> None:
    """Stop a running rollout; nothing is promoted unattended. Training goes on."""
    _operate("freeze", model, reason, actor, revision, as_json)


@release_app.command()
def hold(model: ModelName, reason: Reason, actor: Actor, revision: Seen = None, as_json: Json = False) -> None:
    """Keep the rollout where it is."""
    _operate("hold", model, reason, actor, revision, as_json)


@release_app.command()
def rollback(model: ModelName, reason: Reason, actor: Actor, revision: Seen = None, as_json: Json = False) -> None:
    """Back to the previous version; a running canary is taken back first. Right after another way back, name the --revision."""
    _operate("rollback", model, reason, actor, revision, as_json)


@release_app.command()
def fallback(model: ModelName, reason: Reason, actor: Actor, revision: Seen = None, as_json: Json = False) -> None:
    """Let the rules answer."""
    _operate("fallback", model, reason, actor, revision, as_json)


def _ask(verb: Verb, model: str, reason: str, as_json: bool) -> None:
    from tasks.approve import request

    chosen, _ = _house()
    run = request(chosen, model, verb, "", reason)
    _print({"asked": verb, "flow_run": run, "url": f"{chosen.prefect_ui_url}/runs/flow-run/{run}"}, as_json)


@release_app.command()
def unfreeze(model: ModelName, reason: Reason, as_json: Json = False) -> None:
    """Ask the board to lift a freeze."""
    _ask("unfreeze", model, reason, as_json)


@release_app.command()
def resume(model: ModelName, reason: Reason, as_json: Json = False) -> None:
    """Ask the board to let a held rollout go on."""
    _ask("resume", model, reason, as_json)


@release_app.command()
def restore(model: ModelName, reason: Reason, as_json: Json = False) -> None:
    """Ask the board to let the model answer again after a fallback."""
    _ask("restore", model, reason, as_json)


@release_app.command()
def advance(model: ModelName, reason: Reason, as_json: Json = False) -> None:
    """Ask the board to take the next step although the sample cannot decide."""
    _ask("advance", model, reason, as_json)


@reviewers_app.command()
def enroll(
    reviewer: Annotated[str, typer.Argument(metavar="NAME")],
    role: Annotated[str, typer.Option(help="data_science_lead, privacy_officer, dev_ops ...")],
    email: Annotated[str, typer.Option(help="Hers in commits: nobody votes on her own work, or in two roles.")],
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Enrol a reviewer: direct while a role has nobody, afterwards by vote. The secret is shown once."""
    from tasks.approve import enroll as run

    chosen, config = _house()
    facts = run(chosen, config, name=reviewer, role=role, email=email, actor=actor)
    _print(facts, as_json, facts.get("text", ""))


@operators_app.command("add")
def operators_add(operator: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False) -> None:
    """Make an operator's own signing key, and the secret of the codes that the Prefect UI asks for. It is shown once."""
    from tasks.operate import add_operator

    facts = add_operator(_house()[0], operator)
    _print(facts, as_json, facts["text"])


@operators_app.command("code")
def operators_code(operator: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False) -> None:
    """Make a new secret for an operator's codes; the old one's stop counting. It is shown once."""
    from tasks.operate import give_code

    facts = give_code(_house()[0], operator)
    _print(facts, as_json, facts["text"])


@audit_app.command("verify")
def audit_verify(as_json: Json = False) -> None:
    """Check the hash chain of the audit log, and the rows it tells of, such as plans, reviewers and answers of the review."""
    from tasks.operate import verify_audit

    _print(verify_audit(_house()[0]), as_json)


@audit_app.command("start")
def audit_start(
    model: Annotated[str, typer.Argument(help="A model's name; all that are enabled when left out.")] = "",
    part: Annotated[Literal["all", "bias", "review"], typer.Option(help="What is audited.")] = "all",
    as_json: Json = False,
) -> None:
    """Start an audit run: bias by segment of what serves, and a look at the quarter's review."""
    from tasks.runs import AUDIT, start_deployment

    chosen, config = _house()
    if model:
        recipe_of(config, model)
    run = start_deployment(chosen, AUDIT, {"model": model, "part": part})
    _print({"flow_run": run, "url": f"{chosen.prefect_ui_url}/runs/flow-run/{run}"}, as_json)


@audit_app.command("bias")
def audit_bias(as_json: Json = False) -> None:
    """The newest bias audit of every model: how each segment is served against the whole."""
    from tasks.bias import describe, newest_audits

    found = newest_audits(*_house())
    _print(found, as_json, describe(found))


@audit_app.command("review")
def audit_review(
    quarter: Annotated[str, typer.Option(help="Such as 2026-Q4; those that are open when left out.")] = "",
    as_json: Json = False,
) -> None:
    """The quarterly compliance review: what is answered, by whom, what is due or overdue."""
    from records import utc_now
    from tasks.review import checklists
    from tasks.review_page import describe, facts

    found = checklists(*_house(), utc_now(), quarter)
    _print(facts(found), as_json, describe(found))


@audit_app.command("answer")
def audit_answer(
    item: Annotated[str, typer.Argument(help="An item of the review, such as restore_tested.")],
    yes: Annotated[bool, typer.Option("--yes/--no", help="Yes is what should be.")],
    reason: Reason,
    actor: Actor,
    quarter: Annotated[str, typer.Option(help="Such as 2026-Q4; the one it is when left out.")] = "",
    as_json: Json = False,
) -> None:
    """Answer an item of the review. Signed with your own key; a later answer replaces it, and both are kept."""
    from records import utc_now
    from tasks.review import Given, answer
    from tasks.review_page import describe, facts, write

    given = Given(item, "yes" if yes else "no", reason, actor, quarter)
    chosen, config = _house()
    found = [answer(chosen, config, given, utc_now())]
    write(chosen.home, config, found[0])  # an alert of it links there
    _print(facts(found), as_json, describe(found))


@incident_app.command("list")
def incident_list(
    model: Annotated[str, typer.Argument(help="A model's name; all when left out.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    as_json: Json = False,
) -> None:
    """The open incidents, oldest first."""
    from tasks.incidents import listed
    from tasks.postmortem import overview

    found = listed(_house()[0], model, every=every)
    _print(found, as_json, overview(found))


@incident_app.command("show")
def incident_show(incident: IncidentId, as_json: Json = False) -> None:
    """Timeline, evidence, what was done, what people said of it, and what closes it."""
    from tasks.incidents import show
    from tasks.postmortem import describe

    found = show(_house()[0], incident)
    _print(found, as_json, describe(found))


@incident_app.command("note")
def incident_note(
    incident: IncidentId,
    text: Annotated[str, typer.Option(help="What you saw or did; one line.")],
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Append a note, signed with your own key. Notes are kept; a closed incident takes them too."""
    from records import utc_now
    from tasks.incidents import note
    from tasks.postmortem import describe

    found = note(_house()[0], incident, text, actor, utc_now())
    _print(found, as_json, describe(found))


@incident_app.command("close")
def incident_close(
    incident: IncidentId,
    actor: Annotated[str, typer.Option("--as", help="Your operator name; your own key signs.")] = "",
    cause: Annotated[str, typer.Option(help="The root cause; asks for a second person.")] = "",
    evidence: Annotated[str, typer.Option(help="An address, the id of a ruling or verdict, a file below home.")] = "",
    agree: Annotated[int, typer.Option(help="As the second person: number of the cause you agree to.")] = 0,
    as_json: Json = False,
) -> None:
    """Explain an incident (--cause, --evidence), then let another operator close it (--agree), which writes its postmortem."""
    from tasks.incidents import Close, close
    from tasks.postmortem import describe

    found = close(_house()[0], incident, Close(cause, evidence, agree), actor)
    _print(found, as_json, describe(found))


Expires = Annotated[
    str, typer.Option("--expires", help="How long it is good for, such as 365d; until revoked when left out.")
]


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="predict, feedback, replay or read; repeat for more.")],
    model: Annotated[list[str] | None, typer.Option(help="Models it is for; all when left out.")] = None,
    expires: Expires = "",
    as_json: Json = False,
) -> None:
    """Make an API key. It is shown once; only its hash is kept."""
    from serving.issuing import issue, span

    lasts = span(expires, "--expires") if expires else None
    facts = issue(_house()[0], name, set(scope), set(model or ["*"]), lasts)
    _print(facts, as_json, facts["key"])


@keys_app.command("rotate")
def keys_rotate(
    name: Annotated[str, typer.Argument(help="Of the key, or its id.")],
    overlap: Annotated[str, typer.Option(help="How long the old one goes on, such as 7d, 12h or 0s.")],
    expires: Expires = "",
    as_json: Json = False,
) -> None:
    """Make a new key with the scopes and models of another, which ends after the overlap."""
    from serving.issuing import rotate, span

    lasts = span(expires, "--expires") if expires else None
    facts = rotate(_house()[0], name, span(overlap, "--overlap"), lasts)
    _print(facts, as_json, facts["key"])


@keys_app.command("revoke")
def keys_revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `grownet keys list` shows it.")],
    as_json: Json = False,
) -> None:
    """End an API key at once."""
    from serving.issuing import revoke

    _print(revoke(_house()[0], identity), as_json)


@keys_app.command("list")
def keys_list(as_json: Json = False) -> None:
    """Every API key: what it is for, until when, when it was last used (to the hour), and whether the audit log has it."""
    from serving.issuing import describe, listed

    found = listed(_house()[0])
    _print(found, as_json, describe(found))


def main() -> None:
    """Entry point: one clear line instead of a stack trace for every error of ours."""
    try:
        app()
    except GrownetError as error:
        typer.echo(f"grownet: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    main()
