"""A merchandiser opens the dashboard of a whole running system and watches clicks arrive."""

import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page

from tests.browser.running_system import RunningSystem, fill, running_system, suggestions

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MUG = "FW-012"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSystem]:
    async with running_system("embedded", tmp_path_factory.mktemp("dashboard") / "data") as running:
        yield running


async def test_from_the_login_to_live_numbers(
    visitor: BrowserContext, page: Page, system: RunningSystem, screenshots: Path
) -> None:
    foreign: list[str] = []
    visitor.on("request", lambda request: None if _is_ours(request.url, system) else foreign.append(request.url))

    await page.goto(f"{system.api_url}/dashboard")
    await page.fill("#key", "not the key")
    await page.click("button")
    assert "not the secret key" in await page.inner_text(".refused")
    await page.fill("#key", system.secret_key)
    await page.click("button")
    await page.wait_for_selector("#welcome:not([hidden])")
    assert f"{system.api_url}/snippet.js" in await page.inner_text("#welcome")
    await page.screenshot(path=screenshots / "dashboard-1-empty.png", full_page=True)

    await fill(system, visitors=40, seed=3)
    answer = await suggestions(system, "anna", n=4)
    suggested = answer["items"][0]["id"]
    await _post(system, "view_item_list", suggested, answer["recommendation_id"])
    await _post(system, "select_item", suggested, answer["recommendation_id"])
    await page.wait_for_selector("#top tr:nth-child(10)")
    await page.wait_for_selector("#placements tr >> text=home")

    # 40 visitors with eight views each.
    await page.wait_for_selector("#tile-views >> text=/^320$/")
    await page.wait_for_selector("#tile-ctr >> text=/^100 %$/")
    # Titles follow the catalogue, which a page may be a second ahead of.
    await page.wait_for_function("!document.querySelector('#top').innerText.includes('FW-')")
    titles = await page.locator("#top .product strong, #top .product a").all_inner_texts()
    assert len(titles) == 10
    assert not any(title.startswith("FW-") for title in titles), "titles come from the catalogue"
    assert "Products viewed" in (await page.get_attribute("#chart", "aria-label") or "")
    await page.wait_for_selector("#status >> text=/^Live$/")
    await page.screenshot(path=screenshots / "dashboard-2-live.png", full_page=True)
    # Product pictures are the shop's; all else is ours.
    assert [url for url in foreign if not url.startswith(system.shop_url)] == []


async def test_a_click_is_seen_while_one_looks(page: Page, system: RunningSystem) -> None:
    await page.goto(f"{system.api_url}/dashboard?key={system.secret_key}")
    assert system.secret_key not in page.url
    await page.wait_for_selector("#page:not([hidden])")
    before = int((await page.inner_text("#tile-views")).replace(",", ""))

    started_s = time.monotonic()
    await _post(system, "view_item", MUG, None)
    await page.wait_for_selector(f"#tile-views >> text=/^{before + 1}$/")

    # Two seconds is what it promises on a quiet machine; this one may be busy.
    assert time.monotonic() - started_s < 20


def _is_ours(url: str, system: RunningSystem) -> bool:
    return url.startswith((system.api_url, "data:"))


async def _post(system: RunningSystem, name: str, item_id: str, recommendation_id: str | None) -> None:
    event = {
        "message_id": str(uuid.uuid4()),
        "event": name,
        "anonymous_id": "anna",
        "items": [{"item_id": item_id}],
        "placement": "home",
        "recommendation_id": recommendation_id,
    }
    async with httpx.AsyncClient(base_url=system.api_url, timeout=30) as client:
        posted = await client.post("/v1/events", json=event, headers={"Authorization": f"Bearer {system.write_key}"})
        assert posted.status_code == 202, posted.text
