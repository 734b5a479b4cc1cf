"""What the ranker sees of each candidate: one kernel for training and for serving, so that the two cannot drift apart.

Every feature is free of a shop's scale where it can be (shares, ranks, ratios), so that trees fitted on one shop mean
something in another.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import KIND_WEIGHT, Prefix, Rows, Scored, Scores, plain

LISTS = ("session-knn", "transitions", "ials", "own-session", "attention")
"""The models whose lists give candidates; one that is absent gives an empty list."""

DEPTH = 60
"""Rows taken of each list: 85 to 95 distinct ones together hold the next item in .77 to .87 of cases."""

FEATURES = (
    *(f"{name}.{part}" for name in LISTS for part in ("score", "rank")),
    "lists",
    "popularity",
    "popularity_share",
    "trend",
    "quiet_hours",
    "distance",
    "session_count",
    "session_weight",
    "follows_last",
    "leads_to_last",
    "follows_any",
    "follows_count",
    "returns",
    "last_returns",
    "factor_score",
    "factor_last",
    "factor_session",
    "events",
    "distinct_share",
    "last_popularity",
    "last_support",
    "last_sureness",
    "candidates",
)
"""In the order of the kernel's rows; a file of trees names them, and is refused under other names."""

_AGREE = 2 * len(LISTS)
_KIND_WEIGHT = KIND_WEIGHT.copy()
_ABSENT_RANK = np.float32(DEPTH + 40)
_FAR = np.float32(100.0)
_EVENTS_MAX = 8
_STEP_DECAY = np.float32(0.5)
_HOUR_MS = 3_600_000.0
_FAST = {"reassoc", "contract", "nsz", "arcp"}


class FeatureSources(NamedTuple):
    """Arrays of the live models, read in place.

    Attributes:
        neighbours, weights, sums, followed_ms: of the transitions, by row: followers (-1: none), their weights, the sum
            of all weights, as of when.
        transition_half_life_ms: of those.
        counts, counted_ms: of the popularity, shape (n, 2) and (n,).
        half_lives_ms: shape (2,), of the slow and the fast count.
        vectors: shape (n, f), item factors.
        newest_ms: time of the newest event learnt.
    """

    neighbours: Rows
    weights: Scores
    sums: Scores
    followed_ms: NDArray[np.int64]
    transition_half_life_ms: float
    counts: NDArray[np.float64]
    counted_ms: NDArray[np.int64]
    half_lives_ms: NDArray[np.float64]
    vectors: NDArray[np.float32]
    newest_ms: int


class Candidates(NamedTuple):
    """`rows`: shape (c,), distinct, in the order the lists name them; `features`: shape (len(FEATURES), c)."""

    rows: Rows
    features: NDArray[np.float32]


def describe(
    lists: tuple[Scored, ...], prefix: Prefix, vector: NDArray[np.float32], sources: FeatureSources, slots: Rows
) -> Candidates:
    """The union of the lists' first `DEPTH` rows that score above zero, and what is known of each.

    Args:
        lists: one per name of `LISTS`, best first.
        prefix: the visitor's, not empty.
        vector: shape (f,), the visitor folded in; zeros when that is not known.
        sources: of the models that made the lists.
        slots: -1 for every row that a list or the prefix may name; scratch, left as it was found.
    """
    rows, features = described(
        tuple((scored.rows, scored.scores) for scored in lists),
        *(plain(prefix.rows, np.int32), plain(prefix.kinds, np.uint8), vector, sources, slots),
    )
    return Candidates(rows, features)


@njit(cache=True, nogil=True)
def described(lists, prefix, kinds, vector, sources, slots):  # type: ignore[no-untyped-def]
    """`describe`, for kernels that have the lists at hand: `lists` is a tuple of (rows, scores)."""
    rows = _gather(lists, slots)
    features = np.zeros((len(FEATURES), len(rows)), np.float32)
    _from_lists(features, lists, slots)
    _from_counts(features, rows, prefix[-1], sources)
    _from_session(features, slots, prefix, kinds)
    _from_transitions(features, rows, slots, prefix, sources)
    _from_factors(features, rows, prefix, vector, sources.vectors)
    features[_AGREE + 22, :] = len(rows)
    for row in rows:
        slots[row] = -1
    return rows, features


