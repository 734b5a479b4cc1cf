"""Erase a visitor: hide all of theirs from every reader, and take their records out of the online store."""

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import Counter

from feature_store import keys
from feature_store.online_store import OnlineStore
from feature_store.person_reader import Person
from ingest.bus.contract import Bus
from ingest.tombstones import erase

_ERASED = Counter("afterclick_feature_store_erased_records_total", "Records deleted because their visitor was erased")


async def forget_visitors(store: OnlineStore, visitor_keys: Iterable[bytes]) -> int:
    """Delete what is stored under these keys; returns how many records there were.

    What items, placements and event names count stays: nobody can be told from a sum.

    Raises:
        StoreUnavailableError: some may be deleted; call it again.
    """
    names = [name for key in visitor_keys for name in (keys.visitor_key(key), keys.identity_key(key))]
    deleted = sum(await store.send([("DEL", name) for name in names])) if names else 0
    _ERASED.inc(deleted)
    return int(deleted)


class Erasure(NamedTuple):
    """What an erasure came to.

    Attributes:
        erased_at_ms: all that the collector had of them by then is hidden from every reader.
        visitor_keys: whose; of a user their own key and those of their browsers.
        records_deleted: in the online store.
        browsers_beyond: the user had more browsers than are remembered: those have to be erased by their own ids.
    """

    erased_at_ms: int
    visitor_keys: tuple[bytes, ...]
    records_deleted: int
    browsers_beyond: bool


async def erase_visitor(bus: Bus, store: OnlineStore, person: Person, *, now_ms: int) -> Erasure:
    """Erase a browser, or a user with all of their browsers; afterwards no reader gives anything of them.

    First the tombstones, durably, then the records: what a worker still writes meanwhile it deletes when it hears.

    Raises:
        BusUnavailableError, StoreUnavailableError: half-way; do it again.
    """
    known = person.identities[person.asked]
    of_user = [key for _, key in known.browsers]
    erased = tuple(dict.fromkeys((person.asked, *of_user)))
    await erase(bus, erased, erased_at_ms=now_ms)
    return Erasure(now_ms, erased, await forget_visitors(store, erased), known.browsers_let_go)
