"""The online store's keys, in one place; every key's bytes begin with the entity.

A key is a visitor's (their own hash follows the colon), or begins with a letter, a colon and its partition in two
bytes, or belongs to no partition and begins with a brace. On a cluster `cluster_slots` puts a hash tag before it.
"""

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
"""List: item id, or the name of a category, by its number; 0 is no item."""
ITEM_INDEX = b"{items}:index"
"""Hash: the number by the name."""

_VARIANT = "\x1f"
"""Between the names of a placement and of the variant that its suggestions were made by."""
_CATEGORY = "\0"
"""Items and categories are numbered together, in the list `ITEM_IDS`; this comes before the name of a category."""

ITEM_RUN = b"{items}:run"
"""On a cluster: the run of the node that holds the item index, when numbers were last left out."""

WATCH_LEASE = b"{store}:watch"
"""Which worker watches the stream; advice only."""

VISITOR_PREFIX = b"v:"
IDENTITY_PREFIX = b"b:"

_ITEM = struct.Struct(">cBHI")
_PARTITION = struct.Struct(">H")


def visitor_key(visitor: bytes) -> bytes:
    """`v:` and the 16 bytes of the visitor's keyed hash."""
    return VISITOR_PREFIX + visitor


def identity_key(visitor: bytes) -> bytes:
    """`b:` and the same 16 bytes: who was identified on this browser, and which browsers are this user's."""
    return IDENTITY_PREFIX + visitor


def visitor_key_of(hexadecimal: str) -> bytes:
    """The same of the hash as an event has it, 32 hex digits."""
    return visitor_key(bytes.fromhex(hexadecimal))


def item_key(partition: int, item_index: int) -> bytes:
    """`i:` partition and item index, 8 bytes: there are as many as items times partitions."""
    return _ITEM.pack(b"i", 58, partition, item_index)


def split_item_key(key: bytes) -> tuple[int, int]:
    """The inverse of `item_key` and `category_key`: (partition, number)."""
    _, _, partition, item_index = _ITEM.unpack(key)
    return partition, item_index


def category_name(category: str) -> str:
    """A category as the list of names has it."""
    return _CATEGORY + category


def category_of(name: str) -> str:
    """The inverse of `category_name`."""
    return name.removeprefix(_CATEGORY)


def category_key(partition: int, category_index: int) -> bytes:
    """`g:` partition and the category's number, 8 bytes."""
    return _ITEM.pack(b"g", 58, partition, category_index)


def custom_name(view: str, key: str) -> str:
    """A key of a shop's own counted view as the list of names has it."""
    return f"{_CATEGORY}{view}{_VARIANT}{key}"


def custom_key(partition: int, number: int) -> bytes:
    """`u:` partition and the number of the key's name, 8 bytes."""
    return _ITEM.pack(b"u", 58, partition, number)


def placement_name(placement: str, variant: str) -> str:
    """What the record of a placement is named; `variant` is empty outside experiments."""
    return placement + _VARIANT + variant if variant else placement


def split_placement_name(name: str) -> tuple[str, str]:
    """The inverse of `placement_name`: (placement, variant)."""
    placement, _, variant = name.partition(_VARIANT)
    return placement, variant


def placement_key(partition: int, placement: str) -> bytes:
    """`p:` partition and the placement's name, see `placement_name`."""
    return b"p:" + _PARTITION.pack(partition) + placement.encode()


def event_kinds_key(partition: int) -> bytes:
    """`k:` partition: how many events of each name came."""
    return b"k:" + _PARTITION.pack(partition)


def top_items_key(partition: int) -> bytes:
    """`t:` partition: candidates for the most viewed items."""
    return b"t:" + _PARTITION.pack(partition)


def event_kinds_key_of(partition: int, _: int) -> bytes:
    """`event_kinds_key`, as `item_key` is called."""
    return event_kinds_key(partition)


def top_items_key_of(partition: int, _: int) -> bytes:
    """`top_items_key`, as `item_key` is called."""
    return top_items_key(partition)


def checkpoint_key(partition: int) -> bytes:
    """`c:` partition: up to when the log is surely in the store, and under which run of it."""
    return b"c:" + _PARTITION.pack(partition)


def catch_up_lease_key(partition: int) -> bytes:
    """`l:` partition: who is reading it again; advice only, correctness never rests on it."""
    return b"l:" + _PARTITION.pack(partition)


def generation_key(partition: int) -> bytes:
    """`y:` partition: on a cluster, the copy of the generation beside the partition's records."""
    return b"y:" + _PARTITION.pack(partition)


def named_partition(key: bytes) -> int:
    """The partition in any key but a visitor's and the shared ones."""
    return int(_PARTITION.unpack_from(key, 2)[0])


def season_key(kind: str) -> bytes:
    """The ordinary week of one kind of event."""
    return b"{store}:season:" + kind.encode()


def alert_key(alert_id: str) -> bytes:
    """There while an alert was told and is not to be told again."""
    return b"{store}:alert:" + alert_id.encode()
