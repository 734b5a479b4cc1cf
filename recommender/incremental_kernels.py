"""The numba kernels of incremental item factors: one event changes one session's vector and a few items' vectors."""

import numpy as np
from numba import njit

from recommender.fold_in import solve
from recommender.models.session_ring import NO_SESSION

SETTLE_EVENTS = 256
"""Events whose changes of a Gram matrix are summed in float32 before they go into float64."""

_SWEEP_AT, _UNSETTLED = 0, 1
_FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(cache=True, nogil=True)
def learn(  # type: ignore[no-untyped-def]
    numbers, lengths, rows, weights, session_vectors, session_wide, session_gram, session_delta,
    item_vectors, item_wide, item_gram, item_delta, pair_sessions, pair_weights, pair_counts, frequencies,
    changed, counters,
    event_sessions, event_rows, event_weights, alpha, steps, rare_max, sweep, items,
):  # fmt: skip
    """Learn events in order; `changed[row]` is set for every item whose vector moved."""
    for event in range(len(event_rows)):
        if event_weights[event] <= 0.0:
            continue
        slot = _take(numbers, lengths, rows, session_vectors, session_gram, session_delta, frequencies,
                    event_sessions[event])  # fmt: skip
        if slot < 0:
            continue
        _record(numbers, lengths, rows, weights, pair_sessions, pair_weights, pair_counts, frequencies,
               slot, event_rows[event], event_weights[event])  # fmt: skip
        _fold_session(lengths, rows, weights, session_vectors, session_gram, session_delta, item_vectors,
                      item_gram, slot, alpha, steps)  # fmt: skip
        # The clicked item, and of this session's others those that few sessions define: its vector moves them most.
        for back in range(lengths[slot]):
            row = rows[slot, lengths[slot] - 1 - back]
            if back > 0 and frequencies[row] > rare_max:
                continue
            _solve_item(numbers, session_vectors, session_gram, item_vectors, item_gram, item_delta, pair_sessions,
                       pair_weights, pair_counts, frequencies, row, alpha, steps)  # fmt: skip
            changed[row] = True
        # What nobody clicks drifts with everybody's vectors; a few rows an event keep the whole catalogue solved.
        for _ in range(sweep):
            row = counters[_SWEEP_AT] % items
            counters[_SWEEP_AT] = row + 1
            _solve_item(numbers, session_vectors, session_gram, item_vectors, item_gram, item_delta, pair_sessions,
                       pair_weights, pair_counts, frequencies, row, alpha, 2)  # fmt: skip
            changed[row] = True
        counters[_UNSETTLED] += 1
        if counters[_UNSETTLED] >= SETTLE_EVENTS:
            counters[_UNSETTLED] = 0
            settle(session_wide, session_gram, session_delta)
            settle(item_wide, item_gram, item_delta)


@njit(cache=True, nogil=True)
def record_many(  # type: ignore[no-untyped-def]
    numbers, lengths, rows, weights, session_vectors, session_gram, session_delta, pair_sessions, pair_weights,
    pair_counts, frequencies, event_sessions, event_rows, event_weights,
):  # fmt: skip
    """Note who did what without solving anything: a fit has just done that."""
    for event in range(len(event_rows)):
        if event_weights[event] <= 0.0:
            continue
        slot = _take(numbers, lengths, rows, session_vectors, session_gram, session_delta, frequencies,
                     event_sessions[event])  # fmt: skip
        if slot >= 0:
            _record(numbers, lengths, rows, weights, pair_sessions, pair_weights, pair_counts, frequencies,
                    slot, event_rows[event], event_weights[event])  # fmt: skip


@njit(cache=True, nogil=True)
def _take(  # type: ignore[no-untyped-def]
    numbers, lengths, rows, session_vectors, session_gram, session_delta, frequencies, session,
):  # fmt: skip
    """The slot of `session`, its former holder forgotten; -1 for a session older than the holder."""
    slot = session % len(numbers)
    if numbers[slot] > session:
        return -1
    if numbers[slot] < session:
        if numbers[slot] != NO_SESSION:
            for place in range(lengths[slot]):
                frequencies[rows[slot, place]] -= 1
            zero = np.zeros(session_vectors.shape[1], np.float32)
            _replace(session_vectors, session_gram, session_delta, slot, zero)
        numbers[slot] = session
        lengths[slot] = 0
    return slot


