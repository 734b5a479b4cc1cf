"""The models' lists, ranked anew by trees over what is known of each candidate."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.attention import Attention
from recommender.models.ials import Ials
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import EMPTY, NOTHING_BLOCKED, Blocked, Events, Model, Prefix, Scored, State, grown
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import Transitions
from recommender.ranker.features import DEPTH, Candidates, FeatureSources, describe
from recommender.ranker.trees import Trees, from_arrays, score, to_arrays


class RankedModels(NamedTuple):
    """What the ranker is made of; `attention` may be missing, its list is then empty."""

    popularity: Popularity
    session_knn: SessionKnn
    transitions: Transitions
    ials: Ials
    own_session: OwnSession
    attention: Attention | None = None


class Ranker:
    """Candidates are the union of the lists' first `DEPTH` rows; the answer's scores lie between 0 and 1."""

    name = "ranker"

    def __init__(self, models: RankedModels, trees: Trees) -> None:
        self.models = models
        self.trees = trees
        self._slots = np.full(0, -1, np.int32)

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Every model learns it; the trees stay."""
        for model in self._learning():
            model.update(session, row, kind, time_ms)

    def update_many(self, events: Events, /) -> None:
        """Every model learns them; the trees stay."""
        for model in self._learning():
            model.update_many(events)

    def lists(self, prefix: Prefix, blocked: Blocked) -> tuple[Scored, ...]:
        """One per name of `features.LISTS`."""
        models = self.models
        attention = models.attention.scores(prefix, DEPTH, blocked) if models.attention is not None else EMPTY
        members: tuple[Model, ...] = (models.session_knn, models.transitions, models.ials, models.own_session)
        return (*(member.scores(prefix, DEPTH, blocked) for member in members), attention)

    def describe(self, prefix: Prefix, blocked: Blocked = NOTHING_BLOCKED) -> Candidates:
        """The candidates after `prefix`, which is not empty, and their features."""
        return self.describe_lists(self.lists(prefix, blocked), prefix)

    def describe_lists(self, lists: tuple[Scored, ...], prefix: Prefix) -> Candidates:
        """The same, of lists that are there already."""
        largest = max(int(rows.max(initial=0)) for rows in (prefix.rows, *(scored.rows for scored in lists)))
        self._slots = grown(self._slots, largest + 1, -1)
        return describe(lists, prefix, self.models.ials.vector(prefix), self.sources(), self._slots)

    def sources(self) -> FeatureSources:
        """The models' arrays as the kernel reads them."""
        transitions, popularity = self.models.transitions, self.models.popularity
        return FeatureSources(
            *transitions.followers(),
            *popularity.counts(),
            self.models.ials.factors.vectors,
            transitions.newest_ms,
        )

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The best of the candidates."""
        if len(prefix.rows) == 0:
            return EMPTY
        return self.rank(self.describe(prefix, blocked), n)

    def rank(self, candidates: Candidates, n: int) -> Scored:
        """The best `n` of `candidates`, ties by row."""
        if len(candidates.rows) == 0:
            return EMPTY
        rows, scores = best_of_margins(candidates.rows, score(self.trees, candidates.features), n)
        return Scored(rows, scores)

    def state(self) -> dict[str, NDArray[Any]]:
        """The trees, and every model's state under its name."""
        states = {f"{model.name}.{key}": array for model in self._learning() for key, array in model.state().items()}
        return {**{f"ranker.{key}": array for key, array in to_arrays(self.trees).items()}, **states}

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        for model in self._learning():
            model.load(_part(state, model.name))
        self.trees = from_arrays(_part(state, "ranker"))

    def _learning(self) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model is not None)


def _part(state: State, name: str) -> Mapping[str, NDArray[Any]]:
    mark = f"{name}."
    return {key[len(mark) :]: array for key, array in state.items() if key.startswith(mark)}


@njit(cache=True, nogil=True)
def best_of_margins(rows, margins, n):  # type: ignore[no-untyped-def]
    """The `n` rows of largest margin, ties by row, and the logistic function of it."""
    order = np.argsort(rows)
    order = order[np.argsort(-margins[order], kind="mergesort")][:n]
    scores = np.empty(len(order), np.float32)
    for place in range(len(order)):
        scores[place] = 1.0 / (1.0 + np.exp(-margins[order[place]]))
    return rows[order], scores
