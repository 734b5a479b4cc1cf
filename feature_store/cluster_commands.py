"""One command for one server as commands for the slots of a cluster, and their replies as one reply again."""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import libvalkey

from feature_store import keys
from feature_store.cluster_slots import SHARED_TAG, record_partition, slot_of, tag_of
from feature_store.valkey_connection import Command, Reply

_NO_GENERATION: Final = b""


class Placed(NamedTuple):
    """A command as the node of `slot` is sent it.

    Attributes:
        places: of an MGET, where in the wanted keys each of its values belongs.
        guarded: its first value is the partition's copy of the generation.
    """

    slot: int
    command: Command
    places: tuple[int, ...] = ()
    guarded: bool = False


def placed(command: Command, partitions: int) -> list[Placed]:
    """What to send where; `command` names keys as on one server.

    `partitions` 0: nobody has said yet how many there are, so there are no records; an MGET of them needs no node.
    A function is called for one slot: its keys must be of one partition, whose copy of the generation it is given.
    """
    if command[0] == "MGET":
        return _placed_mget(command, partitions)
    if command[0] == "FCALL":
        return [_placed_call(command, partitions)]
    if len(command) < 2 or not isinstance(command[1], bytes):
        return [Placed(slot_of(SHARED_TAG), command)]
    tag = tag_of(command[1], partitions)
    return [Placed(slot_of(tag), (command[0], tag + command[1], *command[2:]))]


def merged(command: Command, parts: Sequence[Placed], replies: Sequence[Reply]) -> Reply:
    """The reply to `command` from those to its `parts`; an error of one is the error of all."""
    if command[0] != "MGET":
        return replies[0]
    values: list[Reply] = [None] * (len(command) - 1)
    generations = set()
    for part, reply in zip(parts, replies, strict=True):
        if isinstance(reply, libvalkey.ReplyError):
            return reply
        if part.guarded:
            generations.add(reply[0])
        for place, value in zip(part.places, reply[1:] if part.guarded else reply, strict=True):
            values[place] = value
    if command[1] == keys.GENERATION:
        # Copies that differ: the store is being made anew, and the reader has to start over.
        values[0] = generations.pop() if len(generations) == 1 else _NO_GENERATION
    return values


def _placed_mget(command: Command, partitions: int) -> list[Placed]:
    wanted = cast("Sequence[bytes]", command[1:])
    guarded = wanted[0] == keys.GENERATION
    groups: dict[int, list[int]] = {}
    shared: list[int] = []
    for place, key in enumerate(wanted):
        if key.startswith(b"{"):
            if key != keys.GENERATION or not guarded:
                shared.append(place)
        elif partitions:
            groups.setdefault(record_partition(key, partitions), []).append(place)
    parts = []
    for partition, places in groups.items():
        generation = [keys.generation_key(partition)] if guarded else []
        tag = tag_of(keys.generation_key(partition), partitions)
        found = [tag + key for key in (*generation, *(wanted[place] for place in places))]
        parts.append(Placed(slot_of(tag), ("MGET", *found), tuple(places), guarded))
    if shared:
        found = [SHARED_TAG + wanted[place] for place in shared]
        parts.append(Placed(slot_of(SHARED_TAG), ("MGET", *found), tuple(shared)))
    return parts


def _placed_call(command: Command, partitions: int) -> Placed:
    key_count = cast(int, command[2])
    named = cast("Sequence[bytes]", command[3 : 3 + key_count])
    others = [key for key in named if key != keys.GENERATION]
    tag = tag_of(others[0], partitions)
    if any(tag_of(key, partitions) != tag for key in others):
        raise ValueError(f"wanted the keys of one partition in a call of {command[1]!r}, got several")
    generation = keys.GENERATION if tag == SHARED_TAG else keys.generation_key(record_partition(others[0], partitions))
    found = [tag + (generation if key == keys.GENERATION else key) for key in named]
    return Placed(slot_of(tag), (*command[:3], *found, *command[3 + key_count :]))
