"""What the bus counts, by adapter."""

from prometheus_client import Counter, Histogram

_BY_ADAPTER = ["adapter"]

PUBLISHED = Counter("afterclick_ingest_bus_published_total", "Entries the broker has durably", _BY_ADAPTER)
PUBLISHED_BYTES = Counter("afterclick_ingest_bus_published_bytes", "Bytes of packs the broker has durably", _BY_ADAPTER)
PUBLISH_SECONDS = Histogram(
    "afterclick_ingest_bus_publish_seconds",
    "From the call to the last verdict",
    _BY_ADAPTER,
    buckets=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2, 8),
)
UNAVAILABLE = Counter("afterclick_ingest_bus_unavailable_total", "Entries refused: broker does not answer", _BY_ADAPTER)
FULL = Counter("afterclick_ingest_bus_full_total", "Entries refused: at the size limit, nothing to trim", _BY_ADAPTER)
UNFIT = Counter("afterclick_ingest_bus_unfit_total", "Records refused: too large, or no JSON value", _BY_ADAPTER)
UNDECODABLE = Counter("afterclick_ingest_bus_undecodable_total", "Messages skipped: not a pack of ours", _BY_ADAPTER)
PARTITIONS_LOST = Counter("afterclick_ingest_bus_partitions_lost_total", "Partitions given or taken away", _BY_ADAPTER)
EPOCHS = Counter("afterclick_ingest_bus_epochs_total", "Partitions begun anew by a subscription", _BY_ADAPTER)
STALE_ACKS = Counter(
    "afterclick_ingest_bus_stale_acks_total", "Late acknowledgements that changed nothing", _BY_ADAPTER
)
GAPS = Counter("afterclick_ingest_bus_read_gaps_total", "Reads that found entries trimmed and no archive", _BY_ADAPTER)
