"""What only the embedded bus has to prove: its leases fence, its retention trims, a wiped server begins a new log."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator

import pytest

from afterclick.valkey_server import ValkeyServer
from ingest.bus import Delivery, Position, Record
from ingest.bus.embedded import EmbeddedBus
from ingest.bus.embedded_stream import OrderedSubscription
from ingest.bus.settings import BusSettings
from ingest.errors import BusUnavailableError
from ingest.topics import CATALOG, EVENTS, MODEL, Topic

LEASE_MS = 400


@pytest.fixture
async def embedded(embedded_bus_server: ValkeyServer) -> AsyncIterator[EmbeddedBus]:
    bus = await EmbeddedBus.connect(embedded_bus_server.url, BusSettings(lease_ms=LEASE_MS, send_deadline_ms=3_000))
    await bus.ensure([MODEL, EVENTS, CATALOG], partitions=1)
    yield bus
    await bus.close()


async def _subscribe(bus: EmbeddedBus) -> OrderedSubscription:
    subscription = await bus.subscribe(MODEL, "learner", mode="ordered")
    assert isinstance(subscription, OrderedSubscription)
    return subscription


async def _some(subscription: OrderedSubscription) -> list[Delivery]:
    deadline_s = time.monotonic() + 30
    while not (found := await subscription.receive(wait_ms=200, entries_max=100)):
        assert time.monotonic() < deadline_s, "nothing came within 30 s"
    return found


async def _cursor(bus: EmbeddedBus) -> bytes:
    return bytes(await bus._link.ask("HGET", "bus:cursors:model:0", "learner"))


async def _freeze(subscription: OrderedSubscription) -> None:
    """As a stopped process: it renews nothing, and its clock goes on."""
    subscription._tending.cancel()
    await asyncio.sleep(LEASE_MS / 1000 * 1.5)


async def test_the_acknowledgement_of_a_lost_lease_changes_nothing(embedded: EmbeddedBus) -> None:
    first = await _subscribe(embedded)
    second = await _subscribe(embedded)
    await embedded.publish(MODEL, [Record(b"k", b"1")])
    [late] = await _some(first)
    await _freeze(first)
    [taken_over] = await _some(second)
    before = await _cursor(embedded)

    await first.acknowledge(late)
    await first._leases.commit()

    assert await _cursor(embedded) == before
    assert taken_over.entries == late.entries
    assert taken_over.epoch > late.epoch
    assert await first.receive(wait_ms=200, entries_max=10) == []
    await first.close()
    await second.close()


async def test_what_it_had_fetched_is_not_delivered_after_the_lease_was_lost(embedded: EmbeddedBus) -> None:
    first = await _subscribe(embedded)
    second = await _subscribe(embedded)
    for n in range(5):
        await embedded.publish(MODEL, [Record(b"k", b"%d" % n)])
    # One of the five is asked for, the others stay fetched.
    [one] = await first.receive(wait_ms=1_000, entries_max=1)
    await first._fetch(100, block_ms=0)
    await _freeze(first)
    taken_over = await _some(second)

    assert await first.receive(wait_ms=200, entries_max=100) == []
    assert taken_over[0].entries == one.entries
    await first.close()
    await second.close()


async def test_a_lease_that_ran_out_unclaimed_goes_on_in_its_epoch(embedded: EmbeddedBus) -> None:
    only = await _subscribe(embedded)
    await embedded.publish(MODEL, [Record(b"k", b"1")])
    [before] = await _some(only)
    await _freeze(only)

    await embedded.publish(MODEL, [Record(b"k", b"2")])
    [after] = await _some(only)

    assert after.epoch == before.epoch
    assert after.entries[0].payload == b"2"
    await only.close()


async def test_a_wiped_server_begins_a_new_log_that_readers_can_tell(
    embedded: EmbeddedBus, embedded_bus_server: ValkeyServer
) -> None:
    subscription = await _subscribe(embedded)
    table = await embedded.table(CATALOG)
    await embedded.publish(CATALOG, [Record(b"a", b"1")])
    await embedded.publish(MODEL, [Record(b"k", b"1")])
    [before] = await _some(subscription)
    assert await table.changes(wait_ms=500)

    embedded_bus_server.kill()
    shutil.rmtree(embedded_bus_server.data_dir)
    embedded_bus_server.start()
    with pytest.raises(BusUnavailableError):
        await subscription.receive(wait_ms=500, entries_max=1)
    [verdict] = await embedded.publish(MODEL, [Record(b"k", b"2")])
    await embedded.publish(CATALOG, [Record(b"b", b"2")])
    [after] = await _some(subscription)

    assert isinstance(verdict, Position)
    assert after.entries[0].payload == b"2"
    assert after.log_id == await embedded.log_id(MODEL) != before.log_id
    assert after.epoch > before.epoch
    deadline_s = time.monotonic() + 30
    while table.items() != {b"b": b"2"} and time.monotonic() < deadline_s:
        try:
            await table.changes(wait_ms=200)
        except BusUnavailableError:
            continue
    assert table.items() == {b"b": b"2"}
    await table.close()
    await subscription.close()


async def test_retention_trims_what_is_old_and_read_alone(embedded: EmbeddedBus) -> None:
    short = Topic("short", "stream", "none", False, 50)
    await embedded.ensure([short], partitions=1)
    subscription = await embedded.subscribe(short, "reader", mode="ordered")
    for n in range(4):
        await embedded.publish(short, [Record(b"k", b"%d" % n)])
    for delivery in (await subscription.receive(wait_ms=1_000, entries_max=10))[:2]:
        await subscription.acknowledge(delivery)
    await subscription.close()
    await asyncio.sleep(0.1)

    await embedded._link.call("bus_expire", [])

    left = [e.payload async for d in embedded.read(short, 0, until_now=True) for e in d.entries]
    assert left == [b"2", b"3"]


async def test_bytes_held_are_those_of_what_is_there(embedded: EmbeddedBus) -> None:
    for n in range(50):
        await embedded.publish(MODEL, [Record(b"k", b"%d" % n)])
        await embedded.publish(CATALOG, [Record(b"sku-%d" % n, b"%d" % n), Record(b"gone", None)])
    held = int(await embedded._link.ask("GET", "bus:bytes"))

    await embedded._link.call("bus_reclaim", [], held)

    assert held > 50 * 3 * 24
    assert int(await embedded._link.ask("GET", "bus:bytes")) == 0
    assert await embedded._link.ask("XLEN", "bus:stream:model:0") == 0
