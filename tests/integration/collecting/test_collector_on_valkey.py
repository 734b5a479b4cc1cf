"""The collector says accepted only of what the bus holds, and says so when the bus holds nothing."""

import asyncio
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterclick.valkey_server import ValkeyServer, free_port
from ingest.bus.contract import Bus
from ingest.bus.embedded import EmbeddedBus
from ingest.bus.settings import BusSettings
from ingest.collector import Collector
from ingest.dedup import read_deduplicated
from ingest.events import Event, RejectedEvent
from ingest.identity import visitor_key
from ingest.settings import CollectorSettings, DedupSettings
from ingest.topics import EVENTS, EVENTS_REJECTED
from ingest.verdicts import CollectorReply

SECRET = b"k" * 32


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def click(number: int, **changes: Any) -> dict[str, Any]:
    event = {
        "message_id": f"click-{number:08d}",
        "event": "view_item",
        "anonymous_id": f"browser-{number % 17}",
        "items": [{"item_id": f"item-{number % 5}"}],
    }
    return event | changes


def make_collector(bus: Bus, **limits: Any) -> Collector:
    return Collector(bus, CollectorSettings(**limits), SECRET, now_ms)


async def post(collector: Collector, *events: dict[str, Any]) -> CollectorReply:
    body = msgspec.json.encode({"events": events})
    return await collector.accept(body, content_type="application/json", received_at_ms=now_ms())


async def all_events(bus: Bus) -> list[Event]:
    found: list[Event] = []
    for partition in range(await bus.partitions(EVENTS)):
        async for part in read_deduplicated(bus, EVENTS, partition, settings=DedupSettings(), until_now=True):
            found += part.events
    return found


async def all_rejections(bus: Bus) -> list[RejectedEvent]:
    return [
        msgspec.json.decode(entry.payload or b"", type=RejectedEvent)
        async for delivery in bus.read(EVENTS_REJECTED, 0, until_now=True)
        for entry in delivery.entries
    ]


async def test_one_bad_event_does_not_sink_the_others(embedded: EmbeddedBus) -> None:
    bad = click(2, event="viewed_item", anonymous_id="secret-browser")

    reply = await post(make_collector(embedded), click(1), bad, click(3))

    assert reply.status == 202
    assert [verdict.status for verdict in reply.body.verdicts] == ["accepted", "rejected", "accepted"]
    assert {event.message_id for event in await all_events(embedded)} == {"click-00000001", "click-00000003"}
    (rejection,) = await all_rejections(embedded)
    assert (rejection.code, rejection.stage, rejection.event["message_id"]) == (
        "unknown_event",
        "collector",
        "click-00000002",
    )
    assert rejection.event["visitor_key"] == visitor_key("secret-browser", secret=SECRET).hex()
    assert "secret-browser" not in str(msgspec.to_builtins(rejection))


async def test_a_request_of_bad_events_alone_is_a_422_problem(embedded: EmbeddedBus) -> None:
    reply = await post(make_collector(embedded), click(1, items=[]))

    problem = msgspec.json.decode(reply.json())
    assert (reply.status, reply.content_type) == (422, "application/problem+json")
    assert problem["got"] == "none"
    assert problem["verdicts"][0]["code"] == "missing_item"
    assert len(await all_rejections(embedded)) == 1


async def test_an_event_lies_under_its_visitors_key(embedded: EmbeddedBus) -> None:
    await post(make_collector(embedded), click(5))

    keys = [
        entry.key
        for partition in range(await embedded.partitions(EVENTS))
        async for delivery in embedded.read(EVENTS, partition, until_now=True)
        for entry in delivery.entries
    ]
    assert keys == [visitor_key("browser-5", secret=SECRET)]


async def test_without_consent_nothing_is_kept_and_the_verdict_says_so(embedded: EmbeddedBus) -> None:
    reply = await post(make_collector(embedded), click(1, consent="none"))

    assert (reply.status, reply.body.verdicts[0].code) == (202, "not_kept")
    assert await all_events(embedded) == []


