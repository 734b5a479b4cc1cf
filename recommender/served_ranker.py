"""The ranker as a server answers with it: every list, the features and the trees by one call into compiled code."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.blend import LENGTHS, BlendParameters
from recommender.fold_in import fold_in_prefix
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import EMPTY, NOTHING_BLOCKED, Blocked, Prefix, Rows, Scored, grown, plain
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import Transitions
from recommender.quantized import ServedIals
from recommender.ranker.attributions import attribute
from recommender.ranker.features import DEPTH, FEATURES, FeatureSources, described
from recommender.ranker.model import RankedModels, Ranker, best_of_margins
from recommender.ranker.trees import LOWEST, Trees, default_trees, scored
from recommender.served_blend import every_list, length_class, sum_of_lists
from recommender.told import Candidates, Told


class ServedRanker:
    """Answers what `Ranker` over these models answers; it only reads them, and learns nothing itself.

    Where more is asked for than there are candidates, the blend of the same lists goes on below them.
    """

    name = "ranker"

    def __init__(
        self,
        session_knn: SessionKnn,
        transitions: Transitions,
        ials: ServedIals,
        own_session: OwnSession,
        popularity: Popularity,
        trees: Trees,
        parameters: BlendParameters,
    ) -> None:
        self._session_knn = session_knn
        self._transitions = transitions
        self._ials = ials
        self._own_session = own_session
        self._popularity = popularity
        self.trees = trees
        names = (session_knn.name, transitions.name, ials.name, own_session.name)
        nothing = (0.0,) * (len(LENGTHS) + 1)
        weights = [parameters.weights.get(name, nothing) for name in names]
        self._weights = np.array(weights, np.float32).T.copy()
        self._totals = np.zeros(0, np.float32)
        self._slots = np.full(0, -1, np.int32)

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The ranked list; scores never grow along it."""
        return Scored(*_ranked(*self._asked(prefix, n, blocked))) if len(prefix.rows) else EMPTY

    def told(self, prefix: Prefix, n: int, below: int, blocked: Blocked = NOTHING_BLOCKED) -> Told:
        """`scores`, the `below` candidates that come next, and what the list is made of; `prefix` is not empty."""
        answer, lists, weights, *ranked = _told(*self._asked(prefix, n, blocked))
        candidates = Candidates(*ranked)
        order = np.lexsort((candidates.rows, -candidates.margins))
        parts = tuple(Scored(*found) for found in lists)
        return Told(Scored(*answer), candidates.rows[order[n : n + below]], parts, weights, candidates)

    def _asked(self, prefix: Prefix, n: int, blocked: Blocked) -> tuple[Any, ...]:
        """What the kernels take of the models, the trees and the visitor."""
        index, rows, vectors = self._session_knn.index(), self._transitions.rows(), self._ials.vectors()
        items = max(index.items, rows.items, vectors.items, int(prefix.rows.max()) + 1)
        self._totals = grown(self._totals, items)
        self._slots = grown(self._slots, items, -1)
        return (
            *(index, self._session_knn.settings, rows, self._transitions.settings),
            *(vectors, self._ials.settings(), self._own_session.settings),
            *(plain(prefix.rows, np.int32), plain(prefix.kinds, np.uint8), plain(prefix.times_ms, np.int64)),
            *(n, blocked, self._weights, self._totals, self._slots, self.sources()),
            *(self.trees.features, self.trees.thresholds, self.trees.lefts, self.trees.leaves, LOWEST),
        )

    def attributions(self, prefix: Prefix, rows: Rows, blocked: Blocked = NOTHING_BLOCKED) -> NDArray[np.float64]:
        """Shape (len(rows), len(FEATURES)): each feature's Shapley value; zeros for a row that is no candidate."""
        models = RankedModels(self._popularity, self._session_knn, self._transitions, self._ials, self._own_session)
        candidates = Ranker(models, self.trees).describe(prefix, blocked)
        place_of = {row: place for place, row in enumerate(candidates.rows.tolist())}
        known = [number for number, row in enumerate(rows.tolist()) if row in place_of]
        told = np.zeros((len(rows), len(FEATURES)))
        if known:
            columns = candidates.features[:, [place_of[row] for row in rows[known].tolist()]]
            told[known] = attribute(self.trees, columns).values
        return told

    def sources(self) -> FeatureSources:
        """The models' arrays as the features are made of."""
        transitions = self._transitions
        return FeatureSources(
            *transitions.followers(), *self._popularity.counts(), self._ials.factors.vectors, transitions.newest_ms
        )


