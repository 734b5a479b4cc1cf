"""`afterclick demo`: the whole system, a sample shop, and simulated shoppers browsing it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec

from afterclick.console import hint, say, show_keys
from afterclick.errors import PartFailedError
from afterclick.ports import free_port
from afterclick.run import finished_before, stop_on_signals
from afterclick.settings import Settings
from afterclick.system import Running, System, locked
from loadtest.shoppers import run_shoppers
from loadtest.storefront import run_shop, shop_catalogue

_FIRST_ANSWER_S_MAX = 30.0


async def run_demo(settings: Settings, *, bus: str, shop_port: int, steps_per_s: float) -> None:
    """Run until SIGINT or SIGTERM; everything that was started here is stopped, a Pulsar too."""
    stop = stop_on_signals()
    shop_port = shop_port or free_port()
    shop_url = f"http://127.0.0.1:{shop_port}"
    settings = _with_shop(settings, shop_url)
    with locked(settings.data_dir):
        async with _bus(settings, bus) as settings:
            system = System(settings)
            try:
                starting = asyncio.create_task(system.start())
                if await finished_before(starting, stop):
                    await _run_shop_and_shoppers(starting.result(), settings, shop_port, steps_per_s, stop)
            finally:
                await system.stop()


@asynccontextmanager
async def _bus(settings: Settings, bus: str) -> AsyncIterator[Settings]:
    """`settings` with the bus's address; a Pulsar is fetched, started, and stopped at the end."""
    if bus != "pulsar":
        yield _with_bus(settings, bus)
        return
    from afterclick.pulsar_server import PulsarServer

    hint("Starting Apache Pulsar; the first time it is fetched (245 MB) …")
    server = await asyncio.to_thread(lambda: PulsarServer(settings.data_dir / "pulsar", quick_start=True).start())
    try:
        yield _with_bus(settings, server.url)
    finally:
        await asyncio.to_thread(server.stop)


async def _run_shop_and_shoppers(
    running: Running, settings: Settings, shop_port: int, steps_per_s: float, stop: asyncio.Event
) -> None:
    if running.keys_are_new:
        show_keys(running.keys, keys_file=str(settings.data_dir / "keys.toml"))
    shop_url = f"http://127.0.0.1:{shop_port}"
    products = shop_catalogue(shop_url)
    await _fill_catalogue(running, products)
    shop = asyncio.create_task(
        run_shop("127.0.0.1", shop_port, api_url=running.url, write_key=running.keys.write_key, stop=stop)
    )
    shoppers = asyncio.create_task(run_shoppers(running.url, running.keys.write_key, products, steps_per_s, stop))
    await _first_answer(running)
    say(f"The shop:      {shop_url}   (click three products and watch “For you” change)")
    say(f"The dashboard: {running.url}/dashboard?key={running.keys.secret_key}")
    say(f"The API:       {running.url}   (Ctrl-C stops everything)")
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({shop, shoppers, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    # A shop or a crowd that ended by itself has failed: its error is the demo's.
    await asyncio.gather(shop, shoppers)


async def _fill_catalogue(running: Running, products: list[dict[str, object]]) -> None:
    lines = b"\n".join(msgspec.json.encode(product) for product in products)
    headers = {"authorization": f"Bearer {running.keys.secret_key}", "content-type": "application/x-ndjson"}
    async with httpx.AsyncClient(timeout=30.0) as client:
        answer = await client.post(f"{running.url}/v1/catalog", content=lines, headers=headers)
    if answer.status_code >= 300:
        raise PartFailedError(f"the catalogue must be taken, it was answered {answer.status_code}: {answer.text[:500]}")


async def _first_answer(running: Running) -> None:
    """Wait for the first suggestions with something in them."""
    headers = {"authorization": f"Bearer {running.keys.write_key}"}
    async with httpx.AsyncClient(timeout=2.0) as client, asyncio.timeout(_FIRST_ANSWER_S_MAX):
        while True:
            answer = await client.get(
                f"{running.url}/v1/recommendations", params={"visitor": "demo-first-answer"}, headers=headers
            )
            if answer.status_code == 200 and answer.json()["items"]:
                return
            await asyncio.sleep(0.05)


def _with_shop(settings: Settings, shop_url: str) -> Settings:
    origins = (shop_url, shop_url.replace("127.0.0.1", "localhost"))
    return msgspec.structs.replace(settings, api=msgspec.structs.replace(settings.api, allowed_origins=origins))


def _with_bus(settings: Settings, bus: str) -> Settings:
    return msgspec.structs.replace(settings, system=msgspec.structs.replace(settings.system, bus=bus))
