"""A person opens the sample shop, clicks three products, and sees "for you" change; on both buses, nothing replaced."""

import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page

from afterclick.pulsar_server import PulsarServer
from ingest.snippet import SNIPPET_BYTES_MAX
from loadtest.storefront import TASTES, shop_products
from tests.browser.running_system import RunningSystem, fill, running_system, suggestions

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WAIT_S = 120
OUTDOORS = {product.item_id for product in shop_products() if product.category in TASTES["outdoors"]}


@pytest_asyncio.fixture(
    loop_scope="session",
    scope="module",
    params=["embedded", pytest.param("pulsar", marks=pytest.mark.pulsar)],
)
async def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningSystem]:
    """The whole system on one bus, with a catalogue and the clicks of 150 visitors in it."""
    folder = tmp_path_factory.mktemp(request.param)
    async with _bus(request.param, folder) as bus, running_system(bus, folder / "data") as running:
        await fill(running, visitors=150, seed=7)
        deadline_s = time.monotonic() + WAIT_S
        while not (await suggestions(running, "somebody-new"))["items"]:
            assert time.monotonic() < deadline_s, f"no suggestions within {WAIT_S} s of the first clicks"
            await asyncio.sleep(0.25)
        yield running


async def test_three_clicks_change_what_is_for_you(page: Page, system: RunningSystem, screenshots: Path) -> None:
    before = await _for_you(page, system)
    await page.screenshot(path=screenshots / f"{system.bus}-1-before.png", full_page=True)

    await page.goto(f"{system.shop_url}/shelves/Camping")
    await page.click("main .card >> text=Storm lantern")
    await page.goto(f"{system.shop_url}/shelves/Camping")
    await page.click("main .card >> text=Trail backpack")
    await page.wait_for_selector(".suggestions .card")
    await page.screenshot(path=screenshots / f"{system.bus}-2-product.png", full_page=True)
    await page.click(".suggestions .card >> nth=0")
    await page.wait_for_selector("article.product")
    await _until_more_outdoors_than(before, page, system)
    await page.screenshot(path=screenshots / f"{system.bus}-3-after.png", full_page=True)


async def test_the_script_as_served_keeps_its_budget(system: RunningSystem) -> None:
    async with httpx.AsyncClient() as client:
        script = (await client.get(f"{system.api_url}/snippet.js")).content

    assert len(gzip.compress(script, 9)) <= SNIPPET_BYTES_MAX


@contextlib.asynccontextmanager
async def _bus(kind: str, folder: Path) -> AsyncIterator[str]:
    """The bus's address; a Pulsar of this test's own, since the topics are named for the installation."""
    if kind == "embedded":
        yield kind
        return
    server = PulsarServer(folder / "pulsar")
    try:
        yield (await asyncio.to_thread(server.start)).url
    finally:
        await asyncio.to_thread(server.stop)


async def _for_you(page: Page, system: RunningSystem) -> list[str]:
    await page.goto(system.shop_url)
    await page.wait_for_selector(".suggestions .card")
    ids = await page.eval_on_selector_all(
        ".suggestions .card", "cards => cards.map((card) => card.dataset.afterclickProduct)"
    )
    return [str(item_id) for item_id in ids]


async def _until_more_outdoors_than(before: list[str], page: Page, system: RunningSystem) -> None:
    """Look at the front page until more of it is for the outdoors.

    Again and again: on a busy machine an answer may have had no time for more than what everybody likes.
    """
    deadline_s = time.monotonic() + WAIT_S
    while len(OUTDOORS & set(after := await _for_you(page, system))) <= len(OUTDOORS & set(before)):
        assert time.monotonic() < deadline_s, f"for {WAIT_S} s three clicks outdoors led from {before} to {after}"
        await asyncio.sleep(0.25)
