"""What the snippet says, when, and to whom."""

import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.browser_tools import PageHost, RecordingCollector

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ITEM = '<body data-afterclick-item="FW-001" data-afterclick-price="49.5"><p>one</p></body>'


async def test_a_page_and_its_item_are_told_by_one_visitor_in_one_session(
    page: Page, visitor: BrowserContext, host: PageHost, collector: RecordingCollector
) -> None:
    first, second = host.add("/one", ITEM, options="currency:'EUR'"), host.add("/two", ITEM)

    await page.goto(first)
    await collector.until(lambda: collector.named("view_item"), "the first item view")
    await page.goto(second)
    await collector.until(lambda: len(collector.named("view_item")) == 2, "the second item view")

    views = collector.named("view_item")
    (cookie,) = [cookie for cookie in await visitor.cookies() if cookie["name"] == "afterclick_id"]
    assert views[0]["items"] == [{"item_id": "FW-001", "price": 49.5, "quantity": 1}]
    assert views[0]["currency"] == "EUR"
    assert {view["anonymous_id"] for view in views} == {cookie["value"]}
    assert cookie["sameSite"] == "Lax"
    assert 364 * 86_400 < cookie["expires"] - views[0]["timestamp"] / 1000 < 366 * 86_400
    assert len({view["session_id"] for view in views}) == 1
    assert len({view["page_view_id"] for view in views}) == 2
    assert len(collector.named("page_view")) == 2
    assert {post.content_type for post in collector.posts} == {"text/plain;charset=UTF-8"}
    assert {post.key for post in collector.posts} == {"wk"}


