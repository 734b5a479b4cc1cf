"""How long after its 202 is a click reflected in the same visitor's suggestions?

Question: with background traffic of 200 events/s, how long from the 202 of a click until an answer of
`/v1/recommendations` for the same visitor is made from it?
Budget: p99 at most 30 ms on the embedded bus, 60 ms through Apache Pulsar; two cores, driver included.
Method: a visitor nobody has seen asks once and is told `degraded: no-history`. They click; from the 202 on they ask
again and again, 1 ms apart, until an answer is served by the blend or by neighbours, which need an event of the
visitor's own. Counted is the time from the 202 to the end of that answer, so one answer's own time is in it. A new
visitor for every click: a click of one with a history changes the answer's order at best, and so do others' clicks.

    python benchmarks/bench_click_to_suggestion.py                 # starts its own system, embedded
    python benchmarks/bench_click_to_suggestion.py --bus pulsar://127.0.0.1:6650
    python benchmarks/bench_click_to_suggestion.py --url http://127.0.0.1:8080 --data-dir data
"""

import argparse
import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from loadtest.asking import Suggestions, decode_suggestions, suggestions_target
from loadtest.catalog_fill import fill_catalog
from loadtest.client import Client
from loadtest.delivery import Delivery, Tally
from loadtest.errors import ServerUnavailableError
from loadtest.freshness import OWN_EVENTS
from loadtest.open_loop import Samples, open_loop
from loadtest.percentiles import Percentiles, percentiles_of
from loadtest.synthetic_catalogue import synthetic_products
from loadtest.system import Keys, read_keys, running_system
from loadtest.traffic import CrowdTraffic, event_call

ITEMS, SEED, SEED_EVENTS = 1_000, 7, 5_000
POLL_S, GIVE_UP_S, MODEL_WITHIN_S = 0.001, 5.0, 120.0


async def main() -> None:
    options = _arguments()
    async with _system(options) as (url, keys):
        times, timeouts = await measure(url, keys, events_per_s=options.background, clicks=options.clicks)
    print(
        f"click_to_suggestion bus={options.bus or 'embedded'} background_events_per_s={options.background:g} "
        f"clicks={times.count} p50_ms={times.p50_ms:.2f} p90_ms={times.p90_ms:.2f} p99_ms={times.p99_ms:.2f} "
        f"max_ms={times.max_ms:.2f} not_within_{GIVE_UP_S:g}s={timeouts}"
    )


async def measure(url: str, keys: Keys, *, events_per_s: float, clicks: int) -> tuple[Percentiles, int]:
    """Times of `clicks` clicks under background traffic, and how many were not reflected in time."""
    products = synthetic_products(ITEMS, SEED)
    traffic = CrowdTraffic(products, shoppers=500, seed=SEED, run_id=secrets.token_hex(6))
    async with Client(url, key=keys.secret_key) as manager:
        await fill_catalog(manager, products, lines_max=1000, deadline_s=60)
    async with Client(url, key=keys.write_key) as client, Client(url, key=keys.write_key) as background:
        delivery = Delivery(client, Tally(), deadline_s=60)
        for _ in range(0, SEED_EVENTS, 100):
            await delivery.send(traffic.events(100))
        await _model_is_there(client, traffic)
        seconds = 3600.0
        noise = asyncio.create_task(
            open_loop(
                background,
                lambda: event_call(traffic, 1),
                calls_per_s=events_per_s,
                seconds=seconds,
                in_flight_max=1000,
                samples=Samples(),
            )
        )
        await asyncio.sleep(2.0)
        waits = [await _one_click(client, at) for at in range(clicks)]
        noise.cancel()
    reflected = [wait_s for wait_s in waits if wait_s is not None]
    return percentiles_of(reflected), len(waits) - len(reflected)


async def _one_click(client: Client, at: int) -> float | None:
    """Seconds from the 202 to the end of the first answer made from it, None when there is none in time."""
    clock = time.perf_counter
    visitor = f"click-{secrets.token_hex(8)}"
    before = await _ask(client, visitor)
    if before.degraded != "no-history":
        raise ServerUnavailableError(f"wanted degraded no-history for a new visitor; got {before.degraded}")
    # One of those that were suggested: an item the model knows, or no answer could be made from the click.
    item = before.items[at % len(before.items)].id
    click = {"message_id": secrets.token_hex(12), "event": "view_item", "anonymous_id": visitor}
    body = orjson.dumps(click | {"items": [{"item_id": item}]})
    response = await client.request("POST", "/v1/events", body=body)
    if response.status != 202:
        raise ServerUnavailableError(f"wanted 202 for a click; got {response.status}: {response.body[:200]!r}")
    acknowledged_s = clock()
    while clock() - acknowledged_s < GIVE_UP_S:
        if (await _ask(client, visitor)).served_by in OWN_EVENTS:
            return clock() - acknowledged_s
        await asyncio.sleep(POLL_S)
    return None


async def _ask(client: Client, visitor: str) -> Suggestions:
    response = await client.request("GET", suggestions_target(visitor, "home", 20))
    return decode_suggestions(response.body)


async def _model_is_there(client: Client, traffic: CrowdTraffic) -> None:
    """Wait until a visitor with a history is served from it: before that nothing a click does can show."""
    clock = time.perf_counter
    start_s = clock()
    while True:
        answer = await _ask(client, traffic.visitor()[0])
        if answer.degraded is None and answer.items:
            return
        if clock() - start_s > MODEL_WITHIN_S:
            raise ServerUnavailableError(
                f"wanted answers that are not degraded within {MODEL_WITHIN_S:g} s of {SEED_EVENTS} events; "
                f"got served_by {answer.served_by}, degraded {answer.degraded}, {len(answer.items)} items; "
                "look whether the learner runs"
            )
        await asyncio.sleep(0.5)


@asynccontextmanager
async def _system(options: argparse.Namespace) -> AsyncIterator[tuple[str, Keys]]:
    if options.url is not None:
        yield options.url, read_keys(options.data_dir)
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--bus", options.bus] if options.bus else []
        async with running_system(Path(folder), arguments=arguments) as system:
            yield system.url, system.keys


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running system; without it one is started")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="of the running system, for its keys")
    parser.add_argument("--bus", help="of the system that is started; default: embedded")
    parser.add_argument("--background", type=float, default=200.0, help="events/s")
    parser.add_argument("--clicks", type=int, default=500)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