@njit(cache=True, nogil=True)
def _ranked(  # type: ignore[no-untyped-def]
    index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
    prefix, kinds, times_ms, n, blocked, weights, totals, slots, sources,
    tree_features, thresholds, lefts, leaves, lowest,
):  # fmt: skip
    lists, candidates, _, margins = _described(
        index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
        prefix, kinds, times_ms, n, blocked, slots, sources, tree_features, thresholds, lefts, leaves, lowest,
    )  # fmt: skip
    return best_of_lists(lists, candidates, margins, weights[length_class(len(prefix))], totals, slots, n)


@njit(cache=True, nogil=True)
def _told(  # type: ignore[no-untyped-def]
    index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
    prefix, kinds, times_ms, n, blocked, weights, totals, slots, sources,
    tree_features, thresholds, lefts, leaves, lowest,
):  # fmt: skip
    """`_ranked`, the lists and what each counts where they go on below the candidates, and the candidates."""
    lists, candidates, features, margins = _described(
        index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
        prefix, kinds, times_ms, n, blocked, slots, sources, tree_features, thresholds, lefts, leaves, lowest,
    )  # fmt: skip
    counts = weights[length_class(len(prefix))]
    answer = best_of_lists(lists, candidates, margins, counts, totals, slots, n)
    return answer, lists, counts, candidates, features, margins


@njit(cache=True, nogil=True)
def _described(  # type: ignore[no-untyped-def]
    index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
    prefix, kinds, times_ms, n, blocked, slots, sources, tree_features, thresholds, lefts, leaves, lowest,
):  # fmt: skip
    lists = every_list(
        index, knn_settings, rows, transition_settings, vectors, fold_in_settings, own_settings,
        prefix, kinds, times_ms, max(n, DEPTH), blocked,
    )  # fmt: skip
    vector = fold_in_prefix(vectors.gram, vectors.exact, vectors.items, prefix, kinds, fold_in_settings)
    no_attention = (np.empty(0, np.int32), np.empty(0, np.float32))
    candidates, features = described((*lists, no_attention), prefix, kinds, vector, sources, slots)
    return lists, candidates, features, scored(tree_features, thresholds, lefts, leaves, lowest, features)


@njit(cache=True, nogil=True)
def best_of_lists(lists, candidates, margins, weights, totals, slots, n):  # type: ignore[no-untyped-def]
    """The `n` candidates of largest margin; where there are fewer, the sum of the lists goes on below them.

    Args:
        lists: a tuple of (rows, scores), one for each of `weights`.
        candidates, margins: shapes (c,).
        totals, slots: zeros and -1, one for each row; scratch, left as it was found.
    """
    found, scores = best_of_margins(candidates, margins, n)
    if len(found) == n:
        return found, scores
    more, more_scores = sum_of_lists(lists, weights, totals, n + len(found))
    return _followed_by(found, scores, more, more_scores, n, slots)


@njit(cache=True, nogil=True)
def _followed_by(found, scores, more, more_scores, n, slots):  # type: ignore[no-untyped-def]
    """`found`, then those of `more` that are not in it, scaled to begin below its end."""
    rows, values = np.empty(n, np.int32), np.empty(n, np.float32)
    filled = len(found)
    rows[:filled], values[:filled] = found, scores
    for row in found:
        slots[row] = 0
    scale = np.float32(-1.0)
    for place in range(len(more)):
        if filled == n:
            break
        if slots[more[place]] >= 0:
            continue
        if scale < 0.0:
            end = values[filled - 1] if filled > 0 else np.float32(1.0)
            scale = np.float32(0.5) * end / max(more_scores[place], np.float32(1e-9))
        rows[filled], values[filled] = more[place], more_scores[place] * scale
        filled += 1
    for row in found:
        slots[row] = -1
    return rows[:filled], values[:filled]


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    knn, transitions, popularity = SessionKnn(), Transitions(), Popularity()
    ranker = ServedRanker(knn, transitions, ServedIals(), OwnSession(), popularity, default_trees(), BlendParameters())
    for model in (knn, transitions, popularity):
        model.update(0, 0, 1, 1)
        model.update(0, 1, 1, 2)
    seen = Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64))
    ranker.attributions(seen, ranker.scores(seen, 1).rows)
    ranker.told(seen, 1, 1)
