"""The audit flow's tasks: each model audited for bias on its own, the quarter's review looked at, their pages shown.

Read settings and configuration themselves, so that runs carry names. A busy ledger, a lake or a store that is away is tried
again; every step may be repeated without harm.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from prefect import get_run_logger

from configs.load import load, settings
from configs.schema import Config
from errors import DataError, LedgerUnavailable, RevisionConflict, StackError
from records import BiasAudit, utc_now
from tasks import bias, bias_page, review, review_page, steps
from tasks.monitor import chosen
from tasks.steps import artifact

Part = Literal["all", "bias", "review"]
EARLIER = 12  # audits before this one that the page shows


step = steps.step(LedgerUnavailable, StackError, DataError, RevisionConflict)


@step
def models_to_audit(model: str, part: Part) -> list[str]:
    """The model, or all that are enabled; none when only the review is asked for."""
    return [] if part == "review" else chosen(load(settings().configs), model)


@step
def audit_bias(model: str) -> list[BiasAudit]:
    """What an audit finds about what serves a model, written to the ledger; its page is an artifact of the run."""
    house = settings()
    config = load(house.configs)
    found = bias.audit(house, config, model, utc_now(), partial(_page, house.home, config))
    for one in found:
        get_run_logger().info("%s %s: %s. %s", one.model, one.source, one.answer, one.reason)
    if found:
        artifact(f"bias {model}", bias_page.markdown(found, house.home / found[0].report), f"bias audit of {model}")
    else:
        get_run_logger().info("%s: nothing serves", model)
    return found


@step
def review_quarter(part: Part) -> str:
    """What checks can tell is answered, what people did not answer in time is told; the quarters' pages are artifacts."""
    if part == "bias":
        return "not asked for"
    house = settings()
    config = load(house.configs)
    said = []
    for found in review.look(house, config, utc_now()):
        page = review_page.write(house.home, config, found)
        artifact(f"review {found.quarter.name}", review_page.markdown(found, page), f"review of {found.quarter.name}")
        said.append(f"{found.quarter.name} " + ", ".join(f"{n} {how}" for how, n in review_page.counts(found).items()))
    get_run_logger().info("%s", "; ".join(said) or "the ledger has no entry yet")
    return "; ".join(said)


def _page(home: Path, config: Config, found: bias.Audits, earlier: bias.Audits) -> None:
    bias_page.write(home, config, found, earlier[:EARLIER])
