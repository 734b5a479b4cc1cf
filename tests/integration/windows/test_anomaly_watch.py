"""The watch on a real store and bus: seeded faults are on `engagements` within a look, once."""

import time

import msgspec
import numpy as np

from feature_store import keys
from feature_store.anomaly_watch import AnomalyWatch, _season_note
from feature_store.stream_alerts import StreamAlert, decode_alert
from feature_store.stream_anomalies import HOURS_OF_WEEK, Season
from ingest.bus import Record
from ingest.events import Event, Item, decode_event
from ingest.topics import ENGAGEMENTS
from tests.integration.windows.windows_tools import WORKER, System, event_record, publish, taken_in, working

NOW_MS = time.time_ns() // 1_000_000
MINUTE_MS = 60_000


def stream(*, carts_until_ms: int, rush_on: str | None = None) -> list[Record]:
    """Forty minutes up to now: 60 views and 60 carts a minute, spread over many items."""
    records = []
    for number, back_s in enumerate(range(40 * 60, 0, -1)):
        at_ms = NOW_MS - back_s * 1000
        item = f"item-{number % 50}"
        if rush_on is not None and back_s < 58:
            records += [_event(20_000 + 2 * number + n, "view_item", rush_on, at_ms) for n in (0, 1)]
        records.append(_event(number, "view_item", item, at_ms))
        if at_ms < carts_until_ms:
            records.append(_event(10_000 + number, "add_to_cart", item, at_ms))
    return records


def _event(number: int, name: str, item: str, at_ms: int) -> Record:
    return event_record(number, visitor=number % 97, item_ids=[item], event=name, time_ms=at_ms, received_at_ms=at_ms)


async def alerts_of(system: System, records: list[Record], *, price: float = 2.5) -> list[StreamAlert]:
    """What a watch tells of this stream, and that it tells it on the bus."""
    await system.bus.ensure([ENGAGEMENTS], partitions=1)
    ordinary = Season(np.full(HOURS_OF_WEEK, 60.0), np.ones(HOURS_OF_WEEK, np.int64), 1.0)
    await system.store.send(
        [("SET", keys.season_key(kind), _season_note(ordinary)) for kind in ("view_item", "add_to_cart")]
    )
    async with working(system.bus, system.store):
        await taken_in(system.store, await publish(system.bus, records))
    await system.store.send([("DEL", keys.WATCH_LEASE)])
    watch = AnomalyWatch(system.bus, system.store, WORKER, worker="test", now_ms=lambda: NOW_MS)
    for number in range(10):
        told = decode_event(_event(30_000 + number, "view_item", "mug", NOW_MS).payload or b"")
        watch.note_prices([_priced(told, 2.5 if number < 7 else price)])
    alerts = await watch.look(NOW_MS)
    assert await watch.look(NOW_MS + 5_000) == []

    subscription = await system.bus.subscribe(ENGAGEMENTS, "shop", mode="queue")
    published: list[StreamAlert] = []
    while deliveries := await subscription.receive(wait_ms=300, entries_max=10):
        for delivery in deliveries:
            published += [decode_alert(entry.payload or b"") for entry in delivery.entries]
            await subscription.acknowledge(delivery)
    await subscription.close()
    assert sorted(a.engagement_id for a in published) == sorted(a.engagement_id for a in alerts)
    return alerts


def _priced(event: Event, price: float) -> Event:
    return msgspec.structs.replace(event, items=(Item(item_id="mug", price=price),))


async def test_an_ordinary_hour_is_silent(embedded_system: System) -> None:
    assert await alerts_of(embedded_system, stream(carts_until_ms=NOW_MS)) == []


async def test_a_kind_that_stops_a_rush_and_a_price_are_told_once(embedded_system: System) -> None:
    records = stream(carts_until_ms=NOW_MS - MINUTE_MS, rush_on="the-new-one")

    alerts = await alerts_of(embedded_system, records, price=250.0)

    told = {alert.reason: alert for alert in alerts}
    assert len(alerts) == 3
    assert (told["kind_stopped"].subject, told["kind_stopped"].got) == ("add_to_cart", 0)
    assert (told["item_surge"].subject, told["price_outlier"].subject) == ("the-new-one", "mug")
    assert "decimal point" in told["price_outlier"].says
