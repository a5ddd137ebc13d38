"""The monitor flow's tasks: the journals read once and shipped, each model judged on its own, its page shown in the run.

Read settings and configuration themselves, so that runs carry names and times. A busy ledger, a lake or a store that is
away is tried again; every step may be repeated without harm.
"""

from __future__ import annotations

from prefect import get_run_logger

from configs.load import load, settings
from errors import DataError, LedgerUnavailable, StackError
from records import Finding
from tasks import drift_page, monitor, pages, paperwork, profiling, ship, steps
from tasks.steps import artifact

step = steps.step(LedgerUnavailable, StackError, DataError)


@step
def read_journals() -> int:
    """Profiles of everything the journals have beyond the watermark, into the lake; the number of lines."""
    house = settings()
    config = load(house.configs)
    with monitor.watching(house, config) as watch:
        lines = profiling.read_journals(house, config, watch.ledger, watch.eyes, watch.now)
    get_run_logger().info("%d lines of the journals are new", lines)
    return lines


@step
def ship_journals() -> None:
    """What is sealed goes to the lake; what is there, read and old leaves this disk."""
    house = settings()
    get_run_logger().info("%s", ship.ship(house, load(house.configs)).to_json().decode())


@step
def models_to_judge(model: str) -> list[str]:
    """The model, or all that are enabled."""
    return monitor.chosen(load(settings().configs), model)


@step
def judge(model: str, until: str) -> list[Finding]:
    """What is found about a model, written to the ledger; the guard acts on it."""
    house = settings()
    with monitor.watching(house, load(house.configs), until) as watch:
        found = monitor.judged(watch, model)
    for one in found:
        get_run_logger().info("%s v%d %s: %s. %s", one.model, one.version, one.kind, one.answer, one.reason)
    return found


@step
def write_papers(models: list[str]) -> None:
    """Cards and release notes as the ledger has them now: the guard moves a rollout while no flow runs."""
    house = settings()
    for model in models:
        paperwork.kept_up(house, load(house.configs), model)


@step
def show(found: list[Finding], theirs: bool) -> None:
    """The page of the newest window, among the artifacts of the run."""
    if not found:
        return
    house = settings()
    with monitor.watching(house, load(house.configs)) as watch:
        page = pages.publish(watch, found, theirs=theirs)
    if page is not None:
        newest = [one for one in found if one.version == found[0].version and one.kind != "drift"]
        drift = monitor.newest_of([one for one in found if one.version == found[0].version], "drift")
        told = [drift, *newest] if drift else newest
        artifact(f"monitor {drift_page.name_of(told)}", drift_page.markdown(told, page), f"monitor of {found[0].model}")
