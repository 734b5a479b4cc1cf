"""How suggestion boxes are filled, and what the snippet reports of them."""

import pytest
from playwright.async_api import Page

from tests.browser.browser_tools import PageHost, RecordingCollector

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

BOX = """<section data-afterclick-placement="home" data-afterclick-n="3" hidden style="height:200px"><h2>For you</h2>
<div data-afterclick-items></div><template><a data-afterclick-field="url"><img data-afterclick-field="image" alt="">
<b data-afterclick-field="title"></b><i data-afterclick-field="price"></i></a></template></section>"""


async def test_a_box_is_filled_by_the_shops_own_template(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    await page.goto(host.add("/one", '<body data-afterclick-item="FW-009">' + BOX))
    await page.wait_for_selector("section a")

    (asked,) = collector.asked
    assert {name: asked[name] for name in ("placement", "n", "item", "key", "return_properties")} == {
        "placement": "home",
        "n": "3",
        "item": "FW-009",
        "key": "wk",
        "return_properties": "true",
    }
    await collector.until(lambda: collector.named("view_item"), "the view of the same visitor")
    assert asked["visitor"] == collector.named("view_item")[0]["anonymous_id"]
    assert await page.locator("section b").all_inner_texts() == ["Thing FW-001", "Thing FW-012", "Thing FW-023"]
    assert await page.locator("section i").first.inner_text() == "€12.50"
    assert await page.locator("section a").first.get_attribute("href") == "/products/FW-001"


async def test_suggestions_half_in_view_are_reported_once_and_clicks_name_them(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    host.add("/products/FW-012", "<p>there</p>")
    await page.goto(host.add("/far", f'<div style="height:2000px">tall</div>{BOX}<div style="height:2000px"></div>'))
    await page.wait_for_selector("section a", state="attached")
    await page.evaluate("scrollTo(0, 2000 - innerHeight + 60)")
    await page.evaluate("afterclick('track', 'search', {search_term: 'flush'})")
    await collector.until(lambda: collector.named("search"), "whatever was queued")
    assert collector.named("view_item_list") == [], "sixty of two hundred pixels are not half"

    await page.evaluate("scrollTo(0, 2000)")
    await collector.until(lambda: collector.named("view_item_list"), "the impression")
    await page.evaluate("scrollTo(0, 0)")
    await page.click("section a:nth-child(2)")
    await page.wait_for_url("**/products/FW-012")
    await collector.until(lambda: collector.named("select_item"), "the click")

    (shown,), (clicked,) = collector.named("view_item_list"), collector.named("select_item")
    assert (shown["recommendation_id"], shown["placement"]) == ("rec-1", "home")
    assert [item["item_id"] for item in shown["items"]] == ["FW-001", "FW-012", "FW-023"]
    assert (clicked["recommendation_id"], clicked["placement"]) == ("rec-1", "home")
    assert clicked["items"] == [{"item_id": "FW-012", "index": 1}]


async def test_a_shop_that_draws_for_itself_is_reported_all_the_same(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    drawn = """<ul data-afterclick-placement="mine" data-afterclick-recommendation="rec-own">
    <li data-afterclick-product="A"><button>A</button></li>
    <li data-afterclick-product="B"><button>B</button></li></ul>"""
    await page.goto(host.add("/own", drawn))
    await page.click("li:nth-child(2) button")
    await collector.until(lambda: collector.named("select_item"), "the click")
    await collector.until(lambda: collector.named("view_item_list"), "the impression")

    assert collector.asked == []
    assert collector.named("select_item")[0]["recommendation_id"] == "rec-own"
    assert collector.named("select_item")[0]["items"] == [{"item_id": "B", "index": 1}]
    assert [item["item_id"] for item in collector.named("view_item_list")[0]["items"]] == ["A", "B"]


async def test_the_answer_is_handed_over_when_asked_for(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    await page.goto(host.add("/asked", "<p>one</p>"))

    answer = await page.evaluate("new Promise((give) => afterclick('recommend', {placement: 'side', n: 2}, give))")
    collector.down = True
    nothing = await page.evaluate("new Promise((give) => afterclick('recommend', {placement: 'side'}, give))")

    assert [item["id"] for item in answer["items"]] == ["FW-001", "FW-012", "FW-023"]
    assert nothing is None


async def test_an_address_that_runs_code_is_never_linked(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    collector.suggested = ["x"]
    await page.add_init_script(
        """const get = window.fetch; window.fetch = async (...args) => { const reply = await get(...args);
        if (!String(args[0]).includes('recommendations')) return reply;
        const told = await reply.json(); told.items[0].properties.url = 'javascript:alert(1)';
        told.items[0].properties.title = '<img src=x onerror=alert(1)>'; return new Response(JSON.stringify(told)); }"""
    )

    await page.goto(host.add("/evil", BOX))
    await page.wait_for_selector("section a")

    assert await page.locator("section a").get_attribute("href") is None
    assert await page.locator("section b").inner_text() == "<img src=x onerror=alert(1)>"


async def test_a_page_taken_back_from_memory_asks_again(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    await page.goto(host.add("/one", BOX))
    await page.wait_for_selector("section a")

    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    await collector.until(lambda: len(collector.asked) == 2, "a second question")
    await page.wait_for_selector("section[data-afterclick-recommendation=rec-2]")

    assert await page.locator("section a").count() == 3
