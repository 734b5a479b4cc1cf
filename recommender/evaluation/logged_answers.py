"""Read what was served from the topic `answers`, and what was clicked of it from the archive."""

from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl
import structlog

from ingest.archive_reader import scan_archive
from ingest.bus.contract import Bus
from ingest.topics import ANSWERS
from recommender.requests import Exploration

CLICK = "select_item"

_log = structlog.get_logger(__name__)


class LoggedAnswer(msgspec.Struct, frozen=True, gc=False):
    """What this room needs of an entry of `answers`; in wire names, other fields pass.

    `propensities`: by slot, None where chance had no say; empty where it had none anywhere.
    """

    recommendation_id: str
    visitor_key: str
    placement: str
    time_ms: int
    item_ids: tuple[str, ...]
    propensities: tuple[float | None, ...] = ()
    exploration: Exploration | None = None
    model_version: str | None = None


class AnswersRead(NamedTuple):
    """`explored`: those with slots left to chance. `total`: all. `unreadable`: entries that were no answer."""

    explored: list[LoggedAnswer]
    total: int
    unreadable: int


_decoder = msgspec.json.Decoder(LoggedAnswer)


async def read_answers(bus: Bus, *, since_ms: int = 0, placement: str | None = None) -> AnswersRead:
    """Every answer that the bus still holds, accepted from `since_ms` on, of one placement or of all."""
    explored: list[LoggedAnswer] = []
    total = unreadable = 0
    for partition in range(await bus.partitions(ANSWERS)):
        async for delivery in bus.read(ANSWERS, partition, start=since_ms or "earliest", until_now=True):
            for entry in delivery.entries:
                try:
                    answer = _decoder.decode(entry.payload or b"")
                except msgspec.DecodeError:
                    unreadable += 1
                    continue
                if placement is not None and answer.placement != placement:
                    continue
                total += 1
                if answer.exploration is not None:
                    explored.append(answer)
    if unreadable:
        _log.warning("entries of topic `answers` could not be read and are left out", count=unreadable)
    return AnswersRead(explored, total, unreadable)


def clicks_of(archive: Path) -> set[tuple[str, str]]:
    """(recommendation id, item id) of every click on a suggestion that is in the archive."""
    clicked = (
        scan_archive(archive)
        .filter((pl.col("event") == CLICK) & pl.col("recommendation_id").is_not_null())
        .select("recommendation_id", "item_id")
        .collect()
        .explode("item_id")
        .drop_nulls()
    )
    return set(clicked.iter_rows())
