"""Clicks of this minute with everything that a feature is made of, and an archive of them."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import polars as pl

from feature_store import keys
from ingest.archive import run_archive
from ingest.archive_reader import scan_archive
from ingest.bus.contract import Record
from ingest.events import Attribution, Event, Item, encode_event
from ingest.settings import ArchiveSettings, Settings
from tests.integration.windows.windows_tools import System, eventually, visitor_of

VISITORS, ITEMS, CATEGORIES = 12, 9, 3
PLACEMENTS = ("home", keys.placement_name("cart", "order/b"))
HOUR_MS = 3_600_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def clicks(count: int, start: int, rng: random.Random) -> list[Record]:
    """Of every kind, most of them of this minute, others hours old; each visitor's last moves windows."""
    visitors = [rng.randrange(VISITORS) for _ in range(count - VISITORS)] + list(range(VISITORS))
    may_be_late = count - VISITORS
    return [_click(start + n, visitor, rng, may_be_late=n < may_be_late) for n, visitor in enumerate(visitors)]


def _click(number: int, visitor_number: int, rng: random.Random, *, may_be_late: bool) -> Record:
    name = rng.choice(("view_item",) * 4 + ("select_item", "add_to_cart", "remove_from_cart", "purchase", "search"))
    if rng.random() < 0.15:
        name = "view_item_list"
    lines = {"search": 0, "view_item_list": 5, "purchase": 2}.get(name, 1)
    visitor = visitor_of(1 + visitor_number)  # sixteen zeros stand for nobody, where an event was erased
    time_ms = now_ms() - (rng.randrange(3 * HOUR_MS) if rng.random() < 0.3 else rng.randrange(500))
    event: dict[str, Any] = {
        "message_id": f"message-{number:08d}",
        "event": name,
        "visitor_key": visitor.hex(),
        "time_ms": time_ms,
        "received_at_ms": now_ms(),
        "items": tuple(_line(rng) for _ in range(lines)),
        "late": may_be_late and rng.random() < 0.05,
    }
    if rng.random() < 0.4:
        event["attribution"] = Attribution(*rng.choice((("home", 1), ("cart", 1, "order/b"))), foreign=(0,))
    return Record(visitor, encode_event(Event(**event)), time_ms)


def _line(rng: random.Random) -> Item:
    number = rng.randrange(ITEMS)
    category = f"category-{number % CATEGORIES}" if number else None
    return Item(f"item-{number}", quantity=rng.randint(1, 3), price=2.5 * number or None, item_category=category)


async def archive_until(system: System, root: Path, count: int) -> None:
    """Archive, in many small files and merges, until `count` events are there."""
    stop = asyncio.Event()
    settings = Settings(archive=ArchiveSettings(flush_ms=50, compact_every_ms=50, compact_wait_ms=0, compact_bytes=1))
    running = asyncio.create_task(run_archive(system.bus, settings, root, stop))

    async def all_there() -> bool:
        return running.done() or scan_archive(root).select(pl.len()).collect().item() >= count

    await eventually(all_there, "the archive")
    stop.set()
    await running