async def test_concurrent_requests_share_publishes(embedded: EmbeddedBus) -> None:
    collector = make_collector(embedded)

    replies = await asyncio.gather(*(post(collector, click(number)) for number in range(400)))

    assert {reply.status for reply in replies} == {202}
    messages = [
        delivery
        for partition in range(await embedded.partitions(EVENTS))
        async for delivery in embedded.read(EVENTS, partition, until_now=True)
    ]
    assert sum(len(message.entries) for message in messages) == 400
    assert len(messages) < 100


async def test_a_visitors_clicks_keep_their_order_over_requests(embedded: EmbeddedBus) -> None:
    collector = make_collector(embedded, publish_records_max=7)

    await asyncio.gather(*(post(collector, click(n, anonymous_id="one")) for n in range(100)))

    assert [event.message_id for event in await all_events(embedded)] == [f"click-{n:08d}" for n in range(100)]


async def test_a_killed_bus_is_a_503_and_nothing_said_accepted_is_lost(
    embedded: EmbeddedBus, valkey: ValkeyServer
) -> None:
    collector = make_collector(embedded)
    accepted: set[str] = set()
    refusals: list[CollectorReply] = []

    async def send(number: int) -> None:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            reply = await post(collector, click(number))
            if reply.status == 202:
                accepted.add(f"click-{number:08d}")
                return
            refusals.append(reply)
            await asyncio.sleep(0.1)

    for number in range(30):
        await send(number)
    sending = asyncio.gather(*(send(number) for number in range(30, 90)))
    valkey.kill()
    refused = await post(collector, click(999))
    valkey.start()
    await sending

    assert (refused.status, refused.retry_after_s) == (503, 5)
    assert all((reply.status, reply.retry_after_s) == (503, 5) for reply in refusals)
    assert accepted == {f"click-{number:08d}" for number in range(90)}
    found = [event.message_id for event in await all_events(embedded)]
    assert sorted(set(found)) == sorted(found), "an event is there twice after deduplication"
    assert accepted <= set(found)


async def test_a_bus_that_hangs_costs_a_request_no_more_than_its_limit(
    embedded: EmbeddedBus, valkey: ValkeyServer
) -> None:
    collector = make_collector(embedded, accept_ms_max=300, pending_records_max=20)
    await post(collector, click(0))
    pid = valkey.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        begun_s = time.monotonic()
        replies = await asyncio.gather(*(post(collector, click(number)) for number in range(1, 61)))
        took_s = time.monotonic() - begun_s
    finally:
        os.kill(pid, signal.SIGCONT)

    codes = {msgspec.json.decode(reply.json())["type"] for reply in replies}
    assert {reply.status for reply in replies} == {503}
    assert codes == {"/problems/bus_unavailable", "/problems/overloaded"}
    assert took_s < 3
    await collector.close()
    assert (await post(collector, click(99))).status == 202


async def test_a_full_bus_is_a_503_that_says_so(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path / "small", free_port(), "always")
    server.start()
    bus = await EmbeddedBus.connect(server.url, BusSettings(bytes_max=4_000_000))
    try:
        await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=2)
        # What the archive has not read may not be trimmed.
        subscription = await bus.subscribe(EVENTS, "archive", mode="ordered")
        collector = make_collector(bus)
        reply = await post(collector, click(0))
        for number in range(200):
            if reply.status != 202:
                break
            # Random text, since packs are compressed.
            salted = [click(number * 500 + n, cart_id=secrets.token_hex(60)) for n in range(500)]
            reply = await post(collector, *salted)
        await subscription.close()
    finally:
        await bus.close()
        server.kill()

    assert (reply.status, msgspec.json.decode(reply.json())["type"]) == (503, "/problems/bus_full")


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/x-ndjson"])
async def test_a_beacon_is_as_good_as_a_post(embedded: EmbeddedBus, content_type: str) -> None:
    collector = make_collector(embedded)

    reply = await collector.accept(
        msgspec.json.encode(click(1)), content_type=content_type, received_at_ms=now_ms(), privileged=False
    )

    assert reply.status == 202
    assert len(await all_events(embedded)) == 1
