"""Runs a feature worker as a process of its own, for tests that stop and kill it: `worker_process.py BUS STORE`."""

import asyncio
import sys

from feature_store.online_store import OnlineStore
from feature_store.settings import WorkerSettings
from feature_store.worker import run_worker
from ingest.bus import open_bus
from ingest.bus.settings import BusSettings


async def main(bus_url: str, store_url: str) -> None:
    # Small batches and short leases, so that there is much to be interrupted and nobody waits long for a dead one.
    bus = await open_bus(bus_url, BusSettings(lease_ms=1_000))
    settings = WorkerSettings(checkpoint_ms=50, batch_events_max=50, backoff_ms_max=200)
    await run_worker(bus, OnlineStore(store_url), settings, asyncio.Event())


asyncio.run(main(sys.argv[1], sys.argv[2]))
