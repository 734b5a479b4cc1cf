"""Work queues: competing consumers, redelivery, delay, dead letters."""

import time

import pytest

from ingest.bus import Bus, Delivery, Position, Record, Subscription
from ingest.errors import BusError
from ingest.topics import ENGAGEMENTS, EVENTS, Topic, dead_letters

QUEUE = Topic("engagements", "queue", "visitor", False, ENGAGEMENTS.retention_ms, redeliveries_max=2)


@pytest.fixture
async def queue_bus(bus: Bus) -> Bus:
    await bus.ensure([QUEUE], partitions=4)
    return bus


async def _next(subscription: Subscription) -> Delivery:
    for _ in range(120):
        found = await subscription.receive(wait_ms=500, entries_max=1)
        if found:
            return found[0]
    raise AssertionError("nothing came within a minute")


async def _dead(bus: Bus, name: str) -> list[bytes | None]:
    topic = dead_letters(QUEUE, name)
    return [e.payload async for delivery in bus.read(topic, 0, until_now=True) for e in delivery.entries]


async def test_each_entry_goes_to_one_consumer(queue_bus: Bus) -> None:
    one = await queue_bus.subscribe(QUEUE, "mailer", mode="queue", consumer="one")
    two = await queue_bus.subscribe(QUEUE, "mailer", mode="queue", consumer="two")
    await queue_bus.publish(QUEUE, [Record(b"v%d" % i, b'{"n":%d}' % i) for i in range(40)])
    found: list[bytes | None] = []
    deadline_s = time.monotonic() + 60
    while len(found) < 40 and time.monotonic() < deadline_s:
        for subscription in (one, two):
            for delivery in await subscription.receive(wait_ms=200, entries_max=3):
                assert len(delivery.entries) == 1
                found.append(delivery.entries[0].payload)
                await subscription.acknowledge(delivery)

    assert sorted(payload or b"" for payload in found) == sorted(b'{"n":%d}' % i for i in range(40))
    assert await one.receive(wait_ms=300, entries_max=10) == []
    await one.close()
    await two.close()


async def test_delivers_again_after_a_nack(queue_bus: Bus) -> None:
    subscription = await queue_bus.subscribe(QUEUE, "mailer", mode="queue")
    await queue_bus.publish(QUEUE, [Record(b"v", b'{"n":1}')])
    first = await _next(subscription)

    await subscription.nack(first)
    second = await _next(subscription)
    await subscription.acknowledge(second)

    assert (first.redelivery_count, second.redelivery_count) == (0, 1)
    assert second.entries[0].payload == b'{"n":1}'
    assert await subscription.receive(wait_ms=500, entries_max=1) == []
    await subscription.close()


async def test_a_nack_with_a_delay_comes_no_sooner(queue_bus: Bus) -> None:
    subscription = await queue_bus.subscribe(QUEUE, "mailer", mode="queue")
    await queue_bus.publish(QUEUE, [Record(b"v", b'{"n":1}')])
    first = await _next(subscription)

    begun_s = time.monotonic()
    await subscription.nack(first, delay_ms=1_200)
    second = await _next(subscription)

    assert time.monotonic() - begun_s >= 1.1
    assert second.redelivery_count == 1
    await subscription.acknowledge(second)
    await subscription.close()


async def test_a_publish_with_a_delay_comes_no_sooner_and_not_behind_others(queue_bus: Bus) -> None:
    subscription = await queue_bus.subscribe(QUEUE, "mailer", mode="queue")
    begun_s = time.monotonic()
    [delayed] = await queue_bus.publish(QUEUE, [Record(b"v", b'"later"')], delay_ms=1_500)
    await queue_bus.publish(QUEUE, [Record(b"v", b'"now"')])

    first = await _next(subscription)
    second = await _next(subscription)

    assert isinstance(delayed, Position)
    assert [first.entries[0].payload, second.entries[0].payload] == [b'"now"', b'"later"']
    assert time.monotonic() - begun_s >= 1.4
    assert second.redelivery_count == 0
    await subscription.close()


@pytest.mark.parametrize("delay_ms", [0, 50])
async def test_gives_up_after_the_limit_and_keeps_the_dead_letter(queue_bus: Bus, delay_ms: int) -> None:
    subscription = await queue_bus.subscribe(QUEUE, "mailer", mode="queue")
    await queue_bus.publish(QUEUE, [Record(b"visitor \xff", b'{"n":1}', event_time_ms=5)])
    counts = []
    for _ in range(3):
        delivery = await _next(subscription)
        counts.append(delivery.redelivery_count)
        await subscription.nack(delivery, delay_ms=delay_ms)

    assert await subscription.receive(wait_ms=1_000, entries_max=1) == []
    assert counts == [0, 1, 2]
    assert await _dead(queue_bus, "mailer") == [b'{"n":1}']
    [letter] = [d async for d in queue_bus.read(dead_letters(QUEUE, "mailer"), 0, until_now=True)]
    assert (letter.entries[0].key, letter.entries[0].event_time_ms) == (b"visitor \xff", 5)
    await subscription.close()


async def test_what_a_closed_consumer_left_goes_to_the_other(queue_bus: Bus) -> None:
    one = await queue_bus.subscribe(QUEUE, "mailer", mode="queue", consumer="one")
    await queue_bus.publish(QUEUE, [Record(b"v", b'{"n":1}')])
    await _next(one)

    await one.close()
    two = await queue_bus.subscribe(QUEUE, "mailer", mode="queue", consumer="two")

    assert (await _next(two)).entries[0].payload == b'{"n":1}'
    await two.close()


async def test_a_consumer_that_works_for_long_keeps_its_entry(queue_bus: Bus) -> None:
    one = await queue_bus.subscribe(QUEUE, "mailer", mode="queue", consumer="one")
    await queue_bus.publish(QUEUE, [Record(b"v", b'{"n":1}')])
    working_on = await _next(one)
    two = await queue_bus.subscribe(QUEUE, "mailer", mode="queue", consumer="two")

    # Longer than a lease of the embedded bus.
    assert await two.receive(wait_ms=2_500, entries_max=1) == []
    await one.acknowledge(working_on)
    await one.close()
    await two.close()


async def test_only_queues_delay(queue_bus: Bus) -> None:
    await queue_bus.ensure([EVENTS], partitions=1)

    [verdict] = await queue_bus.publish(EVENTS, [Record(b"v", b"1")], delay_ms=5)

    assert isinstance(verdict, BusError)
    assert "queue" in str(verdict)