async def test_deliberate_acts_leave_at_once_and_impressions_wait_for_company(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    await page.goto(host.add("/quiet", "<p>nothing to click</p>"))
    await collector.until(lambda: collector.named("page_view"), "the page view")
    await page.evaluate("afterclick('track', 'search', {search_term: 'mug'})")
    await collector.until(lambda: collector.named("search"), "the search")

    # Both on the page's own clock: how long after it happened was it sent?
    first, second = ((post.sent_at_ms - post.events[0]["timestamp"]) for post in collector.posts)
    assert first >= 2_990
    assert second < 2_900


async def test_ten_impressions_need_not_wait(page: Page, host: PageHost, collector: RecordingCollector) -> None:
    await page.goto(host.add("/busy", "<p>many things to see</p>"))
    await page.wait_for_function("afterclick.version")

    await page.evaluate("for (let i = 0; i < 9; i++) afterclick('track', 'view_promotion', {})")
    await collector.until(lambda: len(collector.named("view_promotion")) == 9, "nine impressions and the page view")

    assert collector.posts[0].sent_at_ms - collector.named("view_promotion")[0]["timestamp"] < 2_900


async def test_calls_made_before_the_script_came_are_kept_in_order(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    early = "<script>afterclick('track','search',{search_term:'a'});afterclick('track','begin_checkout')</script>"

    await page.goto(host.add("/early", early))
    await collector.until(lambda: collector.named("begin_checkout"), "the early calls")

    names = [event["event"] for event in collector.accepted if event["event"] != "page_view"]
    assert names == ["search", "begin_checkout"]


async def test_a_marked_button_adds_to_the_cart_and_a_purchase_keeps_its_own_message_id(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    body = '<button data-afterclick-add="FW-007" data-afterclick-price="3">add</button>'
    await page.goto(host.add("/buy", body, options="currency:'EUR'"))
    await page.wait_for_function("afterclick.version")

    await page.click("button")
    await page.evaluate(
        "afterclick('track','purchase',{message_id:'purchase-42',items:[{item_id:'FW-007'}],value:3,currency:'EUR'})"
    )
    await collector.until(lambda: collector.named("purchase"), "the purchase")

    (added,), (bought,) = collector.named("add_to_cart"), collector.named("purchase")
    assert added["items"] == [{"item_id": "FW-007", "price": 3, "quantity": 1}]
    assert bought["message_id"] == "purchase-42"


async def test_a_shop_that_never_reloads_is_followed_through_its_history(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    await page.goto(host.add("/spa", '<main data-afterclick-item="FW-001">one</main>'))
    await collector.until(lambda: collector.named("view_item"), "the first item")

    await page.evaluate("history.pushState({}, '', '/spa/two')")
    await page.evaluate("document.querySelector('main').dataset.afterclickItem = 'FW-002'")
    await collector.until(lambda: len(collector.named("view_item")) == 2, "the second item")
    await page.go_back()
    await page.evaluate("document.querySelector('main').dataset.afterclickItem = 'FW-001'")
    await collector.until(lambda: len(collector.named("view_item")) == 3, "the first item again")

    items = [view["items"][0]["item_id"] for view in collector.named("view_item")]
    assert items == ["FW-001", "FW-002", "FW-001"]
    assert len({view["page_view_id"] for view in collector.named("view_item")}) == 3


async def test_a_session_ends_after_half_an_hour_of_rest(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    url = host.add("/rest", ITEM)
    await page.goto(url)
    await collector.until(lambda: collector.named("view_item"), "the first visit")

    await page.evaluate(
        """(() => { const [id, start, last] = localStorage['afterclick.session'].split(' ');
        localStorage['afterclick.session'] = [id, start, last - 31 * 60000].join(' '); })()"""
    )
    await page.reload()
    await collector.until(lambda: len(collector.named("view_item")) == 2, "the second visit")

    first, second = collector.named("view_item")
    assert first["session_id"] != second["session_id"]
    assert first["anonymous_id"] == second["anonymous_id"]


async def test_identify_is_told_once_and_then_goes_with_every_event(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    url = host.add("/known", "<script>afterclick('identify','user-1')</script>" + ITEM)
    await page.goto(url)
    await collector.until(lambda: collector.named("view_item"), "the first page")
    await page.goto(url)
    await collector.until(lambda: len(collector.named("view_item")) == 2, "the second page")

    assert len(collector.named("identify")) == 1
    assert [view["user_id"] for view in collector.named("view_item")] == ["user-1", "user-1"]


async def test_a_logout_is_told_once_and_a_reset_makes_a_stranger_of_the_browser(
    page: Page, host: PageHost, collector: RecordingCollector
) -> None:
    await page.goto(host.add("/account", "<script>afterclick('identify','user-1')</script>" + ITEM))
    await collector.until(lambda: collector.named("view_item"), "the page")
    await page.evaluate("afterclick('identify'); afterclick('identify', ''); afterclick('track', 'search', {})")
    await collector.until(lambda: collector.named("search"), "a search after the logout")
    await page.evaluate("afterclick('identify', 'user-2'); afterclick('reset'); afterclick('track', 'view_cart')")
    await collector.until(lambda: collector.named("view_cart"), "a cart after the reset")

    told = collector.named("identify")
    assert [event.get("user_id") for event in told] == ["user-1", None, "user-2", None]
    assert len({event["anonymous_id"] for event in [*told, *collector.named("search")]}) == 1
    [after] = collector.named("view_cart")
    assert after["anonymous_id"] != told[0]["anonymous_id"]
    assert after["session_id"] != told[0]["session_id"]
    assert "user_id" not in after


async def test_global_privacy_control_sends_and_keeps_nothing(
    page: Page, visitor: BrowserContext, host: PageHost, collector: RecordingCollector
) -> None:
    await page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")
    await page.goto(host.add("/private", ITEM + '<section data-afterclick-placement="home"></section>'))
    await collector.until(lambda: collector.asked, "suggestions for nobody in particular")

    await page.evaluate("afterclick('consent', 'full'); afterclick('track', 'search', {search_term: 'x'})")
    await page.goto(host.add("/elsewhere", "<p>bye</p>"))

    assert collector.posts == []
    assert await visitor.cookies() == []
    assert await page.evaluate("Object.keys(localStorage).concat(Object.keys(sessionStorage))") == []


async def test_without_consent_nothing_is_said_and_with_it_the_same_page_counts(
    page: Page, visitor: BrowserContext, host: PageHost, collector: RecordingCollector
) -> None:
    await page.goto(host.add("/ask", ITEM, options="consent:'none'"))
    await page.wait_for_function("afterclick.version")
    await page.evaluate("afterclick('track', 'search', {search_term: 'before'})")
    assert await visitor.cookies() == []

    await page.evaluate("afterclick('consent', 'full')")
    await collector.until(lambda: collector.named("view_item"), "the view after the yes")

    assert collector.named("search") == []
    assert {event["consent"] for event in collector.accepted} == {"full"}

    await page.evaluate("afterclick('consent', 'none')")
    assert await visitor.cookies() == []
    assert await page.evaluate("Object.keys(localStorage)") == []


async def test_session_consent_leaves_no_cookie_and_nothing_that_outlives_the_tab(
    page: Page, visitor: BrowserContext, host: PageHost, collector: RecordingCollector
) -> None:
    url = host.add("/session", ITEM, options="consent:'session'")
    await page.goto(url)
    await collector.until(lambda: collector.named("view_item"), "the first view")
    await page.goto(url)
    await collector.until(lambda: len(collector.named("view_item")) == 2, "two views")

    assert len({event["anonymous_id"] for event in collector.accepted}) == 1
    assert await visitor.cookies() == []
    assert await page.evaluate("Object.keys(localStorage)") == []
