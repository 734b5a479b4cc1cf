"""Ordered subscriptions: shared partitions, acknowledgement, what a reader can rely on."""

import asyncio
from collections import defaultdict
from itertools import pairwise

import pytest

from ingest.bus import Bus, Delivery, Record
from ingest.errors import BusError
from ingest.topics import EVENTS


def _records(begin: int, end: int) -> list[Record]:
    return [Record(b"visitor-%d" % (i % 29), b'{"n":%d}' % i) for i in range(begin, end)]


def _payloads(deliveries: list[Delivery]) -> list[bytes | None]:
    return sorted(entry.payload or b"" for delivery in deliveries for entry in delivery.entries)


async def test_a_new_subscription_begins_at_the_earliest_entry(events_bus: Bus, drain) -> None:
    await events_bus.publish(EVENTS, _records(0, 100))

    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")
    found = await drain(subscription, entries=100)

    await subscription.close()
    assert _payloads(found) == sorted(record.payload for record in _records(0, 100))
    assert {delivery.log_id for delivery in found} == {await events_bus.log_id(EVENTS)}


async def test_two_subscriptions_each_get_everything(events_bus: Bus, drain) -> None:
    await events_bus.publish(EVENTS, _records(0, 50))

    one = await events_bus.subscribe(EVENTS, "one", mode="ordered")
    two = await events_bus.subscribe(EVENTS, "two", mode="ordered")

    assert _payloads(await drain(one, entries=50)) == _payloads(await drain(two, entries=50))
    await one.close()
    await two.close()


async def test_what_was_acknowledged_does_not_come_again_and_the_rest_does(events_bus: Bus, drain) -> None:
    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")
    await events_bus.publish(EVENTS, _records(0, 60))
    await drain(subscription, entries=60)
    await events_bus.publish(EVENTS, _records(60, 100))
    await drain(subscription, entries=40, ack=False)
    await subscription.close()

    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")
    again = await drain(subscription, entries=40)
    more = await subscription.receive(wait_ms=500, entries_max=10)

    await subscription.close()
    assert _payloads(again) == sorted(record.payload for record in _records(60, 100))
    assert more == []


async def test_two_consumers_share_the_partitions(events_bus: Bus) -> None:
    one = await events_bus.subscribe(EVENTS, "features", mode="ordered", consumer="one")
    two = await events_bus.subscribe(EVENTS, "features", mode="ordered", consumer="two")
    seen: dict[str, set[int]] = {}
    # A hand-over may still be under way: publish until a round has come to both halves.
    for round_number in range(60):
        await events_bus.publish(EVENTS, _records(round_number * 29, (round_number + 1) * 29))
        seen = {"one": set(), "two": set()}
        # What comes of one publish need not all be at hand at the first look.
        for _ in range(3):
            batches = await asyncio.gather(
                one.receive(wait_ms=250, entries_max=1_000), two.receive(wait_ms=250, entries_max=1_000)
            )
            for name, subscription, batch in zip(("one", "two"), (one, two), batches, strict=True):
                seen[name] |= {delivery.partition for delivery in batch}
                for delivery in batch:
                    await subscription.acknowledge(delivery)
        if len(seen["one"]) == len(seen["two"]) == 2:
            break

    await one.close()
    await two.close()
    assert len(seen["one"]) == len(seen["two"]) == 2
    assert seen["one"] | seen["two"] == {0, 1, 2, 3}


async def test_what_a_closed_consumer_held_goes_to_the_other(events_bus: Bus, drain) -> None:
    one = await events_bus.subscribe(EVENTS, "features", mode="ordered", consumer="one")
    two = await events_bus.subscribe(EVENTS, "features", mode="ordered", consumer="two")

    await one.close()
    await events_bus.publish(EVENTS, _records(0, 29))
    found = await drain(two, entries=29)

    await two.close()
    assert {delivery.partition for delivery in found} == {0, 1, 2, 3}


async def test_delivers_a_partition_in_order_and_in_one_epoch(events_bus: Bus, drain) -> None:
    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")
    for i in range(0, 300, 30):
        await events_bus.publish(EVENTS, _records(i, i + 30))

    found = await drain(subscription, entries=300)

    await subscription.close()
    by_partition: dict[int, list[Delivery]] = defaultdict(list)
    for delivery in found:
        by_partition[delivery.partition].append(delivery)
    for deliveries in by_partition.values():
        positions = [entry.position for delivery in deliveries for entry in delivery.entries]
        assert all(a < b for a, b in pairwise(positions))
        assert len({delivery.epoch for delivery in deliveries}) == 1


async def test_returns_empty_when_nothing_comes(events_bus: Bus) -> None:
    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")

    assert await subscription.receive(wait_ms=0, entries_max=10) == []
    assert await subscription.receive(wait_ms=50, entries_max=10) == []
    await subscription.close()


async def test_has_no_nack(events_bus: Bus, drain) -> None:
    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")
    await events_bus.publish(EVENTS, _records(0, 1))
    [delivery] = await drain(subscription, entries=1)

    with pytest.raises(BusError, match="queue"):
        await subscription.nack(delivery)
    await subscription.close()


async def test_a_forgotten_subscription_begins_again(events_bus: Bus, drain) -> None:
    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")
    await events_bus.publish(EVENTS, _records(0, 20))
    await drain(subscription, entries=20)
    await subscription.close()

    await events_bus.unsubscribe(EVENTS, "features")
    subscription = await events_bus.subscribe(EVENTS, "features", mode="ordered")

    assert len(_payloads(await drain(subscription, entries=20))) == 20
    await subscription.close()
