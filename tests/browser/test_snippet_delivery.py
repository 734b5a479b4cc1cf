"""What the snippet does when the collector is slow, down, or says no; and that the page never notices."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.browser_tools import PageHost, RecordingCollector

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ITEM = '<body data-afterclick-item="FW-001"><p>one</p></body>'


async def test_a_refused_batch_comes_again_with_the_same_message_ids(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    collector.troubles = [(503, {}), (500, {})]

    await page.goto(host.add("/one", ITEM))
    await collector.until(lambda: collector.named("view_item"), "the item view, after two refusals")

    first, again, taken = collector.posts[:3]
    ids = [{event["message_id"] for event in post.events} for post in (first, again, taken)]
    assert [first.status, again.status, taken.status] == [503, 500, 202]
    assert ids[0] <= ids[1] <= ids[2]
    # 3 s * 2^n, of which at least half.
    assert again.at_s - first.at_s >= 1.4
    assert taken.at_s - again.at_s >= 2.9
    assert len({event["message_id"] for event in collector.sent}) == len(collector.sent)


async def test_retry_after_is_honoured_on_the_next_page_too(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    collector.troubles = [(429, {"Retry-After": "6"})]
    await page.goto(host.add("/one", ITEM))
    await collector.until(lambda: collector.posts, "the refusal")

    await page.goto(host.add("/two", ITEM))
    await collector.until(lambda: len(collector.named("view_item")) == 2, "both views")

    assert collector.posts[1].at_s - collector.posts[0].at_s >= 5.9


@pytest.mark.parametrize("status", [400, 401, 403, 410, 413, 422])
async def test_a_hopeless_batch_is_not_sent_again(
    page: Page, host: PageHost, collector: RecordingCollector, status: int
) -> None:
    collector.troubles = [(status, {})]
    await page.goto(host.add("/one", ITEM))
    await collector.until(lambda: collector.posts, "the refusal")

    await page.wait_for_function("afterclick.dropped > 0")
    await page.evaluate("afterclick('track', 'search', {search_term: 'next'})")
    await collector.until(lambda: collector.named("search"), "the next event")

    refused = {event["message_id"] for event in collector.posts[0].events}
    assert refused.isdisjoint({event["message_id"] for event in collector.accepted})


async def test_what_could_not_be_sent_arrives_from_a_later_page(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    collector.down = True
    await page.goto(host.add("/one", ITEM))
    await page.evaluate("afterclick('track', 'search', {search_term: 'lost?'})")
    await page.wait_for_function("localStorage['afterclick.retry']")
    await page.goto("about:blank")

    collector.down = False
    await page.goto(host.add("/two", "<p>two</p>"))
    await collector.until(lambda: collector.named("search"), "the event of the page before")

    assert len(collector.named("search")) == 1
    assert await _queue_is_empty(page)


async def test_leaving_sends_what_waits_by_beacon(page: Page, host: PageHost, collector: RecordingCollector) -> None:
    await page.goto(host.add("/one", "<p>one</p>"))
    await page.wait_for_function("afterclick.version")
    await page.evaluate("afterclick('track', 'view_promotion', {})")

    await page.goto("about:blank")
    await collector.until(lambda: collector.named("view_promotion"), "the beacon")

    (post,) = collector.posts
    assert post.beacon
    assert post.content_type == "text/plain;charset=UTF-8"
    assert post.key == "wk"
    assert [event["event"] for event in post.events] == ["page_view", "view_promotion"]


async def test_a_full_queue_drops_the_oldest_and_counts_them(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    collector.down = True
    await page.goto(host.add("/one", "<p>one</p>"))
    await page.wait_for_function("afterclick.version")

    await page.evaluate("for (let i = 0; i < 1005; i++) afterclick('track', 'search', {search_term: 'n' + i})")

    kept = await page.evaluate(
        "Object.keys(localStorage).filter((key) => key.startsWith('afterclick.q.')).sort()"
        ".map((key) => JSON.parse(localStorage[key]))"
    )
    assert len(kept) == 1000
    assert kept[0]["search_term"] == "n5"
    assert kept[-1]["search_term"] == "n1004"
    assert await page.evaluate("afterclick.dropped") == 6


async def test_two_tabs_send_what_they_share_only_once(
    visitor: BrowserContext, host: PageHost, collector: RecordingCollector
) -> None:
    collector.troubles = [(503, {"Retry-After": "2"})]
    tabs = [await visitor.new_page(), await visitor.new_page()]
    for number, tab in enumerate(tabs):
        await tab.goto(host.add(f"/tab{number}", ITEM))
        await tab.wait_for_function("afterclick.version")

    await asyncio.gather(*(tab.evaluate("afterclick('track', 'search', {search_term: 'both'})") for tab in tabs))
    await collector.until(lambda: len(collector.named("search")) == 2, "a search from each tab")
    await collector.until(lambda: len(collector.named("view_item")) == 2, "a view from each tab")

    assert len({event["message_id"] for event in collector.sent}) == len(collector.sent)
    assert len({event["anonymous_id"] for event in collector.accepted}) == 1


async def test_no_misuse_throws_into_the_page(page: Page, host: PageHost, collector: RecordingCollector) -> None:
    await page.goto(host.add("/misused", "<section data-afterclick-placement='home'></section>", options="debug:true"))
    await page.wait_for_function("afterclick.version")
    await page.evaluate(
        "addEventListener('unhandledrejection', (event) => { window.unhandled = String(event.reason) })"
    )

    await page.evaluate(
        """() => {
        const circle = {}; circle.circle = circle;
        afterclick(); afterclick('no such command'); afterclick('init'); afterclick('track');
        afterclick('track', 'search', circle); afterclick('track', 'search', {search_term: 'x'.repeat(50000)});
        afterclick('recommend'); afterclick('recommend', {placement: '\\ud800'}, () => {});
        afterclick('recommend', {placement: 'p'}, () => { throw new Error('the shop is wrong'); });
        afterclick('consent', 7); afterclick('identify', {}); afterclick('refresh');
        document.dispatchEvent(new Event('click'));
        }"""
    )
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 300))")

    assert await page.evaluate("window.unhandled") is None


@pytest.mark.parametrize("endpoint", ["http://[", "nonsense", "http://127.0.0.1:1", "javascript:alert(1)"])
async def test_a_garbage_endpoint_leaves_the_page_alone(
    page: Page, host: PageHost, collector: RecordingCollector, endpoint: str
) -> None:
    body = ITEM + "<section data-afterclick-placement='home'><h2>For you</h2><template><a></a></template></section>"
    await page.goto(host.add("/garbage", body, options=f"endpoint:'{endpoint}'"))
    await page.wait_for_function("afterclick.version")

    await page.wait_for_function("document.querySelector('section').hidden")
    await page.evaluate("afterclick('track', 'search', {search_term: 'still alive'})")

    assert await page.inner_text("p") == "one"


async def test_closed_storage_and_cookies_stop_nothing(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    await page.add_init_script(
        """for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name,
        {get() { throw new DOMException('closed', 'SecurityError'); }});
        const closed = () => { throw new Error('closed'); };
        Object.defineProperty(document, 'cookie', {get: closed, set: closed});"""
    )
    collector.troubles = [(503, {})]

    await page.goto(host.add("/closed", ITEM))
    await collector.until(lambda: collector.named("view_item"), "the view, from memory, after a refusal")

    assert len({event["anonymous_id"] for event in collector.accepted}) == 1


async def _queue_is_empty(page: Page) -> bool:
    script = "!Object.keys(localStorage).some((key) => key.startsWith('afterclick.q.'))"
    return bool(await page.wait_for_function(script))
