"""Limits: a full bus says so, a missing one too, and trimming never passes what somebody still needs."""

import time

import httpx
import pytest

from ingest.bus import Bus, Position, Record, open_bus
from ingest.bus.embedded import EmbeddedBus
from ingest.bus.settings import BusSettings
from ingest.errors import BusFullError, BusUnavailableError
from ingest.topics import CATALOG, EVENTS, MODEL

MIB = 1_048_576


def _big(n: int) -> list[Record]:
    """Twenty kilobytes that do not compress."""
    import random

    return [Record(b"v", b'"%d %s"' % (n, random.Random(n).randbytes(10_000).hex().encode()))]


async def _fill(bus: Bus, topic, count: int, begin: int = 0) -> list[object]:
    return [verdict for n in range(begin, begin + count) for verdict in await bus.publish(topic, _big(n))]


async def _numbers(bus: Bus, topic, **start) -> list[int]:
    return [
        int((entry.payload or b"").strip(b'"').split()[0])
        async for delivery in bus.read(topic, 0, until_now=True, **start)
        for entry in delivery.entries
    ]


async def _embedded(url: str, **kwargs) -> EmbeddedBus:
    bus = await EmbeddedBus.connect(url, BusSettings(bytes_max=MIB), **kwargs)
    await bus.ensure([EVENTS, MODEL, CATALOG], partitions=1)
    return bus


async def test_a_full_bus_gives_a_verdict_that_says_so(broker) -> None:
    bus = await open_bus(broker.url, BusSettings(bytes_max=MIB, send_deadline_ms=3_000))
    await bus.ensure([EVENTS], partitions=1)
    subscription = await bus.subscribe(EVENTS, "archive", mode="ordered")
    if broker.adapter == "pulsar":
        await _set_quota(broker)

    verdicts: list[object] = []
    deadline_s = time.monotonic() + 60
    while not any(isinstance(v, BusFullError) for v in verdicts) and time.monotonic() < deadline_s:
        verdicts += await _fill(bus, EVENTS, 20, begin=len(verdicts))

    await subscription.close()
    await bus.close()
    assert isinstance(verdicts[0], Position)
    assert any(isinstance(verdict, BusFullError) for verdict in verdicts)


async def _set_quota(broker) -> None:
    base, admin = broker.url.split("?admin=")
    namespace = "/".join(base.split("/")[-2:])
    quota = {"limitSize": 200_000, "limitTime": -1, "policy": "producer_exception"}
    async with httpx.AsyncClient(base_url=f"{admin}/admin/v2/", timeout=30) as http:
        (await http.post(f"namespaces/{namespace}/backlogQuota", json=quota)).raise_for_status()


async def test_nobody_there_is_said_at_once(bus_url: str) -> None:
    nowhere = bus_url.replace("127.0.0.1", "127.0.0.2").replace("admin=http://127.0.0.1", "admin=http://127.0.0.2")

    begun_s = time.monotonic()
    with pytest.raises(BusUnavailableError):
        await open_bus(nowhere, BusSettings(send_deadline_ms=1_000))
    assert time.monotonic() - begun_s < 15


async def test_trims_what_is_read_and_archived_to_make_room(embedded_bus_server) -> None:
    bus = await _embedded(embedded_bus_server.url)
    archive = await bus.subscribe(EVENTS, "archive", mode="ordered")
    for n in range(200):
        [verdict] = await bus.publish(EVENTS, _big(n))
        assert isinstance(verdict, Position)
        for delivery in await archive.receive(wait_ms=0, entries_max=10):
            await archive.acknowledge(delivery)
        if n % 20 == 0:
            await archive._leases.commit()  # type: ignore[attr-defined]

    kept = await _numbers(bus, EVENTS)
    await archive.close()
    await bus.close()
    assert kept == list(range(kept[0], 200)), "the newest stay, without a gap"
    assert kept[0] > 0


async def test_trims_nothing_of_events_before_there_is_an_archive(embedded_bus_server) -> None:
    bus = await _embedded(embedded_bus_server.url)

    verdicts = await _fill(bus, EVENTS, 150)

    accepted = sum(isinstance(verdict, Position) for verdict in verdicts)
    assert isinstance(verdicts[-1], BusFullError)
    assert await _numbers(bus, EVENTS) == list(range(accepted))
    await bus.close()


async def test_never_trims_past_an_unread_entry(embedded_bus_server) -> None:
    bus = await _embedded(embedded_bus_server.url)
    archive = await bus.subscribe(EVENTS, "archive", mode="ordered")
    slow = await bus.subscribe(EVENTS, "slow", mode="ordered")
    await _fill(bus, EVENTS, 10)
    [first] = await slow.receive(wait_ms=500, entries_max=1)
    await slow.acknowledge(first)
    for subscription in (archive, slow):
        for delivery in await archive.receive(wait_ms=100, entries_max=100):
            await archive.acknowledge(delivery)
        await subscription.close()

    verdicts = await _fill(bus, EVENTS, 150, begin=10)

    assert isinstance(verdicts[-1], BusFullError)
    assert await _numbers(bus, EVENTS, start=first.last) == list(range(1, 10 + sum(_positions(verdicts))))
    await bus.close()


