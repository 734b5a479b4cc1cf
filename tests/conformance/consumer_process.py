"""A consumer of `events` to be killed or stopped: one JSON line per entry received, acknowledged a while later."""

import asyncio
import json
import sys

from ingest.bus import Delivery, Subscription, open_bus
from ingest.bus.settings import BusSettings
from ingest.errors import BusUnavailableError
from ingest.topics import EVENTS


async def consume(url: str, name: str, hold_ms: int) -> None:
    bus = await open_bus(url, BusSettings(send_deadline_ms=3_000, lease_ms=1_500))
    subscription = await bus.subscribe(EVENTS, name, mode="ordered", consumer="process")
    holding: set[asyncio.Task[None]] = set()
    while True:
        try:
            deliveries = await subscription.receive(wait_ms=500, entries_max=100)
        except BusUnavailableError:
            continue
        for delivery in deliveries:
            for entry in delivery.entries:
                line = {
                    "partition": delivery.partition,
                    "epoch": delivery.epoch,
                    "position": str(entry.position),
                    "payload": (entry.payload or b"").decode(),
                }
                print(json.dumps(line), flush=True)
        # It goes on receiving meanwhile.
        held = asyncio.create_task(acknowledge_later(subscription, deliveries, hold_ms))
        holding.add(held)
        held.add_done_callback(holding.discard)


async def acknowledge_later(subscription: Subscription, deliveries: list[Delivery], hold_ms: int) -> None:
    await asyncio.sleep(hold_ms / 1000)
    for delivery in deliveries:
        await subscription.acknowledge(delivery)


asyncio.run(consume(sys.argv[1], sys.argv[2], int(sys.argv[3])))
