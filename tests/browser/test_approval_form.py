"""The approval form in a real browser, on a real stack: found, read, answered wrongly, then rightly, and released.

Chromium is the system's (`CHROMIUM` names another one); `.ci/run` installs it. With `SCREENSHOTS` set to a folder the
pages are kept there to look at.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as NotInTime

from records import ReleasePlan, utc_now
from stack.backstage import until
from stack.processes import Stack
from stores.ledger import plans
from stores.ledger.engine import Ledger
from tasks.approve import request
from tests.stores.ledger.world import MODEL, REVIEWERS
from tests.tasks.release_world import House, running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = House(tmp_path_factory.mktemp("browser"))
    made.enrol_all()
    return made


@pytest.fixture(scope="module")
def stack(house: House) -> Iterator[Stack]:
    with running(house) as started:
        yield started


def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def form_of(page: Page, says: str) -> None:
    """Opens the form of the waiting run once it says something; an older page may still show the question before."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    dialog = page.locator(".p-modal__card")
    while time.monotonic() < deadline:
        page.reload()
        page.get_by_role("button", name="Resume").first.click()
        dialog.locator("textarea").first.wait_for()
        if says in dialog.inner_text():
            return
    raise AssertionError(f"the form never said {says!r}")


def fill(page: Page, name: str, code: Callable[[], str]) -> None:
    """Types the form as a person does; the code last, since it lives for thirty seconds."""
    dialog = page.locator(".p-modal__card")
    reviewer, reason, typed = (dialog.locator("textarea").nth(number) for number in range(3))
    reviewer.fill(name)
    dialog.locator(".p-select-button__control").first.focus()
    page.keyboard.press("ArrowDown")  # the list opens by keyboard only in a headless browser
    page.locator(".p-select-option--highlighted", has_text="yes").wait_for()
    page.keyboard.press("Enter")
    expect(dialog.locator(".p-select-button__value").first).to_have_text("yes")
    reason.fill("read the page, looked at the gates")
    typed.fill(code())
    for _ in range(5):  # a busy server says 503, and a person presses again
        dialog.get_by_role("button", name="Submit").click()
        with contextlib.suppress(NotInTime):
            dialog.wait_for(state="hidden", timeout=5000)
            return
    raise AssertionError("the form was never taken")


def plan_of(house: House) -> ReleasePlan | None:
    ledger = Ledger.open(house.settings.ledger_url, "reader")
    try:
        signed = plans.current(ledger, MODEL)
        return signed.plan if signed else None
    finally:
        ledger.close()


def test_a_release_is_approved_in_the_browser(house: House, stack: Stack, page: Page) -> None:
    run = request(house.settings, MODEL, "promote", house.candidate(1).id, "the browser test asks")
    page.goto(f"{house.settings.prefect_ui_url}/runs")
    page.get_by_role("link", name=f"promote-{MODEL}").first.click()
    page.wait_for_url(f"**/{run}*")
    form_of(page, "still missing")
    text = page.locator(".p-modal__card").inner_text()
    for said in (
        "Release recommendation-v1?",
        "Champion against candidate",
        "Gates",
        "Bias",
        "Drift",
        "Privacy",
        "shadow",
    ):
        assert said in text, said
    keep(page, "form")

    fill(page, "ada", lambda: "000000")
    form_of(page, "The last submission was no vote")
    keep(page, "asked-again")
    assert plan_of(house) is None

    for name in REVIEWERS:
        form_of(page, "still missing")
        fill(page, name, lambda name=name: house.code(name, utc_now()))  # type: ignore[misc]  # binds the name now
        if name != "cleo":
            form_of(page, f"yes, {name}")
            keep(page, f"after-{name}")

    page.get_by_text("Released", exact=True).first.wait_for()
    keep(page, "released")
    plan = until(lambda: plan_of(house), "the plan", 180)  # "Released" also stands in texts of the page before
    assert plan.revision == 1
    assert plan.canary is not None
    assert plan.canary.approval is not None
    assert {vote.reviewer for vote in plan.canary.approval.votes} == set(REVIEWERS)
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("ballot-").first.wait_for()
    keep(page, "artifacts")
