"""Have samples checked against the archive again and again, and count what was found (`parity` does the checking)."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from prometheus_client import Counter, Histogram

from feature_store.errors import FeatureStoreError
from feature_store.settings import ParitySettings
from ingest.errors import IngestError

CHECKED = Counter("afterclick_feature_store_parity_checked_total", "Records held against the archive", ["entity"])
MISMATCHES = Counter(
    "afterclick_feature_store_parity_mismatches_total", "Records whose values differ from the archive's", ["entity"]
)
_SKIPPED = Counter("afterclick_feature_store_parity_skipped_total", "Records of a sample left unchecked", ["reason"])
_FAILED = Counter("afterclick_feature_store_parity_failed_total", "Checks that a dependency did not allow")
_SECONDS = Histogram(
    "afterclick_feature_store_parity_seconds", "One check of a sample", buckets=(0.1, 0.3, 1, 3, 10, 30, 100)
)
_ENTITIES = ("visitor", "item")

_log = structlog.get_logger("feature_store")


class Differing(msgspec.Struct, frozen=True):
    """A record whose values are others online than from the archive; `key` of a visitor is their keyed hash."""

    entity: str
    key: str
    features: list[str]


class ParityReport(msgspec.Struct, frozen=True):
    """One check: records compared, by entity; which differ; and how many were left out, by reason."""

    checked: dict[str, int] = {}
    differing: list[Differing] = []
    skipped: dict[str, int] = {}


async def watch_parity(
    check: Callable[[int], Awaitable[ParityReport]], settings: ParitySettings, stop: asyncio.Event
) -> None:
    """Run `check(turn)` every `every_ms` until `stop`; the turns count up, so that each partition has its turn.

    A check that fails because store or archive do not answer is counted, and the next one comes in its time.
    """
    if settings.visitors == settings.items == 0:
        await stop.wait()
        return
    # There from the beginning, so that an alert on them has something to look at.
    for entity in _ENTITIES:
        CHECKED.labels(entity)
        MISMATCHES.labels(entity)
    turn = random.randrange(1 << 16)
    while not await _stopped(stop, settings.every_ms):
        started_s = time.monotonic()
        try:
            _count(await check(turn))
        except (FeatureStoreError, IngestError) as error:
            _FAILED.inc()
            _log.warning("parity was not checked", reason=str(error))
        _SECONDS.observe(time.monotonic() - started_s)
        turn += 1


def _count(report: ParityReport) -> None:
    for entity, count in report.checked.items():
        CHECKED.labels(entity).inc(count)
    for reason, count in report.skipped.items():
        _SKIPPED.labels(reason).inc(count)
    for differing in report.differing:
        MISMATCHES.labels(differing.entity).inc()
        _log.error("online and archived values differ", **msgspec.structs.asdict(differing))


async def _stopped(stop: asyncio.Event, wait_ms: int) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), wait_ms / 1000)
    except TimeoutError:
        return False
    return True
