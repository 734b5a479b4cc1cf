"""From clicks and offers to the shop's webhook, on a real bus and store; whatever is killed, nobody is told twice."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256

import pytest

from afterclick.valkey_server import ValkeyServer
from api.webhooks import SIGNATURE, WebhookSettings, run_webhooks
from feature_store.online_store import OnlineStore
from feature_store.settings import WorkerSettings
from feature_store.visitor_reader import VisitorReader
from feature_store.worker import run_worker
from ingest.bus import Bus, Record, open_bus
from ingest.catalog import Product
from ingest.events import Event, Item, encode_event
from ingest.topics import ALL_TOPICS, CATALOG, ENGAGEMENTS, EVENTS, dead_letters
from recommender.history import History
from recommender.triggers import Engagement, TriggerSettings, decode_engagement, run_triggers

SETTINGS = TriggerSettings(enabled=True, cart_left_ms=400, viewers_max=50)
SECRET = "a-secret-of-the-webhook"
MUG = Product("mug", price=10.0, currency="EUR")


@dataclass
class House:
    bus: Bus
    store: OnlineStore
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    numbers: int = 0

    def start(self) -> asyncio.Task[None]:
        reader = VisitorReader(self.store)

        async def history(visitor: bytes, deadline_ms: float) -> History:
            return History(*await reader.history(visitor, deadline_ms))

        task = asyncio.create_task(run_triggers(self.bus, self.store, history, SETTINGS, asyncio.Event()))
        self.tasks.append(task)
        return task

    async def click(self, name: str, *item_ids: str, visitor: int = 1, consent: str = "full") -> None:
        self.numbers += 1
        key, now_ms = visitor.to_bytes(16, "big"), time.time_ns() // 1_000_000
        event = Event(
            f"message-{self.numbers:06d}",
            name,  # type: ignore[arg-type]
            key.hex(),
            now_ms,
            now_ms,
            tuple(Item(item_id) for item_id in item_ids),
            consent=consent,
        )
        await self.bus.publish(EVENTS, [Record(key, encode_event(event), now_ms)])

    async def offer(self, **changes: object) -> None:
        product = Product(**{f: getattr(MUG, f) for f in ("item_id", "price", "currency", "availability")} | changes)
        import msgspec

        await self.bus.publish(CATALOG, [Record(product.item_id.encode(), msgspec.json.encode(product))])

    async def told(self) -> list[Engagement]:
        """Everything on the topic, read without disturbing anybody."""
        found = []
        async for delivery in self.bus.read(ENGAGEMENTS, 0, until_now=True):
            found += [decode_engagement(entry.payload or b"") for entry in delivery.entries]
        return found

    async def until(self, reached: Callable[[list[Engagement]], bool]) -> list[Engagement]:
        async with asyncio.timeout(60):
            while not reached(found := await self.told()):
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def house(embedded_bus_server: ValkeyServer, valkey_server: ValkeyServer) -> AsyncIterator[House]:
    bus = await open_bus(embedded_bus_server.url)
    await bus.ensure(ALL_TOPICS, partitions=2)
    store = OnlineStore(valkey_server.url)
    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(bus, store, WorkerSettings(), stop))
    house = House(bus, store)
    yield house
    for task in house.tasks:
        task.cancel()
    await asyncio.gather(*house.tasks, return_exceptions=True)
    stop.set()
    await worker
    await bus.close()
    await store.close()


async def test_a_cart_left_behind_is_told_once(house: House) -> None:
    house.start()
    await house.click("add_to_cart", "mug")
    await house.click("add_to_cart", "pot")
    await house.click("add_to_cart", "pan", visitor=2, consent="session")

    await house.until(lambda found: len(found) == 1)
    await house.click("add_to_cart", "mug")
    await asyncio.sleep(1.5)

    [told] = await house.told()
    assert told.reason == "cart_left_behind"
    assert set(told.items) == {"mug", "pot"}
    assert told.visitor_key == (1).to_bytes(16, "big").hex()


async def test_who_buys_in_time_is_left_in_peace(house: House) -> None:
    house.start()
    await house.click("add_to_cart", "mug")
    await house.click("purchase", "mug")

    await asyncio.sleep(1.5)

    assert await house.told() == []


async def test_a_lower_price_is_told_to_those_who_looked_and_did_not_buy(house: House) -> None:
    house.start()
    await house.offer()
    for visitor in range(1, 6):
        await house.click("view_item", "mug", visitor=visitor)
    await house.click("purchase", "mug", visitor=2)
    await house.click("view_item", "mug", visitor=9, consent="session")
    await asyncio.sleep(1.0)

    await house.offer(price=8.0)
    found = await house.until(lambda found: len(found) >= 4)
    await house.offer(price=6.0)
    await asyncio.sleep(1.0)

    assert {int(told.visitor_key, 16) for told in found} == {1, 3, 4, 5}
    assert (found[0].price, found[0].price_before) == (8.0, 10.0)
    assert len(await house.told()) == 4


async def test_what_changed_while_nobody_watched_is_told_after_the_start(house: House) -> None:
    first = house.start()
    await house.offer(availability="out_of_stock")
    await house.click("view_item", "mug")
    await asyncio.sleep(1.0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    await house.offer(availability="in_stock")
    house.start()

    [told] = await house.until(lambda found: len(found) == 1)
    assert told.reason == "back_in_stock"


async def test_killed_again_and_again_nobody_is_told_twice_and_nobody_forgotten(house: House) -> None:
    await house.offer()
    for visitor in range(30):
        await house.click("view_item", "mug", visitor=visitor)
    running = house.start()
    await asyncio.sleep(1.0)
    await house.offer(price=5.0)
    for pause_ms in (5, 20, 40, 60, 90):
        await asyncio.sleep(pause_ms / 1000)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        running = house.start()

    await house.until(lambda found: len({told.visitor_key for told in found}) == 30)
    await asyncio.sleep(1.0)

    found = await house.told()
    assert len({told.engagement_id for told in found}) == 30


@dataclass
class Receiver:
    """A shop's webhook: what came, and what it is answered."""

    answers: list[int]
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.calls.append((headers, body))
        status = self.answers.pop(0) if self.answers else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver([])
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield receiver
    server.close()