@njit(cache=True, nogil=True)
def _record(  # type: ignore[no-untyped-def]
    numbers, lengths, rows, weights, pair_sessions, pair_weights, pair_counts, frequencies, slot, row, weight,
):  # fmt: skip
    """Note that the session in `slot` did `row`: newest last, its weight the largest so far."""
    length = lengths[slot]
    place = 0
    while place < length and rows[slot, place] != row:
        place += 1
    known = place < length
    if known:
        weight = max(weight, weights[slot, place])
    elif length == rows.shape[1]:
        frequencies[rows[slot, 0]] -= 1
        place = 0
    if known or length == rows.shape[1]:
        for later in range(place + 1, length):
            rows[slot, later - 1] = rows[slot, later]
            weights[slot, later - 1] = weights[slot, later]
        length -= 1
    rows[slot, length] = row
    weights[slot, length] = weight
    lengths[slot] = length + 1
    if not known:
        frequencies[row] += 1
    _pair(pair_sessions, pair_weights, pair_counts, row, numbers[slot], weight, known)


@njit(cache=True, nogil=True)
def _pair(pair_sessions, pair_weights, pair_counts, row, session, weight, known):  # type: ignore[no-untyped-def]
    pairs_max = pair_sessions.shape[1]
    if known:
        for place in range(min(pair_counts[row], pairs_max)):
            if pair_sessions[row, place] == session:
                pair_weights[row, place] = weight
                return
    place = pair_counts[row] % pairs_max
    pair_sessions[row, place] = session
    pair_weights[row, place] = weight
    pair_counts[row] += 1


@njit(cache=True, nogil=True)
def _fold_session(  # type: ignore[no-untyped-def]
    lengths, rows, weights, session_vectors, session_gram, session_delta, item_vectors, item_gram,
    slot, alpha, steps,
):  # fmt: skip
    length = lengths[slot]
    curvature = weights[slot, :length] * alpha
    vector = session_vectors[slot].copy()
    solve(item_gram, item_vectors, rows[slot, :length], curvature, curvature + np.float32(1.0), vector, steps)
    _replace(session_vectors, session_gram, session_delta, slot, vector)


@njit(cache=True, nogil=True)
def _solve_item(  # type: ignore[no-untyped-def]
    numbers, session_vectors, session_gram, item_vectors, item_gram, item_delta, pair_sessions, pair_weights,
    pair_counts, frequencies, row, alpha, steps,
):  # fmt: skip
    """Solve one item against the vectors of its newest sessions, from where it stands; its Gram matrix follows."""
    slots, curvature, target = item_pairs(numbers, pair_sessions, pair_weights, pair_counts, frequencies, row, alpha)
    if len(slots) == 0:
        return
    vector = item_vectors[row].copy()
    solve(session_gram, session_vectors, slots, curvature, target, vector, steps)
    _replace(item_vectors, item_gram, item_delta, row, vector)


@njit(cache=True, nogil=True)
def item_pairs(  # type: ignore[no-untyped-def]
    numbers, pair_sessions, pair_weights, pair_counts, frequencies, row, alpha,
):  # fmt: skip
    """What defines one item: the slots of its newest sessions still held, their curvature and their target.

    Where more sessions had the item than pairs are kept, each pair stands for several.
    """
    kept = min(pair_counts[row], pair_sessions.shape[1])
    slots = np.empty(kept, np.int32)
    curvature = np.empty(kept, np.float32)
    count = 0
    for place in range(kept):
        slot = pair_sessions[row, place] % len(numbers)
        if numbers[slot] == pair_sessions[row, place]:
            slots[count] = slot
            curvature[count] = alpha * pair_weights[row, place]
            count += 1
    standing_for = max(np.float32(1.0), np.float32(frequencies[row]) / np.float32(max(1, count)))
    target = (curvature[:count] + np.float32(1.0)) * standing_for
    return slots[:count], curvature[:count] * standing_for, target


@njit(cache=True, nogil=True, fastmath=_FAST)
def _replace(vectors, gram, delta, row, vector):  # type: ignore[no-untyped-def]
    """Put `vector` in its row; its Gram matrix and what that changed since `settle` follow, in float32 for speed."""
    size = len(vector)
    before = vectors[row].copy()
    for f in range(size):
        new, old = vector[f], before[f]
        for g in range(size):
            change = new * vector[g] - old * before[g]
            gram[f, g] += change
            delta[f, g] += change
    vectors[row] = vector


@njit(cache=True, nogil=True)
def settle(wide_gram, gram, delta):  # type: ignore[no-untyped-def]
    """Add the last few events' changes to the float64 matrix and begin again from it: rounding never piles up."""
    for f in range(len(gram)):
        for g in range(len(gram)):
            wide_gram[f, g] += delta[f, g]
            gram[f, g] = wide_gram[f, g]
            delta[f, g] = 0.0
