"""What both adapters do to a publish before the broker sees it: refuse what fits nowhere, group, pack, count."""

import time
from collections.abc import Sequence

import msgspec

from ingest.bus.contract import Position, Published, Record, partition_of
from ingest.bus.metrics import FULL, PUBLISH_SECONDS, PUBLISHED, UNAVAILABLE, UNFIT
from ingest.bus.packs import PackCodec, UnfitRecordError, fitness, split_into_packs
from ingest.bus.settings import BusSettings
from ingest.errors import BusError, BusFullError, BusUnavailableError


class PackToSend(msgspec.Struct, frozen=True):
    """One pack, the partition it goes to, and which of the publish's records it holds, in order."""

    partition: int
    message: bytes
    places: list[int]


class Verdicts:
    """One verdict per record, filled in as they come, counted at the end."""

    def __init__(self, adapter: str, count: int) -> None:
        self._adapter = adapter
        self._begun_s = time.monotonic()
        self._verdicts: list[Published | None] = [None] * count

    def give(self, place: int, verdict: Published) -> None:
        """The verdict on the record at `place`."""
        self._verdicts[place] = verdict

    def give_pack(self, pack: PackToSend, first: Position) -> None:
        """A pack is durable; `first` is the position of its first entry."""
        for offset, place in enumerate(pack.places):
            self._verdicts[place] = Position(first.major, first.minor, first.index + offset)

    def refuse(self, places: Sequence[int], error: BusError) -> None:
        """The same error for several records."""
        for place in places:
            self._verdicts[place] = error

    def all(self) -> list[Published]:
        """Every verdict, in order. A record without one is a mistake of the adapter and is refused."""
        unknown = BusError("the broker gave no verdict on this record; send it again")
        verdicts = [unknown if verdict is None else verdict for verdict in self._verdicts]
        self._count(verdicts)
        return verdicts

    def _count(self, verdicts: list[Published]) -> None:
        PUBLISH_SECONDS.labels(self._adapter).observe(time.monotonic() - self._begun_s)
        durable = 0
        for verdict in verdicts:
            if isinstance(verdict, Position):
                durable += 1
            elif isinstance(verdict, BusFullError):
                FULL.labels(self._adapter).inc()
            elif isinstance(verdict, BusUnavailableError):
                UNAVAILABLE.labels(self._adapter).inc()
            elif isinstance(verdict, UnfitRecordError):
                UNFIT.labels(self._adapter).inc()
        PUBLISHED.labels(self._adapter).inc(durable)


def fit_places(
    records: Sequence[Record], verdicts: Verdicts, settings: BusSettings, *, deletions: bool = False
) -> list[int]:
    """Places of the records that can be sent; the others get their verdict. `deletions`: a payload of None may pass."""
    places = []
    for place, record in enumerate(records):
        if deletions and record.payload is None:
            places.append(place)
        elif unfit := fitness(record, bytes_max=settings.pack_bytes_max):
            verdicts.give(place, unfit)
        else:
            places.append(place)
    return places


def packs_of(
    records: Sequence[Record], places: Sequence[int], *, partitions: int, codec: PackCodec, settings: BusSettings
) -> list[PackToSend]:
    """One pack per partition, more where the limits cut; records of one key stay in order."""
    by_partition: dict[int, list[int]] = {}
    for place in places:
        by_partition.setdefault(partition_of(records[place].key, partitions), []).append(place)
    packs = []
    for partition, mine in by_partition.items():
        for cut in split_into_packs([records[place] for place in mine], settings):
            message = codec.encode(records[place] for place in mine[cut])
            packs.append(PackToSend(partition, message, mine[cut]))
    return packs
