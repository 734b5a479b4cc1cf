"""The online store's keys, in one place; every key's bytes begin with the entity."""

import struct

GENERATION = b"{store}:generation"
"""A random id made with an empty store; another one means that everything cached of it is void."""
META = b"{store}:meta"
"""Hash: `log_id` and `partitions` of the topic `events` that the records belong to."""
PLACEMENTS = b"{store}:placements"
"""Set of the placement names that have records."""
FRESHNESS = b"{store}:freshness"
"""Hash: worker -> its freshness record."""
ITEM_IDS = b"{items}:ids"
"""List: item id by item index; index 0 is no item."""
ITEM_INDEX = b"{items}:index"
"""Hash: item index by item id."""

_ITEM = struct.Struct(">cBHI")
_PARTITION = struct.Struct(">H")


def visitor_key(visitor: bytes) -> bytes:
    """`v:` and the 16 bytes of the visitor's keyed hash."""
    return b"v:" + visitor


def item_key(partition: int, item_index: int) -> bytes:
    """`i:` partition and item index, 8 bytes: there are as many as items times partitions."""
    return _ITEM.pack(b"i", 58, partition, item_index)


def split_item_key(key: bytes) -> tuple[int, int]:
    """The inverse of `item_key`: (partition, item index)."""
    _, _, partition, item_index = _ITEM.unpack(key)
    return partition, item_index


def placement_key(partition: int, placement: str) -> bytes:
    """`p:` partition and the placement's name."""
    return b"p:" + _PARTITION.pack(partition) + placement.encode()


def event_kinds_key(partition: int) -> bytes:
    """`k:` partition: how many events of each name came."""
    return b"k:" + _PARTITION.pack(partition)


def top_items_key(partition: int) -> bytes:
    """`t:` partition: candidates for the most viewed items."""
    return b"t:" + _PARTITION.pack(partition)


def checkpoint_key(partition: int) -> bytes:
    """`c:` partition: up to when the log is surely in the store, and under which run of it."""
    return b"c:" + _PARTITION.pack(partition)


def catch_up_lease_key(partition: int) -> bytes:
    """`l:` partition: who is reading it again; advice only, correctness never rests on it."""
    return b"l:" + _PARTITION.pack(partition)
