"""The session index of the kNN model and the two steps of an answer, as numba kernels over plain arrays."""

import numpy as np
from numba import njit

from recommender.models.session_ring import append, open_slot
from recommender.scan import insert

_POSTINGS, _NEWEST, _HELD = 0, 1, 2


@njit(cache=True, nogil=True)
def index_events(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, ring_numbers, ring_times_ms, heads, frequencies, posting_sessions, posting_links, totals,
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
            _link(heads, posting_sessions, posting_links, totals, row, sessions[event])


@njit(cache=True, nogil=True)
def index_sessions(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, ring_numbers, ring_times_ms, heads, frequencies, posting_sessions, posting_links, totals,
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
                _link(heads, posting_sessions, posting_links, totals, row, sessions[i])
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
def _link(heads, posting_sessions, posting_links, totals, row, session):  # type: ignore[no-untyped-def]
    posting = totals[_POSTINGS]
    place = posting % len(posting_sessions)
    posting_sessions[place] = session
    posting_links[place] = heads[row]
    heads[row] = posting
    totals[_POSTINGS] = posting + 1


@njit(cache=True, nogil=True)
def neighbours(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, ring_numbers, ring_times_ms, heads, frequencies, posting_sessions, posting_links, totals,
    session_scores, session_nearest, session_latest, prefix, prefix_times_ms, items,
    sessions_per_item, neighbours_max, recency, age, rarity,
):  # fmt: skip
    """The nearest sessions: their slots, similarities, and the distance of the newest event they share."""
    held = np.float32(max(1, totals[_HELD]))
    oldest_posting = totals[_POSTINGS] - len(posting_sessions)
    touched = np.empty(min(len(ring_numbers), sessions_per_item * len(prefix)), np.int64)
    count = 0
    for distance in range(len(prefix)):
        row = prefix[len(prefix) - 1 - distance]
        if row >= items or frequencies[row] <= 0 or _seen_later(prefix, distance):
            continue
        weight = np.exp(-np.float32(distance) / recency) * _rarity(held, frequencies[row]) ** rarity
        posting, walked = heads[row], 0
        while posting >= 0 and posting >= oldest_posting and walked < sessions_per_item:
            place = posting % len(posting_sessions)
            session = posting_sessions[place]
            posting = posting_links[place]
            slot = session % len(ring_numbers)
            if ring_numbers[slot] != session:
                continue
            walked += 1
            if session_scores[slot] == 0.0:
                touched[count] = slot
                count += 1
                session_nearest[slot] = distance
            elif session_latest[slot] == distance:
                # An item that fell out of a long session and came back is linked twice, and counts once.
                continue
            session_latest[slot] = distance
            session_scores[slot] += weight
    slots, similarities, nearest = np.empty(count, np.int64), np.empty(count, np.float32), np.empty(count, np.int32)
    kept = 0
    for i in range(count):
        slot = touched[i]
        score = session_scores[slot]
        session_scores[slot] = 0.0
        if _own(ring_rows, ring_lengths, ring_times_ms, slot, prefix, prefix_times_ms):
            continue
        slots[kept] = slot
        similarities[kept] = score * np.exp(-np.float32(totals[_NEWEST] - ring_numbers[slot]) / (age * held))
        nearest[kept] = session_nearest[slot]
        kept += 1
    kept = _keep_largest(slots, similarities, nearest, kept, neighbours_max)
    for i in range(kept):
        similarities[i] *= np.exp(-np.float32(nearest[i]) / recency)
    return slots[:kept], similarities[:kept], nearest[:kept]


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
def _seen_later(prefix, distance):  # type: ignore[no-untyped-def]
    place = len(prefix) - 1 - distance
    for later in range(place + 1, len(prefix)):  # noqa: SIM110 - numba wants the loop
        if prefix[later] == prefix[place]:
            return True
    return False


@njit(cache=True, nogil=True)
def _own(ring_rows, ring_lengths, ring_times_ms, slot, prefix, prefix_times_ms):  # type: ignore[no-untyped-def]
    time_ms = ring_times_ms[slot]
    if time_ms <= 0:
        return False
    row = ring_rows[slot, ring_lengths[slot] - 1]
    for place in range(len(prefix)):  # noqa: SIM110 - numba wants the loop
        if prefix_times_ms[place] == time_ms and prefix[place] == row:
            return True
    return False


@njit(cache=True, nogil=True)
def _rarity(held, frequency):  # type: ignore[no-untyped-def]
    # The floor keeps an item that is in every session from counting nothing.
    return max(np.float32(1e-3), np.log(held / np.float32(frequency)))


@njit(cache=True, nogil=True)
def vote(  # type: ignore[no-untyped-def]
    ring_rows, ring_lengths, frequencies, totals, item_scores, prefix, slots, similarities, nearest, n, blocked,
    reach, before, self_weight, rarity,
):  # fmt: skip
    """Sum what the neighbours held near the match; the best `n` rows, ties by row."""
    touched = np.empty(len(slots) * ring_rows.shape[1], np.int32)
    count = 0
    for i in range(len(slots)):
        slot = slots[i]
        matched = prefix[len(prefix) - 1 - nearest[i]]
        match = ring_lengths[slot] - 1
        while match >= 0 and ring_rows[slot, match] != matched:
            match -= 1
        if match < 0:
            continue
        for place in range(ring_lengths[slot]):
            if place == match:
                weight = self_weight
            else:
                weight = np.exp(-np.float32(abs(place - match) - 1) / reach)
                if place < match:
                    weight *= before
            row = ring_rows[slot, place]
            if item_scores[row] == 0.0:
                touched[count] = row
                count += 1
            item_scores[row] += similarities[i] * weight
    held = np.float32(max(1, totals[_HELD]))
    rows, scores = np.empty(n, np.int32), np.empty(n, np.float32)
    filled = 0
    for i in range(count):
        row = touched[i]
        score = item_scores[row] * _rarity(held, frequencies[row]) ** rarity
        item_scores[row] = 0.0
        if (row < len(blocked) and blocked[row]) or not score > 0.0:
            continue
        if filled < n or score > scores[n - 1] or (score == scores[n - 1] and row < rows[n - 1]):
            filled = insert(rows, scores, filled, row, score)
    return rows[:filled], scores[:filled]
