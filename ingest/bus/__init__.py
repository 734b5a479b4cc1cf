"""The bus: one contract, one file per broker."""

from ingest.bus.contract import (
    Bus,
    Delivery,
    Entry,
    Position,
    Published,
    Record,
    Start,
    Subscription,
    Table,
    partition_of,
)
from ingest.bus.open import open_bus

__all__ = [
    "Bus",
    "Delivery",
    "Entry",
    "Position",
    "Published",
    "Record",
    "Start",
    "Subscription",
    "Table",
    "open_bus",
    "partition_of",
]
