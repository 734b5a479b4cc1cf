"""The blend as a server answers with it: every model's list and their sum by one call into compiled code.

Four models called one by one from Python, with their arrays, cost about as much outside their kernels as in them.
"""

from typing import Any

import numpy as np
from numba import njit

from recommender.blend import LENGTHS, BlendParameters
from recommender.fold_in import FoldInSettings
from recommender.models.knn_kernels import KnnIndex, KnnSettings, session_votes
from recommender.models.own_session import OwnSession, OwnSessionSettings, own_rows
from recommender.models.protocol import NOTHING_BLOCKED, Blocked, Prefix, Scored, grown, plain
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import TransitionRows, Transitions, TransitionSettings, followers
from recommender.quantized import ServedIals, ServedVectors, visitor_products
from recommender.scan import best_among
from recommender.told import Told


class ServedBlend:
    """Answers what `Blend` over these models answers; it only reads them, and learns nothing itself."""

    name = "blend"

    def __init__(
        self,
        session_knn: SessionKnn,
        transitions: Transitions,
        ials: ServedIals,
        own_session: OwnSession,
        parameters: BlendParameters,
    ) -> None:
        self._session_knn = session_knn
        self._transitions = transitions
        self._ials = ials
        self._own_session = own_session
        names = (session_knn.name, transitions.name, ials.name, own_session.name)
        nothing = (0.0,) * (len(LENGTHS) + 1)
        weights = [parameters.weights.get(name, nothing) for name in names]
        self._weights = np.array(weights, np.float32).T.copy()
        self._depth = parameters.depth
        self._totals = np.zeros(0, np.float32)

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The blended list."""
        asked = (*self._asked(prefix, n, blocked), self._weights, self._totals, n)
        return Scored(*blended(*asked))

    def told(self, prefix: Prefix, n: int, below: int, blocked: Blocked = NOTHING_BLOCKED) -> Told:
        """`scores`, the `below` rows that come next, and what the list is made of."""
        asked = (*self._asked(prefix, n, blocked), self._weights, self._totals, n + below)
        (rows, scores), lists, weights = _told(*asked)
        return Told(Scored(rows[:n], scores[:n]), rows[n:], tuple(Scored(*found) for found in lists), weights)

    def _asked(self, prefix: Prefix, n: int, blocked: Blocked) -> tuple[Any, ...]:
        """What the kernels take of the models and the visitor."""
        index, rows, vectors = self._session_knn.index(), self._transitions.rows(), self._ials.vectors()
        self._totals = grown(self._totals, max(index.items, rows.items, vectors.items, _rows_end(prefix)))
        # Plain tuples: numba looks the type of a named one up by name, at half a microsecond each.
        return (
            *(tuple(index), tuple(self._session_knn.settings), tuple(rows), tuple(self._transitions.settings)),
            *(tuple(vectors), tuple(self._ials.settings()), tuple(self._own_session.settings)),
            *(plain(prefix.rows, np.int32), plain(prefix.kinds, np.uint8), plain(prefix.times_ms, np.int64)),
            *(max(n, self._depth), blocked),
        )


def _rows_end(prefix: Prefix) -> int:
    # A list's maximum: an array's costs more than the few rows of a visitor.
    return max(prefix.rows.tolist(), default=-1) + 1


@njit(cache=True, nogil=True)
def every_list(  # type: ignore[no-untyped-def]
    index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
    prefix, kinds, times_ms, depth, blocked,
):  # fmt: skip
    """Rows and scores of each model, best first: sessions, transitions, vectors, the visitor's own session."""
    return (
        session_votes(index, knn_settings, prefix, times_ms, depth, blocked),
        followers(rows, transition_settings, prefix, depth, blocked),
        visitor_products(vectors, fold_in_settings, prefix, kinds, depth, blocked),
        own_rows(own_settings, prefix, kinds, depth, blocked),
    )


@njit(cache=True, nogil=True)
def blended(  # type: ignore[no-untyped-def]
    index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
    prefix, kinds, times_ms, depth, blocked, weights, totals, n,
):  # fmt: skip
    """The best `n` rows of the weighted sum of every list, each divided by its first score; ties by row.

    Args:
        index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings: what the models'
            kernels take, as plain tuples.
        weights: shape (classes of session length, models).
        totals: zeros, one for each row; scratch, left as it was found.
    """
    lists = _lists(
        index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
        prefix, kinds, times_ms, depth, blocked,
    )  # fmt: skip
    return sum_of_lists(lists, weights[length_class(len(prefix))], totals, n)


@njit(cache=True, nogil=True)
def _told(  # type: ignore[no-untyped-def]
    index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
    prefix, kinds, times_ms, depth, blocked, weights, totals, n,
):  # fmt: skip
    """`blended`, the lists it is the sum of, and what each counts."""
    lists = _lists(
        index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
        prefix, kinds, times_ms, depth, blocked,
    )  # fmt: skip
    counts = weights[length_class(len(prefix))]
    return sum_of_lists(lists, counts, totals, n), lists, counts


@njit(cache=True, nogil=True)
def _lists(  # type: ignore[no-untyped-def]
    index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
    prefix, kinds, times_ms, depth, blocked,
):  # fmt: skip
    """`every_list`, of plain tuples."""
    return every_list(
        KnnIndex(*index), KnnSettings(*knn_settings), TransitionRows(*rows), TransitionSettings(*transition_settings),
        ServedVectors(*vectors), FoldInSettings(*fold_in_settings), OwnSessionSettings(*own_settings),
        prefix, kinds, times_ms, depth, blocked,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def length_class(events):  # type: ignore[no-untyped-def]
    """`recommender.blend.length_class`, for kernels."""
    place = 0
    while place < len(LENGTHS) and LENGTHS[place] < events:
        place += 1
    return place


@njit(cache=True, nogil=True)
def sum_of_lists(lists, weights, totals, n):  # type: ignore[no-untyped-def]
    """`recommender.blend.blend` of lists that are at hand in compiled code."""
    size = 0
    for found, _ in lists:
        size += len(found)
    touched = np.empty(size, np.int32)
    count = 0
    for number in range(len(lists)):
        found, scores = lists[number]
        if len(found) == 0 or not scores[0] > 0.0 or not weights[number] > 0.0:
            continue
        scale = weights[number] / scores[0]
        for i in range(len(found)):
            # The end of a list may lie below zero, and speaks against nothing.
            if not scores[i] > 0.0:
                break
            row = found[i]
            if totals[row] == 0.0:
                touched[count] = row
                count += 1
            totals[row] += scores[i] * scale
    sums = np.empty(count, np.float32)
    for i in range(count):
        sums[i] = totals[touched[i]]
        totals[touched[i]] = 0.0
    return best_among(touched[:count], sums, n)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    blend = ServedBlend(SessionKnn(), Transitions(), ServedIals(), OwnSession(), BlendParameters())
    seen = Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64))
    blend.scores(seen, 1)
    blend.told(seen, 1, 1)