@njit(cache=True, nogil=True)
def _gather(lists, slots):  # type: ignore[no-untyped-def]
    rows = np.empty(DEPTH * len(lists), np.int32)
    count = 0
    for place in range(len(lists)):
        listed, scores = lists[place]
        for rank in range(min(DEPTH, len(listed))):
            # The end of a list may lie below zero: it speaks for nothing there, as in the blend.
            if not scores[rank] > 0.0:
                break
            row = listed[rank]
            if slots[row] < 0:
                slots[row] = count
                rows[count] = row
                count += 1
    return rows[:count]


@njit(cache=True, nogil=True)
def _from_lists(features, lists, slots):  # type: ignore[no-untyped-def]
    for place in range(len(lists)):
        features[2 * place + 1, :] = _ABSENT_RANK
        listed, scores = lists[place]
        for rank in range(min(DEPTH, len(listed))):
            if not scores[rank] > 0.0:
                break
            slot = slots[listed[rank]]
            top = max(scores[0], np.float32(1e-9))
            features[2 * place, slot] = scores[rank] / top
            features[2 * place + 1, slot] = rank
            features[_AGREE, slot] += 1.0


@njit(cache=True, nogil=True)
def _aged(sources, row, which):  # type: ignore[no-untyped-def]
    if row >= len(sources.counts):
        return 0.0
    age_ms = max(0, sources.newest_ms - sources.counted_ms[row])
    return sources.counts[row, which] * 2.0 ** (-age_ms / sources.half_lives_ms[which])


@njit(cache=True, nogil=True)
def _from_counts(features, rows, last, sources):  # type: ignore[no-untyped-def]
    largest = np.float32(0.0)
    speed = sources.half_lives_ms[0] / sources.half_lives_ms[1]
    for slot in range(len(rows)):
        row = rows[slot]
        slow = _aged(sources, row, 0)
        fast = _aged(sources, row, 1)
        features[_AGREE + 1, slot] = np.log1p(slow)
        largest = max(largest, features[_AGREE + 1, slot])
        features[_AGREE + 3, slot] = np.log((fast * speed + 1.0) / (slow + 1.0))
        if row < len(sources.counted_ms):
            features[_AGREE + 4, slot] = np.log1p(max(0, sources.newest_ms - sources.counted_ms[row]) / _HOUR_MS)
    for slot in range(len(rows)):
        features[_AGREE + 2, slot] = features[_AGREE + 1, slot] - largest
    features[_AGREE + 19, :] = np.log1p(_aged(sources, last, 0))


@njit(cache=True, nogil=True)
def _from_session(features, slots, prefix, kinds):  # type: ignore[no-untyped-def]
    features[_AGREE + 5, :] = _FAR
    distinct = 0
    for place in range(len(prefix)):
        row = prefix[place]
        seen = False
        for before in range(place):
            seen = seen or prefix[before] == row
        if not seen:
            distinct += 1
        slot = slots[row]
        if slot < 0:
            continue
        features[_AGREE + 5, slot] = len(prefix) - 1 - place
        features[_AGREE + 6, slot] += 1.0
        features[_AGREE + 7, slot] = max(features[_AGREE + 7, slot], _KIND_WEIGHT[kinds[place]])
    features[_AGREE + 17, :] = len(prefix)
    features[_AGREE + 18, :] = np.float32(distinct) / np.float32(len(prefix))


