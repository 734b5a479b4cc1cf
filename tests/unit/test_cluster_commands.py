"""Keys on a cluster: one partition in one slot, nodes evenly loaded, replies in the order of the question."""

from collections import Counter

import pytest

from feature_store import keys
from feature_store.cluster_commands import merged, placed
from feature_store.cluster_slots import SLOTS, partition_tags, slot_of, tag_of
from ingest.bus.contract import partition_of

VISITORS = [number.to_bytes(16, "big") for number in range(64)]


def test_slots_are_those_of_valkey() -> None:
    # From the cluster specification: CRC-16 of "123456789" is 0x31C3; only what stands in braces counts.
    assert slot_of(b"123456789") == 0x31C3
    assert slot_of(b"{123456789}:a") == 0x31C3
    assert slot_of(b"{}a") == slot_of(b"{}a")
    assert slot_of(b"a{123456789}{b}") == 0x31C3


@pytest.mark.parametrize(("partitions", "nodes"), [(8, 2), (64, 3), (96, 6), (1024, 5)])
def test_nodes_with_equal_slots_get_equal_shares_of_the_partitions(partitions: int, nodes: int) -> None:
    shares = Counter(slot_of(tag) * nodes // SLOTS for tag in partition_tags(partitions))

    assert len(set(partition_tags(partitions))) == partitions
    assert max(shares.values()) - min(shares.values()) <= 2


def test_every_record_of_a_partition_lies_beside_its_checkpoint() -> None:
    for visitor in VISITORS:
        partition = partition_of(visitor, 8)
        beside = tag_of(keys.checkpoint_key(partition), 8)

        assert tag_of(keys.visitor_key(visitor), 8) == beside
        assert tag_of(keys.identity_key(visitor), 8) == beside
        assert tag_of(keys.item_key(partition, 77), 8) == beside
        assert tag_of(keys.placement_key(partition, "home"), 8) == beside


def test_values_come_back_in_the_order_of_the_keys() -> None:
    command = ("MGET", keys.GENERATION, *(keys.visitor_key(visitor) for visitor in VISITORS), keys.META)

    parts = placed(command, 8)
    replies = [[b"filling" if b"y:" in key else key[key.index(b"}") + 1 :] for key in p.command[1:]] for p in parts]

    assert len({part.slot for part in parts}) == len(parts) == 9
    assert merged(command, parts, replies) == [b"filling", *command[2:]]


def test_copies_of_the_generation_that_differ_are_no_generation() -> None:
    command = ("MGET", keys.GENERATION, *(keys.visitor_key(visitor) for visitor in VISITORS))

    parts = placed(command, 8)
    replies = [[b"one" if i else b"another", *(None for _ in part.places)] for i, part in enumerate(parts)]

    assert merged(command, parts, replies)[0] == b""


def test_a_write_that_spans_two_partitions_is_refused() -> None:
    two = (keys.checkpoint_key(0), keys.checkpoint_key(1))

    with pytest.raises(ValueError, match="one partition"):
        placed(("FCALL", "afterclick_write", 3, keys.GENERATION, *two), 8)
