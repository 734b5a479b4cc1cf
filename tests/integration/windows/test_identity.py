"""Browsers and the users on them: whatever order the partitions are read in, and whoever sits at the computer."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import permutations
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from afterclick.valkey_server import ValkeyServer
from feature_store.cluster_slots import record_partition
from feature_store.keys import visitor_key as record_key
from feature_store.online_store import OnlineStore
from feature_store.person_reader import _READS
from feature_store.record_updater import RecordUpdater
from feature_store.touch_gathering import PlacedEvent
from feature_store.visitor_reader import VisitorReader
from ingest.bus import Position
from ingest.collector import Collector
from ingest.events import Event, Item, decode_event
from ingest.identity import visitor_key
from ingest.settings import CollectorSettings
from ingest.topics import EVENTS
from tests.integration.windows.windows_tools import PARTITIONS, START_MS, WORKER, System, eventually, working

SECRET = b"a secret of a test shop's own"


class Shop:
    """Posts what browsers and the shop's server do, through the collector, a second apart; reads visitors back."""

    def __init__(self, system: System) -> None:
        self._collector = Collector(
            system.bus, CollectorSettings(lateness_ms_max="unlimited"), SECRET, lambda: START_MS
        )
        self._reader = VisitorReader(system.store)
        self._at_ms = START_MS

    async def does(self, event: str, *items: str, **who: str) -> None:
        self._at_ms += 1_000
        sent: dict[str, Any] = {"message_id": f"message-{self._at_ms}", "event": event, "timestamp": self._at_ms, **who}
        sent["items"] = [{"item_id": item} for item in items]
        reply = await self._collector.accept(
            msgspec.json.encode(sent), content_type="application/json", received_at_ms=self._at_ms
        )
        assert reply.status == 202, reply

    async def shows(self, visitor: str, expected: Sequence[str]) -> None:
        """Wait until the visitor's history is `expected`."""
        found: Sequence[str] = ()

        async def reached() -> bool:
            nonlocal found
            found = await self.history(visitor)
            return found == tuple(expected)

        try:
            await eventually(reached, f"{visitor} to have {expected}")
        except AssertionError as error:
            raise AssertionError(f"{visitor}: wanted {expected}, got {found}") from error

    async def history(self, visitor: str) -> tuple[str, ...]:
        return (await self._reader.history(visitor_key(visitor, secret=SECRET), 1_000)).item_ids

    async def close(self) -> None:
        await self._collector.close()


@asynccontextmanager
async def shop_on(system: System) -> AsyncIterator[Shop]:
    shop = Shop(system)
    async with working(system.bus, system.store):
        yield shop
        await shop.close()


async def test_a_user_has_what_they_did_on_every_browser_and_what_their_shop_sold_them(embedded_system: System) -> None:
    async with shop_on(embedded_system) as shop:
        await shop.does("view_item", "phone-1", anonymous_id="phone")
        await shop.does("identify", anonymous_id="phone", user_id="ann")
        await shop.does("view_item", "laptop-1", anonymous_id="laptop")
        await shop.does("identify", anonymous_id="laptop", user_id="ann")
        await shop.does("view_item", "phone-2", anonymous_id="phone")
        await shop.does("purchase", "sold-by-server", user_id="ann")

        everything = ["phone-1", "laptop-1", "phone-2", "sold-by-server"]
        await shop.shows("phone", everything)
        await shop.shows("laptop", everything)
        await shop.shows("ann", everything)
        await shop.shows("stranger", [])


async def test_on_a_shared_computer_each_user_keeps_their_own(embedded_system: System) -> None:
    async with shop_on(embedded_system) as shop:
        await shop.does("view_item", "before-anyone", anonymous_id="shared")
        await shop.does("identify", anonymous_id="shared", user_id="ann")
        await shop.does("view_item", "anns", anonymous_id="shared")
        await shop.does("identify", anonymous_id="shared", user_id="bob")
        await shop.does("view_item", "bobs", anonymous_id="shared")

        await shop.shows("shared", ["bobs"])
        await shop.shows("ann", ["before-anyone", "anns"])
        await shop.shows("bob", ["bobs"])


async def test_after_a_logout_only_what_came_since_is_told_until_the_next_user(embedded_system: System) -> None:
    async with shop_on(embedded_system) as shop:
        await shop.does("view_item", "anns", anonymous_id="kiosk")
        await shop.does("identify", anonymous_id="kiosk", user_id="ann")
        await shop.does("identify", anonymous_id="kiosk")
        await shop.does("view_item", "nobodys", anonymous_id="kiosk")
        await shop.shows("kiosk", ["nobodys"])
        await shop.shows("ann", ["anns"])

        await shop.does("identify", anonymous_id="kiosk", user_id="bob")
        await shop.shows("bob", ["nobodys"])
        await shop.shows("ann", ["anns"])