async def _call(house: House, receiver: Receiver, *, calls: int) -> None:
    stop = asyncio.Event()
    settings = WebhookSettings(url=receiver.url, secret=SECRET, backoff_ms=10)
    calling = asyncio.create_task(run_webhooks(house.bus, settings, stop))
    async with asyncio.timeout(30):
        while len(receiver.calls) < calls:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    stop.set()
    await calling


async def _publish(house: House, engagement_id: str) -> None:
    told = {
        "engagement_id": engagement_id,
        "reason": "price_drop",
        "visitor_key": "ab" * 16,
        "items": ["mug"],
        "made_at_ms": 1,
    }
    await house.bus.publish(ENGAGEMENTS, [Record(b"v", json.dumps(told).encode())])


async def test_the_webhook_is_called_with_a_signature_that_can_be_checked(house: House, receiver: Receiver) -> None:
    await _publish(house, "0123456789abcdef01234567")

    await _call(house, receiver, calls=1)

    [(headers, body)] = receiver.calls
    at, _, signed = headers[SIGNATURE.lower()].removeprefix("t=").partition(",v1=")
    assert signed == hmac.new(SECRET.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    assert abs(int(at) - time.time()) < 60
    assert headers["idempotency-key"] == json.loads(body)["engagement_id"] == "0123456789abcdef01234567"


async def test_a_webhook_that_fails_is_called_again_with_the_same_key(house: House, receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    await _publish(house, "0123456789abcdef01234567")

    await _call(house, receiver, calls=3)

    assert len(receiver.calls) == 3
    assert len({headers["idempotency-key"] for headers, _ in receiver.calls}) == 1


async def test_what_the_webhook_never_takes_goes_to_the_dead_letters(house: House, receiver: Receiver) -> None:
    receiver.answers = [500] * 20
    await _publish(house, "0123456789abcdef01234567")

    await _call(house, receiver, calls=1 + ENGAGEMENTS.redeliveries_max)

    dead = [
        entry
        async for delivery in house.bus.read(dead_letters(ENGAGEMENTS, "webhook"), 0, until_now=True)
        for entry in delivery.entries
    ]
    assert len(dead) == 1


async def test_a_webhook_that_will_not_have_it_is_not_asked_again(house: House, receiver: Receiver) -> None:
    receiver.answers = [422]
    await _publish(house, "0123456789abcdef01234567")

    await _call(house, receiver, calls=1)

    assert len(receiver.calls) == 1
