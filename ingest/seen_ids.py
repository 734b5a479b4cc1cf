"""Remember which ids a partition has lately held, in 40 bytes each, and recognise a repeat."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_RECENT_SHARE = 64


def id_hash(message_id: str) -> int:
    """64 bits of BLAKE2b, the same in every process, so that all readers of a log recognise the same repeats.

    Among a million ids, one new id is mistaken for another once in 2e13 events.
    """
    return int.from_bytes(blake2b(message_id.encode("utf-8", "replace"), digest_size=8).digest(), "little")


class SeenIds:
    """The ids of one partition's latest entries. An entry is a repeat when the **latest** earlier occurrence of its id,
    repeat or not, lies at most `ids_max` entries and `window_ms` of acceptance time before it.

    Since a repeat counts as an occurrence, the answer depends on that stretch of the log alone, not on where reading
    began: a reader that re-reads the stretch decides as one that was there all along.

    Latest ids are in a dict; it is merged into sorted arrays (8 bytes of hash, entry number and time each) before it
    grows past a 64th of them. A numba table would be faster by a third and cost 60 MB for the import.
    """

    def __init__(self, *, window_ms: int, ids_max: int, clock_slack_ms: int, recent_min: int = 4096) -> None:
        self._window_ms = window_ms
        self._ids_max = ids_max
        self._clock_slack_ms = clock_slack_ms
        self._recent_min = recent_min
        self._entry = 0
        self._newest_ms = 0
        self._recent: dict[int, tuple[int, int]] = {}
        self._hashes = np.empty(0, np.uint64)
        self._entries = np.empty(0, np.int64)
        self._times = np.empty(0, np.int64)

    def __len__(self) -> int:
        """Ids remembered, those about to be forgotten included."""
        return len(self._recent) + len(self._hashes)

    def admit(self, hashes: Sequence[int | None], *, accepted_at_ms: int) -> list[bool]:
        """Is each of the next entries a repeat? They are remembered. None stands for an entry without an id."""
        repeats: list[bool] = []
        for start in range(0, len(hashes), self._recent_min):
            repeats += self._admit_some(hashes[start : start + self._recent_min], accepted_at_ms)
        self._newest_ms = max(self._newest_ms, accepted_at_ms)
        return repeats

    def _admit_some(self, hashes: Sequence[int | None], accepted_at_ms: int) -> list[bool]:
        older = self._find_older(hashes)
        repeats = []
        for found in hashes:
            last = None if found is None else self._recent.get(found) or older.get(found)
            repeats.append(
                last is not None
                and self._entry - last[0] <= self._ids_max
                and accepted_at_ms - last[1] <= self._window_ms
            )
            if found is not None:
                self._recent[found] = (self._entry, accepted_at_ms)
            self._entry += 1
        if len(self._recent) >= max(self._recent_min, len(self._hashes) // _RECENT_SHARE):
            self._merge()
        return repeats

    def _find_older(self, hashes: Sequence[int | None]) -> dict[int, tuple[int, int]]:
        if not len(self._hashes):
            return {}
        wanted = np.array([found for found in hashes if found is not None], np.uint64)
        places = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        places = places[self._hashes[places] == wanted]
        lasts = zip(self._entries[places].tolist(), self._times[places].tolist(), strict=True)
        return dict(zip(self._hashes[places].tolist(), lasts, strict=True))

    def _merge(self) -> None:
        hashes = np.fromiter(self._recent, np.uint64, len(self._recent))
        lasts = np.array(list(self._recent.values()), np.int64).reshape(-1, 2)
        order = np.argsort(hashes)
        hashes, lasts = hashes[order], lasts[order]
        kept = self._worth_keeping(hashes)
        places = np.searchsorted(self._hashes[kept], hashes)
        self._hashes = np.insert(self._hashes[kept], places, hashes)
        self._entries = np.insert(self._entries[kept], places, lasts[:, 0])
        self._times = np.insert(self._times[kept], places, lasts[:, 1])
        self._recent.clear()

    def _worth_keeping(self, refreshed: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Shape (n,) bool over the arrays: neither seen again since, nor out of reach of any entry to come."""
        places = np.minimum(np.searchsorted(refreshed, self._hashes), len(refreshed) - 1)
        # Acceptance times may step back by the slack; what a later, earlier-stamped entry could match stays.
        oldest_ms = self._newest_ms - self._window_ms - self._clock_slack_ms
        within_reach: NDArray[np.bool_] = (self._entries >= self._entry - self._ids_max) & (self._times >= oldest_ms)
        return np.asarray(within_reach & (refreshed[places] != self._hashes))
