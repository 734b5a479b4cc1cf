"""Where a record lies in a Valkey cluster: everything of one partition in one slot, the slots evenly apart."""

from binascii import crc_hqx
from functools import lru_cache
from itertools import count

from feature_store import keys
from ingest.bus.contract import partition_of

SLOTS = 16_384
SHARED_TAG = b"{store}"
"""Before every key that belongs to no partition: the item index, the generation, the names of placements."""


def slot_of(key: bytes) -> int:
    """The hash slot of a key: CRC-16 (XMODEM) of what stands between its first braces, or of all of it."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    hashed = key[start + 1 : end] if end > start + 1 else key
    return crc_hqx(hashed, 0) % SLOTS


@lru_cache(maxsize=8)
def partition_tags(partitions: int) -> tuple[bytes, ...]:
    """One hash tag a partition, in equal stretches of the slots, so that nodes with equal slots get equal shares.

    The names of partitions hashed as they are would give three nodes 14, 21 and 29 of 64 partitions.
    """
    tags: dict[int, bytes] = {}
    for number in count():
        tag = b"{%d}" % number
        tags.setdefault(slot_of(tag) * partitions // SLOTS, tag)
        if len(tags) == partitions:
            return tuple(tags[partition] for partition in range(partitions))
    raise AssertionError("count() ends never")


def tag_of(key: bytes, partitions: int) -> bytes:
    """What a key is prefixed with in a cluster whose records belong to a log of `partitions`, >= 1."""
    if key.startswith(b"{"):
        return SHARED_TAG
    return partition_tags(partitions)[record_partition(key, partitions)]


def record_partition(key: bytes, partitions: int) -> int:
    """The partition that a record's key belongs to: a visitor's by its hash, every other key names it.

    What other rooms keep in the store under keys of their own (a letter, a colon, any bytes) is spread alike.
    """
    if key.startswith((keys.VISITOR_PREFIX, keys.IDENTITY_PREFIX)):
        return partition_of(key[2:], partitions)
    return keys.named_partition(key) % partitions
