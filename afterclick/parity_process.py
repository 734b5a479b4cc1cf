"""Check parity once, in a process of its own: `python -m afterclick.parity_process SETTINGS.json TURN` prints a report.

A check needs polars and numba, 130 MB, for two or three seconds every few minutes; a process that ends gives them back.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import msgspec

from afterclick.settings import Settings
from feature_store.errors import FeatureStoreError
from feature_store.parity_watch import ParityReport
from ingest.errors import IngestError

_LOWER_PRIORITY = 10
_LAST_WORDS = 500


class ParityFailedError(FeatureStoreError):
    """The check did not come to an end; says what it said."""


async def check_apart(settings_file: Path, turn: int, *, within_ms: int) -> ParityReport:
    """One check, in a process of its own.

    Raises:
        ParityFailedError: it failed, or took longer than `within_ms`.
    """
    # Its counters are counted by who asks: each process would leave files of metrics behind.
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "afterclick.parity_process",
        str(settings_file),
        str(turn),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        told, failed = await asyncio.wait_for(process.communicate(), within_ms / 1000)
    except TimeoutError as error:
        raise ParityFailedError(f"parity: wanted a check within {within_ms} ms; it was ended") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ParityFailedError(f"parity: the check failed: {failed[-_LAST_WORDS:].decode(errors='replace').strip()}")
    return msgspec.json.decode(told, type=ParityReport)


async def _check(settings: Settings, turn: int) -> ParityReport:
    from feature_store.online_store import OnlineStore
    from feature_store.parity import Parity

    store = OnlineStore(settings.system.store, settings.store)
    parity = Parity(
        store,
        settings.open_archive(),
        settings.parity,
        future_ms_max=settings.worker.future_ms_max,
        now_ms=lambda: time.time_ns() // 1_000_000,
    )
    try:
        return await parity.check(turn)
    finally:
        await store.close()


def main() -> None:
    """The process."""
    os.nice(_LOWER_PRIORITY)
    settings = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Settings)
    try:
        report = asyncio.run(_check(settings, int(sys.argv[2])))
    except (FeatureStoreError, IngestError) as error:
        raise SystemExit(str(error)) from error
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
