"""One learner in a process of its own, to be killed: `learner_life.py BUS MODEL_DIR ARCHIVE_DIR SETTINGS_JSON`."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from ingest.bus.open import open_bus
from recommender.learner import run_learner
from recommender.settings import LearnerSettings


async def _live(bus_url: str, model_dir: Path, archive_dir: Path, settings: LearnerSettings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    bus = await open_bus(bus_url)
    try:
        await run_learner(bus, settings, stop, model_dir=model_dir, archive_dir=archive_dir)
    finally:
        await bus.close()


if __name__ == "__main__":
    settings = msgspec.json.decode(sys.argv[4], type=LearnerSettings)
    asyncio.run(_live(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), settings))
