"""A developer opens /docs of a whole running system and tries the API."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page

from tests.browser.running_system import RunningSystem, running_system

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSystem]:
    async with running_system("embedded", tmp_path_factory.mktemp("docs") / "data") as running:
        yield running


async def test_every_operation_is_drawn_and_one_can_be_tried(
    visitor: BrowserContext, page: Page, system: RunningSystem
) -> None:
    foreign: list[str] = []
    visitor.on("request", lambda r: None if r.url.startswith(system.api_url) else foreign.append(r.url))

    await page.goto(f"{system.api_url}/docs")
    await page.wait_for_selector("body[data-drawn]")
    document = json.loads(await page.evaluate("fetch('/openapi.json').then((response) => response.text())"))
    drawn = await page.locator(".operation").count()
    await page.fill("#key", system.secret_key)
    await page.fill("#search", "get /v1/trending")
    await page.click(".operation:not([hidden]) summary")
    await page.click(".operation:not([hidden]) button[type=submit]")
    await page.wait_for_selector(".operation:not([hidden]) .status.good >> text=/^200/")

    assert drawn == sum(len(methods) for methods in document["paths"].values())
    assert "items" in await page.inner_text(".operation:not([hidden]) .answer pre")
    assert foreign == []