async def test_a_user_of_many_browsers_is_read_in_two_round_trips_with_the_newest_sixteen(
    embedded_system: System,
) -> None:
    async with shop_on(embedded_system) as shop:
        for number in range(18):
            await shop.does("view_item", f"item-{number}", anonymous_id=f"browser-{number}")
            await shop.does("identify", anonymous_id=f"browser-{number}", user_id="ann")
        await shop.shows("ann", [f"item-{number}" for number in range(2, 18)])
        await shop.history("browser-17")

        two, three = (_READS.labels(trips)._value.get() for trips in ("2", "3"))
        await shop.history("ann")
        await shop.history("browser-17")
        await shop.history("browser-3")

        assert _READS.labels("2")._value.get() == two + 3
        assert _READS.labels("3")._value.get() == three


async def test_both_events_of_an_identify_lie_in_the_log_and_one_is_counted(embedded_system: System) -> None:
    system = embedded_system
    async with shop_on(system) as shop:
        before = REGISTRY.get_sample_value("afterclick_ingest_events_accepted_total") or 0
        await shop.does("identify", anonymous_id="phone", user_id="ann")
        await shop.does("identify", user_id="ann")
        counted = (REGISTRY.get_sample_value("afterclick_ingest_events_accepted_total") or 0) - before
    events = []
    for partition in range(PARTITIONS):
        async for delivery in system.bus.read(EVENTS, partition, until_now=True):
            events += [decode_event(entry.payload or b"") for entry in delivery.entries]

    phone, ann = (visitor_key(who, secret=SECRET).hex() for who in ("phone", "ann"))
    assert counted == 2
    assert {(e.visitor_key, e.user_key, e.browser_key) for e in events} == {
        (phone, ann, None),
        (ann, ann, phone),
        (ann, ann, None),
    }
    assert len({e.message_id for e in events}) == 3


def event(number: int, name: str, visitor: bytes, **fields: Any) -> Event:
    at_ms = START_MS + number * 1_000
    items = (Item(item_id=fields.pop("item")),) if "item" in fields else ()
    return Event(f"message-{number:08d}", name, visitor.hex(), at_ms, at_ms, items, **fields)  # type: ignore[arg-type]


def interleavings(parts: Sequence[Sequence[Event]]) -> Iterator[list[tuple[int, Event]]]:
    """Every order of the parts' events that keeps each part's own."""
    numbers = [number for number, part in enumerate(parts) for _ in part]
    for order in sorted(set(permutations(numbers))):
        left = [iter(part) for part in parts]
        yield [(number, next(left[number])) for number in order]


@pytest.fixture
async def store(valkey_server: ValkeyServer) -> AsyncIterator[OnlineStore]:
    opened = OnlineStore(valkey_server.url)
    yield opened
    await opened.close()


async def test_every_interleaving_of_the_partitions_ends_the_same(store: OnlineStore) -> None:
    # Three keys in three partitions: two browsers and the user.
    found: dict[int, bytes] = {}
    for number in range(64):
        key = number.to_bytes(16, "big")
        found.setdefault(record_partition(record_key(key), PARTITIONS), key)
    phone, laptop, user = (found[partition] for partition in (0, 1, 2))
    parts = [
        [
            event(1, "view_item", phone, item="phone-1"),
            event(3, "identify", phone, user_key=user.hex()),
            event(5, "view_item", phone, item="phone-2"),
        ],
        [event(2, "view_item", laptop, item="laptop-1"), event(6, "identify", laptop, user_key=user.hex())],
        [
            event(3, "identify", user, user_key=user.hex(), browser_key=phone.hex()),
            event(6, "identify", user, user_key=user.hex(), browser_key=laptop.hex()),
            event(7, "purchase", user, item="sold"),
        ],
    ]
    orders = list(interleavings(parts))
    assert len(orders) == 560

    for order in orders:
        await store.wipe()
        identity = await store.identify()
        updater = RecordUpdater(store, WORKER, log_id=1)
        for place, (partition, happened) in enumerate(order):
            placed = PlacedEvent(happened, partition, Position(1, place, 0))
            for _ in range(2):
                await updater.apply([placed], identity=identity, catching_up=True)

        reader = VisitorReader(store)
        for asked in (phone, laptop, user):
            history = await reader.history(asked, 1_000)
            assert history.item_ids == ("phone-1", "laptop-1", "phone-2", "sold"), order
