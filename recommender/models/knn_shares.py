"""What each item of a visitor's way adds to the votes of the sessions like theirs."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import Prefix, Rows, plain
from recommender.models.session_knn import SessionKnn


def session_shares(model: SessionKnn, prefix: Prefix, rows: Rows) -> NDArray[np.float64]:
    """Shape (len(rows), len(prefix.rows)): what each event adds to each row's vote.

    A session votes by its likeness, and its likeness is a sum over the items it has in common with the visitor; each of
    them has that share in the vote. Of an item that stands there twice the newest event counts.
    """
    shares = np.zeros((len(rows), len(prefix.rows)))
    if len(prefix.rows) == 0 or len(rows) == 0:
        return shares
    p = model.parameters
    last = slice(-p.last, None)
    asked, times_ms = plain(prefix.rows[last], np.int32), plain(prefix.times_ms[last], np.int64)
    ring_rows, ring_lengths, rarities = model.held()
    found = _shares(
        *(ring_rows, ring_lengths, rarities, asked, *model.nearest(asked, times_ms), plain(rows, np.int32)),
        *(float(p.recency), float(p.reach), float(p.before), float(p.self_weight)),
        *(float(p.rarity), float(p.rarity_answer)),
    )
    shares[:, len(prefix.rows) - len(asked) :] = found
    return shares


@njit(cache=True, nogil=True)
def _shares(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, rarities, prefix, slots, similarities, nearest, wanted,
    recency, reach, before, self_weight, rarity, rarity_answer,
):  # fmt: skip
    shares = np.zeros((len(wanted), len(prefix)), np.float64)
    said = np.zeros(len(prefix), np.float64)
    for i in range(len(slots)):
        slot, length = slots[i], ring_lengths[slots[i]]
        total = _common(ring_rows[slot, :length], rarities, prefix, recency, rarity, said)
        matched = prefix[len(prefix) - 1 - nearest[i]]
        match = length - 1
        while match >= 0 and ring_rows[slot, match] != matched:
            match -= 1
        if match < 0 or total <= 0.0:
            continue
        for number in range(len(wanted)):
            vote = 0.0
            for place in range(length):
                if ring_rows[slot, place] != wanted[number]:
                    continue
                if place == match:
                    vote += self_weight
                else:
                    vote += np.exp(-(abs(place - match) - 1) / reach) * (before if place < match else 1.0)
            for event in range(len(prefix)):
                shares[number, event] += similarities[i] * vote * said[event] / total
    for number in range(len(wanted)):
        if wanted[number] < len(rarities):
            shares[number] *= rarities[wanted[number]] ** rarity_answer
    return shares


@njit(cache=True, nogil=True)
def _common(session, rarities, prefix, recency, rarity, said):  # type: ignore[no-untyped-def]
    """Write into `said` what each event of `prefix` has to do with `session`; the sum."""
    total = 0.0
    for event in range(len(prefix)):
        said[event] = 0.0
        known = prefix[event] < len(rarities)
        for later in range(event + 1, len(prefix)):
            known = known and prefix[later] != prefix[event]
        if not known:
            continue
        for place in range(len(session)):
            if session[place] == prefix[event]:
                said[event] = np.exp(-(len(prefix) - 1 - event) / recency) * rarities[prefix[event]] ** rarity
                break
        total += said[event]
    return total


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    model = SessionKnn()
    model.update(0, 0, 1, 1)
    one = Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64))
    session_shares(model, one, np.zeros(1, np.int32))
