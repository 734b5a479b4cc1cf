"""A person opens the sample shop, clicks three products, and sees "for you" change; on both buses, nothing replaced."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Page

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
    bus = request.getfixturevalue("pulsar_broker").url if request.param == "pulsar" else "embedded"
    async with running_system(bus, tmp_path_factory.mktemp(request.param)) as running:
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
    after = await _changed_for_you(page, system, before)
    await page.screenshot(path=screenshots / f"{system.bus}-3-after.png", full_page=True)

    assert after != before
    assert len(OUTDOORS & set(after)) > len(OUTDOORS & set(before)), "three clicks outdoors brought nothing outdoors"


async def test_the_script_as_served_keeps_its_budget(system: RunningSystem) -> None:
    async with httpx.AsyncClient() as client:
        script = (await client.get(f"{system.api_url}/snippet.js")).content

    assert len(gzip.compress(script, 9)) <= SNIPPET_BYTES_MAX


async def _for_you(page: Page, system: RunningSystem) -> list[str]:
    await page.goto(system.shop_url)
    await page.wait_for_selector(".suggestions .card")
    ids = await page.eval_on_selector_all(
        ".suggestions .card", "cards => cards.map((card) => card.dataset.afterclickProduct)"
    )
    return [str(item_id) for item_id in ids]


async def _changed_for_you(page: Page, system: RunningSystem, before: list[str]) -> list[str]:
    deadline_s = time.monotonic() + WAIT_S
    while (after := await _for_you(page, system)) == before:
        assert time.monotonic() < deadline_s, f"for-you stayed {before} for {WAIT_S} s"
        await asyncio.sleep(0.25)
    return after
