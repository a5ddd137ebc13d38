"""The page of the API in a real browser: nothing from elsewhere, nothing against its policy, and an example that answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.serving.town import NAME, Server, Town, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    town = Town(tmp_path_factory.mktemp("docs") / "home")
    town.released()
    running = Server(town).ready()
    yield running
    assert running.stop() == 0, running.lines
    town.close()


def test_an_example_is_tried_from_the_page(server: Server, page: Page) -> None:
    key = server.stand.key("predict")
    wait_for(lambda: server.ask(key).status_code == 200)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("request", lambda asked: complaints.append(asked.url) if not _ours(asked.url, server) else None)
    page.goto(f"{server.url}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    assert page.locator(".opblock").count() > 15
    page.locator("button.authorize").first.click()
    page.locator(".modal-ux input").fill(key)
    page.locator(".modal-ux button.authorize").click()
    page.locator(".modal-ux .btn-done").click()
    operation = page.locator(".opblock", has_text=f"/{NAME}/predict").first
    operation.locator(".opblock-summary").click()
    operation.locator(".try-out__btn").click()
    operation.locator(".execute").click()
    expect(operation.locator(".live-responses-table tbody .response-col_status")).to_contain_text("200")
    expect(operation.locator(".live-responses-table")).to_contain_text("prediction_id")
    assert complaints == []


def _ours(url: str, server: Server) -> bool:
    return url.startswith((server.url, "data:", "blob:"))
