"""The session index of the kNN model and the two steps of an answer, as numba kernels over plain arrays."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.session_ring import append, open_slot
from recommender.prefetch import prefetch
from recommender.scan import best_among, seen_later

_POSTINGS, _NEWEST, _HELD = 0, 1, 2
_SCORE, _NEAREST, _LATEST = 0, 1, 2


class KnnIndex(NamedTuple):
    """What the kernels read; the scratch is written too, and left as it was found.

    Attributes:
        ring_rows, ring_lengths, ring_numbers, ring_times_ms: of `SessionRing`.
        heads: shape (>= items,), each item's newest posting.
        frequencies: shape (>= items,), sessions held that hold the item.
        postings: shape (postings_max, 2), a session's number and the item's posting before this one.
        totals: postings ever made, newest session number, sessions held.
        session_scratch: shape (sessions_max, 3), score, nearest and latest distance of a session; scores are 0.
        item_scores: shape (>= items,), zeros.
        items: rows the index knows.
    """

    ring_rows: NDArray[np.int32]
    ring_lengths: NDArray[np.int32]
    ring_numbers: NDArray[np.int64]
    ring_times_ms: NDArray[np.int64]
    heads: NDArray[np.int64]
    frequencies: NDArray[np.int32]
    postings: NDArray[np.int64]
    totals: NDArray[np.int64]
    session_scratch: NDArray[np.float32]
    item_scores: NDArray[np.float32]
    items: int


class KnnSettings(NamedTuple):
    """`SessionKnnParameters` as the kernels take them."""

    sessions_per_item: int
    neighbours: int
    last: int
    recency: np.float32
    age: np.float32
    reach: np.float32
    before: np.float32
    self_weight: np.float32
    rarity: np.float32
    rarity_answer: np.float32


@njit(cache=True, nogil=True)
def index_events(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, ring_numbers, ring_times_ms, heads, frequencies, postings, totals,
    sessions, rows, weights, times_ms, keep_repeats,
):  # fmt: skip
    """Append each event to its session and link its item to it, unless it already is."""
    for event in range(len(rows)):
        if weights[event] <= 0.0:
            continue
        slot = _take(ring_rows, ring_lengths, ring_numbers, frequencies, totals, sessions[event])
        if slot < 0:
            continue
        row, length = rows[event], ring_lengths[slot]
        ring_times_ms[slot] = times_ms[event]
        if length > 0 and ring_rows[slot, length - 1] == row and not keep_repeats:
            continue
        known = _holds(ring_rows, slot, 0, length, row)
        if length == ring_rows.shape[1] and not _holds(ring_rows, slot, 1, length, ring_rows[slot, 0]):
            frequencies[ring_rows[slot, 0]] -= 1
            # The row that falls out may be the one that comes in.
            known = known and ring_rows[slot, 0] != row
        append(ring_rows, ring_lengths, slot, row)
        if not known:
            frequencies[row] += 1
            _link(heads, postings, totals, row, sessions[event])


@njit(cache=True, nogil=True)
def index_sessions(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, ring_numbers, ring_times_ms, heads, frequencies, postings, totals,
    sessions, rows, lengths, times_ms,
):  # fmt: skip
    """Replace whole sessions; items a session already held keep their links."""
    before = np.empty(ring_rows.shape[1], np.int32)
    for i in range(len(sessions)):
        slot = _take(ring_rows, ring_lengths, ring_numbers, frequencies, totals, sessions[i])
        if slot < 0:
            continue
        length_before = ring_lengths[slot]
        before[:length_before] = ring_rows[slot, :length_before]
        for place in range(length_before):
            if not _holds(ring_rows, slot, place + 1, length_before, before[place]):
                frequencies[before[place]] -= 1
        for place in range(lengths[i]):
            row = rows[i, place]
            ring_rows[slot, place] = row
            if _holds(ring_rows, slot, 0, place, row):
                continue
            frequencies[row] += 1
            known = False
            for other in range(length_before):
                known = known or before[other] == row
            if not known:
                _link(heads, postings, totals, row, sessions[i])
        ring_lengths[slot] = lengths[i]
        ring_times_ms[slot] = times_ms[i]


@njit(cache=True, nogil=True)
def _take(ring_rows, ring_lengths, ring_numbers, frequencies, totals, session):  # type: ignore[no-untyped-def]
    slot = session % len(ring_numbers)
    if ring_numbers[slot] < session:
        length = ring_lengths[slot]
        for place in range(length):
            if not _holds(ring_rows, slot, place + 1, length, ring_rows[slot, place]):
                frequencies[ring_rows[slot, place]] -= 1
        if ring_numbers[slot] < 0:
            totals[_HELD] += 1
        totals[_NEWEST] = max(totals[_NEWEST], session)
    return open_slot(ring_numbers, ring_lengths, session)


@njit(cache=True, nogil=True)
def _holds(ring_rows, slot, begin, end, row):  # type: ignore[no-untyped-def]
    for place in range(begin, end):  # noqa: SIM110 - numba wants the loop
        if ring_rows[slot, place] == row:
            return True
    return False


@njit(cache=True, nogil=True)
def _link(heads, postings, totals, row, session):  # type: ignore[no-untyped-def]
    posting = totals[_POSTINGS]
    place = posting % len(postings)
    postings[place, 0] = session
    postings[place, 1] = heads[row]
    heads[row] = posting
    totals[_POSTINGS] = posting + 1


@njit(cache=True, nogil=True)
def session_votes(index, settings, prefix, prefix_times_ms, n, blocked):  # type: ignore[no-untyped-def]
    """What the sessions most like `prefix` held near the match: at most `n` rows, best first, and their scores.

    Args:
        index: `KnnIndex`; its scratch is clean before and after.
        settings: `KnnSettings`.
        prefix, prefix_times_ms: of the visitor, oldest first.
        blocked: rows left out are True; rows past its end are not blocked.
    """
    last = max(0, len(prefix) - settings.last)
    rows, times_ms = prefix[last:], prefix_times_ms[last:]
    slots, similarities, nearest = neighbours(index, settings, rows, times_ms)
    return _vote(index, settings, rows, slots, similarities, nearest, n, blocked)


@njit(cache=True, nogil=True)
def neighbours(index, settings, prefix, prefix_times_ms):  # type: ignore[no-untyped-def]
    """The nearest sessions: their slots, similarities, and the distance of the newest event they share."""
    held = np.float32(max(1, index.totals[_HELD]))
    walked, lengths = _walk(index, settings.sessions_per_item, prefix)
    scratch = index.session_scratch
    touched = np.empty(lengths.sum(), np.int32)
    count = 0
    for distance in range(len(prefix)):
        if lengths[distance] == 0:
            continue
        row = prefix[len(prefix) - 1 - distance]
        weight = np.exp(-np.float32(distance) / settings.recency) * _power(
            _rarity(held, index.frequencies[row]), settings.rarity
        )
        for i in range(lengths[distance]):
            slot = walked[distance, i]
            if scratch[slot, _SCORE] == 0.0:
                touched[count] = slot
                count += 1
                scratch[slot, _NEAREST] = distance
            elif scratch[slot, _LATEST] == distance:
                # An item that fell out of a long session and came back is linked twice, and counts once.
                continue
            scratch[slot, _LATEST] = distance
            scratch[slot, _SCORE] += weight
    slots, similarities, nearest = np.empty(count, np.int64), np.empty(count, np.float32), np.empty(count, np.int32)
    kept = 0
    for i in range(count):
        slot = touched[i]
        score = scratch[slot, _SCORE]
        scratch[slot, _SCORE] = 0.0
        if _own(index, slot, prefix, prefix_times_ms):
            continue
        slots[kept] = slot
        sessions_ago = np.float32(index.totals[_NEWEST] - index.ring_numbers[slot])
        similarities[kept] = score * np.exp(-sessions_ago / (settings.age * held))
        nearest[kept] = np.int32(scratch[slot, _NEAREST])
        kept += 1
    kept = _keep_largest(slots, similarities, nearest, kept, settings.neighbours)
    for i in range(kept):
        similarities[i] *= np.exp(-np.float32(nearest[i]) / settings.recency)
    return slots[:kept], similarities[:kept], nearest[:kept]


@njit(cache=True, nogil=True)
def _walk(index, sessions_per_item, prefix):  # type: ignore[no-untyped-def]
    """Slots of the newest sessions of each distinct item of `prefix`: one row by distance, and each row's length.

    All chains are followed at once. A step of one waits for memory; one after the other they took three times as long.
    """
    postings, ring_numbers = index.postings, index.ring_numbers
    slots = np.empty((len(prefix), sessions_per_item), np.int32)
    lengths = np.zeros(len(prefix), np.int64)
    following = np.empty(len(prefix), np.int64)
    ahead = np.empty(len(prefix), np.int64)
    oldest = max(0, index.totals[_POSTINGS] - len(postings))
    chains = 0
    for distance in range(len(prefix)):
        row = prefix[len(prefix) - 1 - distance]
        if row < index.items and index.frequencies[row] > 0 and not seen_later(prefix, distance):
            following[chains], ahead[chains] = distance, index.heads[row]
            chains += 1
    while chains > 0:
        going_on = 0
        for i in range(chains):
            distance, posting = following[i], ahead[i]
            if posting < oldest or lengths[distance] == sessions_per_item:
                continue
            place = posting % len(postings)
            session = postings[place, 0]
            slot = session % len(ring_numbers)
            prefetch(postings, postings[place, 1] % len(postings))
            if ring_numbers[slot] == session:
                prefetch(index.session_scratch, slot)
                prefetch(index.ring_times_ms, slot)
                slots[distance, lengths[distance]] = slot
                lengths[distance] += 1
            following[going_on], ahead[going_on] = distance, postings[place, 1]
            going_on += 1
        chains = going_on
    return slots, lengths


@njit(cache=True, nogil=True)
def _keep_largest(slots, similarities, nearest, count, keep):  # type: ignore[no-untyped-def]
    """Move the `keep` most similar to the front, in the order found; of equals the first found stay."""
    if count <= keep:
        return count
    bar = np.partition(similarities[:count], count - keep)[count - keep]
    equals = keep
    for i in range(count):
        if similarities[i] > bar:
            equals -= 1
    kept = 0
    for i in range(count):
        if similarities[i] < bar or (similarities[i] == bar and equals == 0):
            continue
        if similarities[i] == bar:
            equals -= 1
        slots[kept], similarities[kept], nearest[kept] = slots[i], similarities[i], nearest[i]
        kept += 1
    return kept


@njit(cache=True, nogil=True)
def _own(index, slot, prefix, prefix_times_ms):  # type: ignore[no-untyped-def]
    time_ms = index.ring_times_ms[slot]
    if time_ms <= 0:
        return False
    for place in range(len(prefix)):
        # The row is looked up only where the time is the same: hardly ever.
        if prefix_times_ms[place] == time_ms and prefix[place] == index.ring_rows[slot, index.ring_lengths[slot] - 1]:
            return True
    return False


@njit(cache=True, nogil=True)
def _rarity(held, frequency):  # type: ignore[no-untyped-def]
    # The floor keeps an item that is in every session from counting nothing.
    return max(np.float32(1e-3), np.log(held / np.float32(frequency)))


@njit(cache=True, nogil=True)
def _power(base, exponent):  # type: ignore[no-untyped-def]
    # Most settings are 1, and a power costs as much as all the rest of a row's score.
    return base if exponent == 1.0 else base**exponent


@njit(cache=True, nogil=True)
def _vote(index, settings, prefix, slots, similarities, nearest, n, blocked):  # type: ignore[no-untyped-def]
    """Sum what the neighbours held near the match; the best `n` rows, ties by row."""
    ring_rows, item_scores = index.ring_rows, index.item_scores
    fading = np.empty(ring_rows.shape[1], np.float32)
    for steps in range(len(fading)):
        fading[steps] = np.exp(-np.float32(steps) / settings.reach)
    for slot in slots:
        prefetch(ring_rows, slot)
        prefetch(index.ring_lengths, slot)
    touched = np.empty(len(slots) * ring_rows.shape[1], np.int32)
    count = 0
    for i in range(len(slots)):
        slot = slots[i]
        length = index.ring_lengths[slot]
        matched = prefix[len(prefix) - 1 - nearest[i]]
        match = length - 1
        while match >= 0 and ring_rows[slot, match] != matched:
            match -= 1
        if match < 0:
            continue
        for place in range(length):
            if place == match:
                weight = settings.self_weight
            elif place < match:
                weight = fading[match - place - 1] * settings.before
            else:
                weight = fading[place - match - 1]
            row = ring_rows[slot, place]
            if item_scores[row] == 0.0:
                touched[count] = row
                count += 1
            item_scores[row] += similarities[i] * weight
    held = np.float32(max(1, index.totals[_HELD]))
    scores = np.empty(count, np.float32)
    kept = 0
    for i in range(count):
        row = touched[i]
        score = item_scores[row]
        item_scores[row] = 0.0
        if row < len(blocked) and blocked[row]:
            continue
        touched[kept] = row
        scores[kept] = score * _power(_rarity(held, index.frequencies[row]), settings.rarity_answer)
        kept += 1
    return best_among(touched[:kept], scores[:kept], n)
