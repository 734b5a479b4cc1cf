"""Item ids as dense numbers: the worker's side gives and caches them, the reader's side turns them back into ids."""

from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge

from feature_store.errors import StoreUnavailableError
from feature_store.online_store import OnlineStore, StoreIdentity

_BEYOND_LIMIT = Counter(
    "afterclick_feature_store_items_beyond_limit_total", "Items that got no index because the store holds enough"
)
_CACHED = Gauge(
    "afterclick_feature_store_item_ids_cached", "Item ids in memory with their index", multiprocess_mode="livesum"
)

_RESTORED_MAX = 100_000
"""The newest ids: a store loses its last seconds, not its history."""


class ItemNumbers:
    """The worker's side: item id to index, and for every index the hash of its id, which orders a visitor's ring.

    Args:
        store: where the numbers are given.
        cache_max: ids kept in memory; of further ones the store is asked each time.
    """

    def __init__(self, store: OnlineStore, *, cache_max: int) -> None:
        self._store = store
        self._cache_max = cache_max
        self._index_of: dict[str, int] = {}
        self._hashes = np.zeros(1024, np.uint32)
        self._known = 0
        self._generation = b""

    @property
    def known(self) -> int:
        """Indexes from 0 up to this one are known here."""
        return self._known

    @property
    def hashes(self) -> NDArray[np.uint32]:
        """Hash of the item id by item index, for every index known here."""
        return self._hashes[: max(self._known, 1)]

    def forget(self) -> None:
        """Drop everything: the store is another one."""
        self._index_of.clear()
        self._known = 0

    async def restore(self, *, identity: StoreIdentity) -> None:
        """Give a cluster back what its node with the index may have lost; do it before `forget`.

        Raises:
            StoreUnavailableError, StoreChangedError: as `OnlineStore.restore_ids`.
        """
        first = self._known - _RESTORED_MAX if identity.generation == self._generation else self._known
        ids = {index: item_id for item_id, index in self._index_of.items() if index >= first}
        await self._store.restore_ids(ids, identity=identity)

    async def indexes(self, item_ids: Iterable[str], *, identity: StoreIdentity) -> dict[str, int]:
        """The index of each id; 0 for those beyond the store's limit. Gives new ones where needed.

        Raises:
            StoreUnavailableError, StoreChangedError: as `OnlineStore.intern`.
        """
        found = {item_id: self._index_of.get(item_id, 0) for item_id in item_ids}
        missing = [item_id for item_id, index in found.items() if index == 0]
        self._generation = identity.generation
        if missing:
            indexes, added = await self._store.intern(missing, known=self._known, identity=identity)
            self.learn(added)
            found.update(zip(missing, indexes, strict=True))
            _BEYOND_LIMIT.inc(indexes.count(0))
        return found

    def learn(self, added: Sequence[bytes]) -> None:
        """Take note of the ids that the store has from index `known` on."""
        first, self._known = self._known, self._known + len(added)
        if self._known > len(self._hashes):
            self._hashes = np.resize(self._hashes, max(self._known, 2 * len(self._hashes)))
        self._hashes[first : self._known] = [crc32(item_id) for item_id in added]
        for index, item_id in enumerate(added, first):
            if index and len(self._index_of) < self._cache_max:
                self._index_of[item_id.decode()] = index
        _CACHED.set(len(self._index_of))


class ItemNames:
    """The reader's side: item id by item index, for every index known here; index 0 is no item."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self._ids)

    def forget(self) -> None:
        """Drop everything: the store is another one."""
        self._ids = []

    def learn(self, added: Sequence[bytes]) -> None:
        """Take note of the ids that the store has from index `len(self)` on."""
        self._ids += [item_id.decode() for item_id in added]

    def ids_of(self, indexes: Iterable[int]) -> tuple[str, ...]:
        """The ids of `indexes`, each of them known here.

        Raises:
            StoreUnavailableError: one is not known, for the store was found to be another one meanwhile.
        """
        ids = self._ids
        try:
            return tuple([ids[index] for index in indexes])
        except IndexError as error:
            raise StoreUnavailableError(
                f"online store: wanted items numbered below {len(ids)}; got one beyond; the store changed, read again"
            ) from error
