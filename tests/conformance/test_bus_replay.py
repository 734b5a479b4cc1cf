"""Replaying a partition: from the earliest entry, a time, a position, or the end, without disturbing anybody."""

import asyncio
import contextlib
import time

from ingest.bus import Bus, Delivery, Position, Record
from ingest.topics import EVENTS, MODEL


async def _fill(bus: Bus, packs: int = 5, entries: int = 4) -> list[Position]:
    """One partition of five packs of four."""
    await bus.ensure([MODEL], partitions=1)
    positions: list[Position] = []
    for pack in range(packs):
        records = [Record(b"k", b"%d" % (pack * entries + i)) for i in range(entries)]
        positions += [p for p in await bus.publish(MODEL, records) if isinstance(p, Position)]
    assert len(positions) == packs * entries
    return positions


async def _read(bus: Bus, **start) -> list[int]:
    return [int(e.payload) async for d in bus.read(MODEL, 0, until_now=True, **start) for e in d.entries]


async def test_from_the_earliest(bus: Bus) -> None:
    positions = await _fill(bus)

    assert await _read(bus) == list(range(20))
    deliveries = [d async for d in bus.read(MODEL, 0, until_now=True)]
    assert [e.position for d in deliveries for e in d.entries] == positions
    assert {d.log_id for d in deliveries} == {await bus.log_id(MODEL)}


async def test_from_after_every_position_inside_a_pack_too(bus: Bus) -> None:
    positions = await _fill(bus)

    for index in (0, 1, 3, 4, 6, 18, 19):
        assert await _read(bus, start=positions[index]) == list(range(index + 1, 20))


async def test_from_a_time_of_acceptance(bus: Bus) -> None:
    await _fill(bus)
    await asyncio.sleep(0.05)
    between_ms = time.time_ns() // 1_000_000
    await asyncio.sleep(0.05)
    await bus.publish(MODEL, [Record(b"k", b"100"), Record(b"k", b"101")])

    assert await _read(bus, start=between_ms) == [100, 101]
    assert await _read(bus, start=between_ms + 60_000) == []
    assert await _read(bus, start=between_ms - 60_000) == [*range(20), 100, 101]
    accepted_ms = [d.accepted_at_ms async for d in bus.read(MODEL, 0, start=between_ms, until_now=True)]
    assert min(accepted_ms) >= between_ms


async def test_an_empty_partition_ends_at_once(bus: Bus) -> None:
    await bus.ensure([MODEL], partitions=1)

    assert await _read(bus) == []
    assert await _read(bus, start="latest") == []


async def test_follows_the_tail_from_the_latest(bus: Bus) -> None:
    await _fill(bus)
    found: list[int] = []

    async def follow() -> None:
        async with contextlib.aclosing(bus.read(MODEL, 0, start="latest")) as deliveries:
            async for delivery in deliveries:
                found.extend(int(entry.payload or b"-1") for entry in delivery.entries)

    following = asyncio.create_task(follow())
    deadline_s = time.monotonic() + 60
    while not found and time.monotonic() < deadline_s:
        await bus.publish(MODEL, [Record(b"k", b"500")])
        await asyncio.sleep(0.2)
    last = len(found)
    await bus.publish(MODEL, [Record(b"k", b"501")])
    while 501 not in found and time.monotonic() < deadline_s:
        await asyncio.sleep(0.02)

    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert set(found) == {500, 501}
    assert found[-1] == 501
    assert last > 0


async def test_leaves_subscriptions_alone(events_bus: Bus, drain) -> None:
    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")
    await events_bus.publish(EVENTS, [Record(b"v%d" % i, b"%d" % i) for i in range(20)])

    for partition in range(4):
        async for _ in events_bus.read(EVENTS, partition, until_now=True):
            pass
    found: list[Delivery] = await drain(subscription, entries=20)

    await subscription.close()
    assert sum(len(delivery.entries) for delivery in found) == 20
    assert len({delivery.epoch for delivery in found if delivery.partition == 0}) <= 1
