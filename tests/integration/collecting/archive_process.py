"""Runs the archive as a process of its own, for tests that kill it: `archive_process.py BUS ADDRESS OPTIONS FLUSH_MS`.

It compacts all the time, so that a kill is as likely to fall into a merge as into a write.
"""

import asyncio
import json
import signal
import sys

from ingest.archive import run_archive
from ingest.archive_place import open_place
from ingest.bus import open_bus
from ingest.bus.settings import BusSettings
from ingest.settings import ArchiveSettings, Settings


async def main(url: str, address: str, options: dict[str, str], flush_ms: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # A short lease, so that the next process need not wait long for what a killed one held.
    bus = await open_bus(url, BusSettings(lease_ms=500))
    archive = ArchiveSettings(
        flush_ms=flush_ms, lock_wait_ms=500, compact_every_ms=50, compact_wait_ms=300, keep_small_ms=2_000
    )
    await run_archive(bus, Settings(archive=archive), open_place(address, options), stop)
    await bus.close()


asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])))
