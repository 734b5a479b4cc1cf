"""Runs the archive as a process of its own, for tests that kill it: `archive_process.py BUS_URL FOLDER FLUSH_MS`."""

import asyncio
import signal
import sys
from pathlib import Path

from ingest.archive import run_archive
from ingest.bus import open_bus
from ingest.bus.settings import BusSettings
from ingest.settings import ArchiveSettings, Settings


async def main(url: str, root: Path, flush_ms: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # A short lease, so that the next process need not wait long for what a killed one held.
    bus = await open_bus(url, BusSettings(lease_ms=500))
    await run_archive(bus, Settings(archive=ArchiveSettings(flush_ms=flush_ms, lock_wait_ms=500)), root, stop)
    await bus.close()


asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
