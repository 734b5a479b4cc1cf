"""On a real bus: whoever reads, from wherever, sees every event once and the same ones."""

import asyncio
import random

from afterclick.valkey_server import ValkeyServer
from ingest.bus.contract import Record, partition_of
from ingest.bus.embedded import EmbeddedBus
from ingest.dedup import Deduplicated, DeduplicatedSubscription, read_deduplicated, subscribe_deduplicated
from ingest.events import Event, encode_event
from ingest.settings import DedupSettings
from ingest.topics import EVENTS

SETTINGS = DedupSettings()


def record(number: int) -> Record:
    key = bytes([number % 16]) * 16
    event = Event(f"message-{number:06d}", "page_view", key.hex(), 1_784_000_000_000, 1_784_000_000_000)
    return Record(key, encode_event(event), event.time_ms)


async def publish_with_repeats(bus: EmbeddedBus, *, packs: int, seed: int) -> int:
    """Some of every pack repeats what went before, as a sender does that held no 202. How many entries it made."""
    chance = random.Random(seed)
    number = total = 0
    for _ in range(packs):
        fresh = list(range(number, number + chance.randint(1, 5)))
        number = fresh[-1] + 1
        again = [chance.randrange(number) for _ in range(chance.randint(0, 3))]
        await bus.publish(EVENTS, [record(n) for n in (*fresh, *again)])
        total += len(fresh) + len(again)
    return total


def survivors(parts: list[Deduplicated]) -> list[tuple[int, str, str]]:
    return [
        (part.delivery.partition, str(entry.position), event.message_id)
        for part in parts
        for entry, event in zip(part.entries, part.events, strict=True)
    ]


async def undisturbed(bus: EmbeddedBus) -> list[tuple[int, str, str]]:
    return [
        found
        for partition in range(await bus.partitions(EVENTS))
        async for part in read_deduplicated(bus, EVENTS, partition, settings=SETTINGS, until_now=True)
        for found in survivors([part])
    ]


async def take(subscription: DeduplicatedSubscription, *, entries: int) -> list[Deduplicated]:
    """At least `entries` entries, repeats counted."""
    taken: list[Deduplicated] = []
    async with asyncio.timeout(60):
        while sum(len(part.delivery.entries) for part in taken) < entries:
            taken += await subscription.receive(wait_ms=100, entries_max=10)
    return taken


async def test_readers_that_take_over_see_what_one_reader_would(embedded: EmbeddedBus) -> None:
    total = await publish_with_repeats(embedded, packs=120, seed=7)
    expected = await undisturbed(embedded)
    done: list[Deduplicated] = []

    for share in (0.2, 0.3, 0.5):
        already = sum(len(part.delivery.entries) for part in done)
        entries = total - already if share == 0.5 else int(total * share)
        subscription = await subscribe_deduplicated(embedded, EVENTS, "reader", settings=SETTINGS)
        for part in await take(subscription, entries=entries):
            await subscription.acknowledge(part.delivery)
            done.append(part)
        await subscription.close()

    assert len({message_id for *_, message_id in expected}) == len(expected)
    assert sum(part.repeats for part in done) > 50
    assert sorted(survivors(done)) == sorted(expected)


async def test_what_nobody_acknowledged_comes_again_and_is_no_repeat_of_itself(embedded: EmbeddedBus) -> None:
    total = await publish_with_repeats(embedded, packs=20, seed=3)
    expected = await undisturbed(embedded)

    for _ in range(2):
        subscription = await subscribe_deduplicated(embedded, EVENTS, "reader", settings=SETTINGS)
        taken = await take(subscription, entries=total)
        await subscription.close()
        assert sorted(survivors(taken)) == sorted(expected)


async def test_a_read_from_the_middle_drops_what_a_whole_read_drops(embedded: EmbeddedBus) -> None:
    await publish_with_repeats(embedded, packs=60, seed=11)
    expected = await undisturbed(embedded)
    partition = partition_of(bytes([0]) * 16, await embedded.partitions(EVENTS))
    deliveries = [d async for d in embedded.read(EVENTS, partition, until_now=True)]
    middle = deliveries[len(deliveries) // 2].last

    late = [
        part
        async for part in read_deduplicated(
            embedded, EVENTS, partition, settings=SETTINGS, start=middle, until_now=True
        )
    ]

    assert survivors(late) == [found for found in expected if found[0] == partition and found[1] > str(middle)]
    assert sum(part.repeats for part in late) > 0


async def test_what_is_no_event_is_handed_out_apart(embedded: EmbeddedBus) -> None:
    key = bytes([1]) * 16
    await embedded.publish(EVENTS, [Record(key, b'{"not": "an event"}'), record(1), Record(key, b'"text"')])

    parts = [
        part
        for partition in range(await embedded.partitions(EVENTS))
        async for part in read_deduplicated(embedded, EVENTS, partition, settings=SETTINGS, until_now=True)
    ]

    assert [event.message_id for part in parts for event in part.events] == ["message-000001"]
    broken = [(entry.payload, reason) for part in parts for entry, reason in part.broken]
    assert [payload for payload, _ in broken] == [b'{"not": "an event"}', b'"text"']
    assert "message_id" in broken[0][1]


async def test_a_killed_bus_costs_no_event_and_brings_none_twice(embedded: EmbeddedBus, valkey: ValkeyServer) -> None:
    await publish_with_repeats(embedded, packs=60, seed=5)
    expected = await undisturbed(embedded)
    subscription = await subscribe_deduplicated(embedded, EVENTS, "reader", settings=SETTINGS)
    taken: dict[tuple[int, str], str] = {}

    for round_number in range(400):
        if round_number == 3:
            valkey.kill()
        if round_number == 5:
            valkey.start()
        try:
            parts = await subscription.receive(wait_ms=100, entries_max=20)
        except Exception as error:
            assert type(error).__name__ == "BusUnavailableError"  # noqa: PT017
            continue
        for part in parts:
            taken |= {(p, position): message_id for p, position, message_id in survivors([part])}
            await subscription.acknowledge(part.delivery)
        if len(taken) == len(expected):
            break
    await subscription.close()

    assert sorted((p, position, message_id) for (p, position), message_id in taken.items()) == sorted(expected)
