"""The broker is killed amid publishing and comes back: one crash per adapter, looked at from many sides."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from ingest.bus import Bus, Entry, Position, Record, open_bus
from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusUnavailableError
from ingest.topics import CATALOG, EVENTS

SEND_DEADLINE_MS = 2_000
BACK_WITHIN_S = 90.0


@dataclass
class Crash:
    """What was seen before, during and after."""

    acknowledged: list[bytes] = field(default_factory=list)
    verdicts_while_down: list[object] = field(default_factory=list)
    publish_while_down_s: float = 0.0
    alive_while_down: bool = True
    alive_after: bool = False
    accepted_again_after_s: float = -1.0
    log_ids: list[int] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    by_partition: dict[int, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    delivered: list[Entry] = field(default_factory=list)
    table: dict[bytes, bytes] = field(default_factory=dict)
    table_followed: dict[bytes, bytes] = field(default_factory=dict)


async def _publish_until_refused(bus: Bus, crash: Crash, kill: asyncio.Event) -> None:
    for i in range(100_000):
        records = [Record(b"visitor-%d" % ((i + k) % 31), b'{"n":%d}' % (10 * i + k)) for k in range(10)]
        verdicts = await bus.publish(EVENTS, records)
        for record, verdict in zip(records, verdicts, strict=True):
            if isinstance(verdict, Position) and record.payload is not None:
                crash.acknowledged.append(record.payload)
        if len(crash.acknowledged) >= 1_000:
            kill.set()
        if not isinstance(verdicts[0], Position):
            return


async def _crash_amid(broker, bus: Bus, crash: Crash) -> None:
    """Kill the broker while two tasks publish, and try to publish to the dead one."""
    kill = asyncio.Event()
    publishing = [asyncio.create_task(_publish_until_refused(bus, crash, kill)) for _ in range(2)]
    await kill.wait()
    await asyncio.to_thread(broker.kill)
    await asyncio.gather(*publishing)
    begun_s = time.monotonic()
    crash.verdicts_while_down = list(await bus.publish(EVENTS, [Record(b"v", b'"lost"')] * 3))
    crash.publish_while_down_s = time.monotonic() - begun_s
    crash.alive_while_down = await bus.alive()


async def _come_back(broker, bus: Bus, crash: Crash) -> None:
    await asyncio.to_thread(broker.restart)
    begun_s = time.monotonic()
    while crash.accepted_again_after_s < 0 and time.monotonic() - begun_s < BACK_WITHIN_S:
        [verdict] = await bus.publish(EVENTS, [Record(b"after", b'"after"')])
        if isinstance(verdict, Position):
            crash.accepted_again_after_s = time.monotonic() - begun_s
    crash.acknowledged.append(b'"after"')
    crash.alive_after = await bus.alive()


async def _drain(subscription, crash: Crash) -> None:
    """Receive until everything that was acknowledged to the publisher has come."""
    deadline_s = time.monotonic() + BACK_WITHIN_S
    missing = set(crash.acknowledged)
    while missing and time.monotonic() < deadline_s:
        try:
            deliveries = await subscription.receive(wait_ms=500, entries_max=1_000)
        except BusUnavailableError:
            continue
        for delivery in deliveries:
            crash.delivered.extend(delivery.entries)
            missing -= {entry.payload for entry in delivery.entries}
            await subscription.acknowledge(delivery)


@pytest.fixture
async def crash(broker) -> Crash:
    crash = Crash()
    bus = await open_bus(broker.url, BusSettings(send_deadline_ms=SEND_DEADLINE_MS, lease_ms=1_500))
    await bus.ensure([EVENTS, CATALOG], partitions=4)
    crash.log_ids.append(await bus.log_id(EVENTS))
    subscription = await bus.subscribe(EVENTS, "features", mode="ordered")
    followed = await bus.table(CATALOG)
    await bus.publish(CATALOG, [Record(b"a", b"1"), Record(b"b", b"2"), Record(b"a", None), Record(b"c", b"3")])
    await _crash_amid(broker, bus, crash)
    await _come_back(broker, bus, crash)
    await _drain(subscription, crash)
    await subscription.close()
    await bus.publish(CATALOG, [Record(b"b", None), Record(b"d", b"4")])
    await _follow(followed, crash)
    await bus.close()
    await _look(broker.url, crash)
    return crash


async def _follow(table, crash: Crash) -> None:
    deadline_s = time.monotonic() + BACK_WITHIN_S
    while b"d" not in table.items() and time.monotonic() < deadline_s:
        try:
            await table.changes(wait_ms=500)
        except BusError:
            continue
    crash.table_followed = table.items()
    await table.close()


async def _look(url: str, crash: Crash) -> None:
    """Read everything with fresh eyes."""
    bus = await open_bus(url)
    crash.log_ids.append(await bus.log_id(EVENTS))
    for partition in range(4):
        async for delivery in bus.read(EVENTS, partition, until_now=True):
            crash.entries.extend(delivery.entries)
            crash.by_partition[partition].extend(delivery.entries)
    table = await bus.table(CATALOG)
    crash.table = table.items()
    await table.close()
    await bus.close()


async def test_survives_a_killed_broker(crash: Crash) -> None:
    # One crash costs half a minute with Pulsar, hence one test that looks at all of it.
    assert len(crash.acknowledged) > 1_000
    stored = {entry.payload for entry in crash.entries}
    assert set(crash.acknowledged) <= stored, "an acknowledged publish survives"
    assert set(crash.acknowledged) <= {entry.payload for entry in crash.delivered}, "the subscription goes on"
    for entries in crash.by_partition.values():
        assert all(a.position < b.position for a, b in pairwise(entries))

    assert all(isinstance(verdict, BusUnavailableError) for verdict in crash.verdicts_while_down)
    assert crash.publish_while_down_s < SEND_DEADLINE_MS / 1000 + 2.0, "a verdict within the deadline, no hang"
    assert not crash.alive_while_down
    assert crash.alive_after
    assert 0 <= crash.accepted_again_after_s < BACK_WITHIN_S

    assert crash.log_ids[0] == crash.log_ids[1]
    assert crash.table == {b"c": b"3", b"d": b"4"}
    assert crash.table_followed == crash.table
