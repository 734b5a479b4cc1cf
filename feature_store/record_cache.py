"""The records a worker wrote last, by partition, oldest use first out."""

from collections import OrderedDict

from prometheus_client import Counter, Gauge

_RECORDS = Gauge(
    "afterclick_feature_store_cached_records", "Records in the worker's cache", multiprocess_mode="livesum"
)
_EVICTED = Counter("afterclick_feature_store_cache_evicted_total", "Records dropped because the cache was full")


class RecordCache:
    """At most `records_max` records; it may be wrong at any time, since the compare-and-set finds it out."""

    def __init__(self, *, records_max: int) -> None:
        self._records_max = records_max
        self._partitions: dict[int, OrderedDict[bytes, bytes]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, partition: int, key: bytes) -> bytes | None:
        """The record as last written, or None when it is not known here."""
        records = self._partitions.get(partition)
        if records is None or key not in records:
            return None
        records.move_to_end(key)
        return records[key]

    def put(self, partition: int, key: bytes, record: bytes) -> None:
        """Remember what was written."""
        records = self._partitions.setdefault(partition, OrderedDict())
        if key not in records:
            self._count += 1
        records[key] = record
        records.move_to_end(key)

    def drop(self, partition: int, key: bytes) -> None:
        """Forget one record."""
        records = self._partitions.get(partition)
        if records is not None and records.pop(key, None) is not None:
            self._count -= 1

    def drop_partition(self, partition: int) -> None:
        """Forget all of a partition that another worker may have written."""
        self._count -= len(self._partitions.pop(partition, ()))
        _RECORDS.set(self._count)

    def clear(self) -> None:
        """Forget everything."""
        self._partitions.clear()
        self._count = 0
        _RECORDS.set(0)

    def trim(self) -> None:
        """Let the least lately used of the largest partitions go until the limit holds."""
        while self._count > self._records_max:
            largest = max(self._partitions.values(), key=len)
            surplus = max(1, (self._count - self._records_max) // len(self._partitions))
            for _ in range(min(surplus, len(largest))):
                largest.popitem(last=False)
                self._count -= 1
                _EVICTED.inc()
        _RECORDS.set(self._count)
