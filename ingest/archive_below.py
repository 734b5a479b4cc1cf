"""Let the embedded bus read on in the archive, below what it has trimmed."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ingest.archive_place import ArchivePlace
from ingest.bus.contract import Below, Delivery, Position, Start
from ingest.topics import EVENTS, Topic


def archived_below(root: Path | ArchivePlace | Callable[[], ArchivePlace]) -> Below:
    """`below(topic, partition, start, end)`: what the archive in `root` holds from `start` to before `end`.

    Topics without an archive give nothing. A function as `root` is called when something is first read.
    """

    async def below(topic: Topic, partition: int, start: Start, end: Position, /) -> AsyncIterator[Delivery]:
        if topic.name != EVENTS.name:
            return
        # Here, since polars takes 25 MB and most readers of the bus never come this far back.
        from ingest.archive_reader import read_archived

        place = root() if callable(root) else root
        async for delivery in read_archived(place, partition, start=start, end=end):
            yield delivery

    return below
