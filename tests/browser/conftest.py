"""A headless Chromium, a collector that writes down what it gets, and the sample shop, for the browser tests.

All of them share one event loop (`loop_scope="session"`), so that one Chromium serves every test.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from loadtest.storefront import run_shop
from tests.browser.browser_tools import CHROMIUM, CHROMIUM_ARGUMENTS, CHROMIUM_MISSING, PageHost, RecordingCollector

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """One headless Chromium; without it the browser tests fail, they are never skipped."""
    if not Path(CHROMIUM).exists():
        pytest.fail(CHROMIUM_MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile of one visitor: own cookies, own storage, own tabs."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.set_default_timeout(60_000)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: BrowserContext) -> AsyncIterator[Page]:
    """A tab; whatever reaches the page as an error fails the test."""
    tab = await visitor.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    assert errors == [], "the snippet let an error reach the page"


@pytest.fixture
def collector() -> Iterator[RecordingCollector]:
    """An API origin that serves the snippet, records events and can be told to fail."""
    with RecordingCollector() as server:
        yield server


@pytest.fixture
def host(collector: RecordingCollector) -> Iterator[PageHost]:
    """A shop's origin whose pages a test writes itself."""
    with PageHost(collector.url) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def shop_url(collector: RecordingCollector) -> AsyncIterator[str]:
    """The sample shop, pointed at the recording collector."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(run_shop("127.0.0.1", port, api_url=collector.url, write_key="wk", stop=stop))
    await _answers(port)
    yield f"http://127.0.0.1:{port}"
    stop.set()
    await serving


@pytest.fixture
def screenshots() -> Path:
    """Where screenshots go: build output, not in git."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS


async def _answers(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
