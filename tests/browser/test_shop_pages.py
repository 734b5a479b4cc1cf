"""The sample shop in a real browser, against a collector that records; the whole system is in the end-to-end test."""

import pytest
from playwright.async_api import Page

from tests.browser.browser_tools import RecordingCollector

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_visit_from_search_to_purchase_is_told_in_full(
    page: Page, shop_url: str, collector: RecordingCollector
) -> None:
    await page.goto(shop_url)
    await page.fill("input[name=q]", "mug")
    await page.press("input[name=q]", "Enter")
    await page.click("main .card >> text=night blue")
    await page.click("text=Add to cart")
    await page.click("text=To the checkout")
    await page.click("text=Place the order")
    await page.wait_for_selector("text=Thank you")
    order_id = page.url.rpartition("/")[2]
    await collector.until(lambda: collector.named("purchase"), "the purchase")
    await page.reload()
    await page.evaluate("afterclick('track', 'search', {search_term: 'flush'})")
    await collector.until(lambda: len(collector.named("search")) == 2, "what the reload had to say")

    (bought,) = collector.named("purchase")
    assert bought["message_id"] == f"purchase-{order_id}"
    assert bought["items"] == [{"item_id": "FW-012", "quantity": 1, "price": 18.0}]
    assert (bought["value"], bought["currency"]) == (18.0, "EUR")
    assert collector.named("search")[0]["search_term"] == "mug"
    for name in ("view_item", "add_to_cart", "view_cart", "begin_checkout"):
        assert collector.named(name), f"{name} was never told"


async def test_removing_from_the_cart_is_told(page: Page, shop_url: str, collector: RecordingCollector) -> None:
    await page.goto(f"{shop_url}/products/FW-012")
    await page.click("text=Add to cart")
    await page.click("text=Remove")
    await page.wait_for_selector("text=Still empty")
    await collector.until(lambda: collector.named("remove_from_cart"), "the removal")

    assert collector.named("remove_from_cart")[0]["items"][0]["item_id"] == "FW-012"


async def test_the_cart_is_left_out_of_what_goes_well_with_it(
    page: Page, shop_url: str, collector: RecordingCollector
) -> None:
    await page.goto(f"{shop_url}/products/FW-012")
    await page.click("text=Add to cart")
    await page.wait_for_selector(".suggestions .card")

    asked = [question for question in collector.asked if question["placement"] == "cart"]
    assert asked[0]["cart"] == "FW-012"


async def test_a_dead_api_leaves_every_page_whole(page: Page, shop_url: str, collector: RecordingCollector) -> None:
    collector.down = True

    for path in ("/", "/shelves/Camping", "/products/FW-001"):
        await page.goto(shop_url + path)
        assert await page.is_visible("h1")
        assert await page.locator(".suggestions:visible").count() == 0
    await page.click("text=Add to cart")

    assert await page.is_visible("text=Cast-iron skillet")


async def test_a_silent_api_makes_nobody_wait(page: Page, shop_url: str, collector: RecordingCollector) -> None:
    collector.silent.set()

    await page.goto(f"{shop_url}/products/FW-001", wait_until="domcontentloaded", timeout=20_000)

    assert await page.is_visible("text=Add to cart")
    assert await page.locator(".suggestions:visible").count() == 0


async def test_nothing_is_fetched_from_anywhere_else(page: Page, shop_url: str, collector: RecordingCollector) -> None:
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))

    await page.goto(shop_url)
    await page.wait_for_selector(".suggestions .card")

    assert all(url.startswith((shop_url, collector.url)) for url in fetched)