@njit(cache=True, nogil=True)
def _from_transitions(features, rows, slots, prefix, sources):  # type: ignore[no-untyped-def]
    neighbours, weights, sums = sources.neighbours, sources.weights, sources.sums
    last = prefix[-1]
    for distance in range(min(_EVENTS_MAX, len(prefix))):
        row = prefix[len(prefix) - 1 - distance]
        if row >= len(sums) or sums[row] <= 0.0:
            continue
        say = np.exp(-_STEP_DECAY * np.float32(distance)) / sums[row]
        for place in range(neighbours.shape[1]):
            neighbour = neighbours[row, place]
            if neighbour < 0:
                break
            slot = slots[neighbour]
            if slot < 0:
                continue
            if distance == 0:
                features[_AGREE + 8, slot] = weights[row, place] / sums[row]
            features[_AGREE + 10, slot] += say * weights[row, place]
            features[_AGREE + 11, slot] += 1.0
    sureness = np.float32(0.0)
    for slot in range(len(rows)):
        row = rows[slot]
        sureness = max(sureness, features[_AGREE + 8, slot])
        if row >= len(sums) or sums[row] <= 0.0:
            continue
        back, again = _places(neighbours[row], last, row)
        if back >= 0:
            features[_AGREE + 9, slot] = weights[row, back] / sums[row]
        if again >= 0:
            features[_AGREE + 12, slot] = weights[row, again] / sums[row]
    features[_AGREE + 21, :] = sureness
    if last < len(sums) and sums[last] > 0.0:
        age_ms = max(0, sources.newest_ms - sources.followed_ms[last])
        features[_AGREE + 20, :] = np.log1p(sums[last] * 2.0 ** (-age_ms / sources.transition_half_life_ms))
        again, _ = _places(neighbours[last], last, last)
        if again >= 0:
            features[_AGREE + 13, :] = weights[last, again] / sums[last]


@njit(cache=True, nogil=True)
def _places(listed, first, second):  # type: ignore[no-untyped-def]
    """Where two rows stand in `listed`, -1 where they do not. No early end: so the compiler makes vectors of it."""
    first_at, second_at = np.int32(-1), np.int32(-1)
    for place in range(len(listed)):
        first_at = max(first_at, np.int32(place) if listed[place] == first else np.int32(-1))
        second_at = max(second_at, np.int32(place) if listed[place] == second else np.int32(-1))
    return first_at, second_at


@njit(cache=True, nogil=True, fastmath=_FAST)
def _from_factors(features, rows, prefix, vector, vectors):  # type: ignore[no-untyped-def]
    size = vectors.shape[1]
    last, session = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for distance in range(min(_EVENTS_MAX, len(prefix))):
        row = prefix[len(prefix) - 1 - distance]
        if row >= len(vectors):
            continue
        norm = np.float32(0.0)
        for f in range(size):
            norm += vectors[row, f] * vectors[row, f]
        if norm <= 0.0:
            continue
        scale = np.float32(1.0) / np.sqrt(norm)
        say = scale * np.exp(-np.float32(0.25) * np.float32(distance))
        for f in range(size):
            session[f] += say * vectors[row, f]
            if distance == 0:
                last[f] = scale * vectors[row, f]
    length = np.float32(0.0)
    for f in range(size):
        length += session[f] * session[f]
    if length > 0.0:
        for f in range(size):
            session[f] /= np.sqrt(length)
    best = np.float32(1e-9)
    for slot in range(len(rows)):
        row = rows[slot]
        if row >= len(vectors):
            continue
        score, along_last, along_session, norm = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for f in range(size):
            value = vectors[row, f]
            score += value * vector[f]
            along_last += value * last[f]
            along_session += value * session[f]
            norm += value * value
        if norm <= 0.0:
            continue
        scale = np.float32(1.0) / np.sqrt(norm)
        features[_AGREE + 14, slot] = score
        features[_AGREE + 15, slot] = along_last * scale
        features[_AGREE + 16, slot] = along_session * scale
        best = max(best, score)
    for slot in range(len(rows)):
        features[_AGREE + 14, slot] /= best
