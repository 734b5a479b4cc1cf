"""Publishing: a verdict per record, order per key, positions in total order."""

import asyncio
from collections import defaultdict
from itertools import pairwise

from ingest.bus import Bus, Entry, Position, Record, open_bus, partition_of
from ingest.bus.settings import BusSettings
from ingest.topics import EVENTS, MODEL


def _records(count: int, *, keys: int = 7) -> list[Record]:
    return [Record(b"visitor-%d" % (i % keys), b'{"n":%d}' % i, event_time_ms=1_000 + i) for i in range(count)]


async def test_gives_the_position_where_each_record_lies(events_bus: Bus, read_all) -> None:
    records = _records(50)

    verdicts = await events_bus.publish(EVENTS, records)

    found = {(entry.payload, entry.position) for entry in await read_all(events_bus, EVENTS, 4)}
    assert found == {(record.payload, verdict) for record, verdict in zip(records, verdicts, strict=True)}


async def test_keeps_key_payload_and_event_time(events_bus: Bus, read_all) -> None:
    key = bytes(range(16))

    await events_bus.publish(EVENTS, [Record(key, b'{"item":"\xc3\xa9"}', event_time_ms=1_700_000_000_123)])

    [entry] = await read_all(events_bus, EVENTS, 4)
    assert (entry.key, entry.payload, entry.event_time_ms) == (key, b'{"item":"\xc3\xa9"}', 1_700_000_000_123)


async def test_keeps_order_per_key_over_packs_and_publishes(events_bus: Bus, read_all) -> None:
    records = _records(600)

    for begin in range(0, 600, 60):
        await events_bus.publish(EVENTS, records[begin : begin + 60])

    by_key: dict[bytes, list[bytes | None]] = defaultdict(list)
    for entry in await read_all(events_bus, EVENTS, 4):
        by_key[entry.key].append(entry.payload)
    for i in range(7):
        key = b"visitor-%d" % i
        assert by_key[key] == [record.payload for record in records if record.key == key]


async def test_puts_a_key_into_its_partition(events_bus: Bus) -> None:
    await events_bus.publish(EVENTS, _records(40))

    for partition in range(4):
        async for delivery in events_bus.read(EVENTS, partition, until_now=True):
            assert {partition_of(entry.key, 4) for entry in delivery.entries} == {partition}


async def test_positions_are_totally_ordered_inside_a_pack_too(events_bus: Bus) -> None:
    for _ in range(5):
        await events_bus.publish(EVENTS, _records(100))

    for partition in range(4):
        entries: list[Entry] = []
        packs = 0
        async for delivery in events_bus.read(EVENTS, partition, until_now=True):
            entries += delivery.entries
            packs += 1
        assert all(a.position < b.position for a, b in pairwise(entries))
        assert all(a.position.to_bytes() < b.position.to_bytes() for a, b in pairwise(entries))
        assert packs < len(entries), "what goes to one partition in one publish is packed"


async def test_concurrent_publishes_lose_and_repeat_nothing(events_bus: Bus, read_all) -> None:
    records = _records(1_000, keys=97)

    verdicts = await asyncio.gather(*(events_bus.publish(EVENTS, records[i : i + 5]) for i in range(0, 1_000, 5)))

    assert all(isinstance(verdict, Position) for few in verdicts for verdict in few)
    found = [entry.payload for entry in await read_all(events_bus, EVENTS, 4)]
    assert sorted(found) == sorted(record.payload for record in records)


async def test_one_unfit_record_does_not_sink_the_others(events_bus: Bus, read_all) -> None:
    records = [Record(b"a", b'{"n":1}'), Record(b"a", b"{broken"), Record(b"a", None), Record(b"a", b'{"n":2}')]

    verdicts = await events_bus.publish(EVENTS, records)

    assert [isinstance(verdict, Position) for verdict in verdicts] == [True, False, False, True]
    assert "JSON" in str(verdicts[1])
    assert [entry.payload for entry in await read_all(events_bus, EVENTS, 4)] == [b'{"n":1}', b'{"n":2}']


async def test_cuts_packs_at_their_limits(bus_url: str, read_all) -> None:
    bus = await open_bus(bus_url, BusSettings(pack_entries_max=10, pack_bytes_max=4_096))
    await bus.ensure([MODEL], partitions=1)
    small, large = Record(b"k", b'"%s"' % (b"x" * 500)), Record(b"k", b'"%s"' % (b"x" * 5_000))

    verdicts = await bus.publish(MODEL, [small] * 25 + [large])

    sizes = [len(delivery.entries) async for delivery in bus.read(MODEL, 0, until_now=True)]
    await bus.close()
    assert sum(sizes) == 25
    assert max(sizes) <= 7, "seven of 556 bytes fit into 4,096"
    assert not isinstance(verdicts[-1], Position)
    assert "4096" in str(verdicts[-1])


async def test_topics_made_twice_keep_their_log_id_and_partitions(bus: Bus, bus_url: str) -> None:
    await bus.ensure([EVENTS, MODEL], partitions=4)
    first = await bus.log_id(EVENTS), await bus.log_id(MODEL)

    other = await open_bus(bus_url)
    await other.ensure([EVENTS, MODEL], partitions=9)

    assert (await other.log_id(EVENTS), await other.log_id(MODEL)) == first
    assert await other.partitions(EVENTS) == 4
    assert await other.partitions(MODEL) == 1
    assert first[0] != first[1]
    await other.close()