def _positions(verdicts: list[object]) -> list[bool]:
    return [isinstance(verdict, Position) for verdict in verdicts]


async def test_a_topic_nobody_subscribes_to_keeps_its_newest(embedded_bus_server) -> None:
    bus = await _embedded(embedded_bus_server.url)

    verdicts = await _fill(bus, MODEL, 150)

    kept = await _numbers(bus, MODEL)
    assert all(_positions(verdicts))
    assert kept == list(range(kept[0], 150))
    assert kept[0] > 0
    await bus.close()


async def test_a_table_is_whole_though_its_changes_were_trimmed(embedded_bus_server) -> None:
    bus = await _embedded(embedded_bus_server.url)
    await bus.publish(CATALOG, [Record(b"first", b"1"), Record(b"gone", b"2")])
    behind = await bus.table(CATALOG)
    assert len(await behind.changes(wait_ms=500)) == 2
    await bus.publish(CATALOG, [Record(b"gone", None)])
    await _fill(bus, MODEL, 150)

    changes = await behind.changes(wait_ms=500)
    fresh = await bus.table(CATALOG)

    assert fresh.items() == behind.items() == {b"first": b"1"}
    assert [(entry.key, entry.payload) for entry in changes] == [(b"gone", None)]
    await behind.close()
    await fresh.close()
    await bus.close()


async def test_reads_on_in_the_archive_below_what_was_trimmed(embedded_bus_server) -> None:
    plain = await _embedded(embedded_bus_server.url)
    kept_aside = []
    first = [verdict for verdict in await _fill(plain, MODEL, 20) if isinstance(verdict, Position)]
    kept_aside += [delivery async for delivery in plain.read(MODEL, 0, until_now=True)]
    await plain.close()

    async def below(topic, partition, start, end):
        for delivery in kept_aside:
            after = start if isinstance(start, Position) else Position(0, 0, 0)
            if topic.name == MODEL.name and partition == 0 and after < delivery.last < end:
                yield delivery

    bus = await _embedded(embedded_bus_server.url, below=below)
    verdicts = []
    while not await _trimmed(bus):
        verdicts += await _fill(bus, MODEL, 5, begin=20 + len(verdicts))

    count = 20 + len(verdicts)
    assert await _numbers(bus, MODEL) == list(range(count))
    assert await _numbers(bus, MODEL, start=first[2]) == list(range(3, count))
    assert await _numbers(bus, MODEL, start=first[0].major) == list(range(count))
    await bus.close()


async def _trimmed(bus: EmbeddedBus) -> bool:
    return bool(await bus._link.ask("HLEN", "bus:trimmed"))


@pytest.mark.pulsar
async def test_pulsar_keeps_what_is_unread_when_it_trims(pulsar_bus_url: str) -> None:
    bus = await open_bus(pulsar_bus_url)
    await bus.ensure([MODEL], partitions=1)
    subscription = await bus.subscribe(MODEL, "learner", mode="ordered")
    await bus.publish(MODEL, [Record(b"k", b"%d" % n) for n in range(10)])
    await _trim_all_that_may_go(pulsar_bus_url)
    unread = [e.payload async for d in bus.read(MODEL, 0, until_now=True) for e in d.entries]
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and not (found := await subscription.receive(wait_ms=500, entries_max=100)):
        pass
    await subscription.acknowledge(found[-1])
    await subscription.close()

    # Without retention, what everybody has read goes: so the trimming above was a real one.
    while time.monotonic() < deadline_s:
        await _trim_all_that_may_go(pulsar_bus_url)
        if not (left := [d async for d in bus.read(MODEL, 0, until_now=True)]):
            break

    await bus.close()
    assert unread == [b"%d" % n for n in range(10)]
    assert left == []


async def _trim_all_that_may_go(url: str) -> None:
    """Retention off, the ledger in use closed, the rest trimmed."""
    base, admin = url.split("?admin=")
    topic = f"persistent/{'/'.join(base.split('/')[-2:])}/{MODEL.name}"
    async with httpx.AsyncClient(base_url=f"{admin}/admin/v2/", timeout=30) as http:
        # Pulsar's own place for deduplication is moved every 1,000 entries only, and would keep these few.
        namespace = "/".join(base.split("/")[-2:])
        (await http.post(f"namespaces/{namespace}/deduplication", json=False)).raise_for_status()
        none = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}
        (await http.post(f"{topic}/retention", json=none)).raise_for_status()
        (await http.put(f"{topic}/unload")).raise_for_status()
        (await http.post(f"{topic}/trim")).raise_for_status()
