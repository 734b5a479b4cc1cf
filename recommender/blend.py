"""Several models' lists as one: max-normalised scores, summed with weights that depend on how long the session is."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from recommender.models.protocol import NOTHING_BLOCKED, Blocked, Events, Model, Prefix, Rows, Scored, Scores, State
from recommender.scan import insert

LENGTHS = (1, 2, 4, 8)
"""Upper ends of the classes of session length, in events; the last class is open."""

Weights = Mapping[str, tuple[float, ...]]
"""Per model name one weight per class of session length."""

WEIGHTS_DEFAULT: Weights = {
    "session-knn": (0.4, 0.2, 0.35, 0.8, 0.3),
    "transitions": (1.0, 0.2, 0.75, 0.3, 1.4),
    "ials": (0.7, 0.35, 0.35, 0.4, 0.3),
    "own-session": (0.5, 0.35, 1.2, 1.3, 0.5),
    # Only ever decides between what nothing else has an opinion on.
    "popularity": (0.001, 0.001, 0.001, 0.001, 0.001),
}
"""Searched on the validation parts of two public sets together, then rounded; see `docs/quality.md`."""


class BlendParameters(msgspec.Struct, frozen=True):
    """Settings.

    Attributes:
        weights: per model name one weight per class of session length (`LENGTHS`).
        depth: how many rows of each model's list are taken.
    """

    weights: Weights = msgspec.field(default_factory=lambda: dict(WEIGHTS_DEFAULT))
    depth: int = 100


def length_class(events: int) -> int:
    """The class of a session of so many events."""
    return int(np.searchsorted(LENGTHS, max(1, events)))


def blend(lists: Sequence[Scored], weights: Sequence[float], n: int) -> Scored:
    """The best `n` rows of the lists' weighted sum, ties by row.

    Args:
        lists: each best first; a list's scores are divided by its first, and what is not above zero counts nothing.
        weights: one per list, >= 0.
        n: >= 1.
    """
    scaled = [
        scored.scores * np.float32(weight / scored.scores[0])
        for scored, weight in zip(lists, weights, strict=True)
        if len(scored.rows) and scored.scores[0] > 0 and weight > 0
    ]
    kept = [
        scored.rows
        for scored, weight in zip(lists, weights, strict=True)
        if len(scored.rows) and scored.scores[0] > 0 and weight > 0
    ]
    if not kept:
        return Scored(np.empty(0, np.int32), np.empty(0, np.float32))
    rows, scores = _sum_by_row(np.concatenate(kept), np.concatenate(scaled), n)
    return Scored(rows, scores)


class Blend:
    """A model made of models; it owns them and passes every event on."""

    name = "blend"

    def __init__(self, models: Sequence[Model], parameters: BlendParameters | None = None) -> None:
        self.models = tuple(models)
        self.parameters = parameters if parameters is not None else BlendParameters()

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Every model learns it."""
        for model in self.models:
            model.update(session, row, kind, time_ms)

    def update_many(self, events: Events, /) -> None:
        """Every model learns them."""
        for model in self.models:
            model.update_many(events)

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The blended list."""
        place = length_class(len(prefix.rows))
        weights = [self._weight(model.name, place) for model in self.models]
        depth = max(n, self.parameters.depth)
        lists = [
            model.scores(prefix, depth, blocked) for model, weight in zip(self.models, weights, strict=True) if weight
        ]
        return blend(lists, [weight for weight in weights if weight], n)

    def state(self) -> dict[str, NDArray[Any]]:
        """Every model's state, under `model.name`."""
        return {f"{model.name}.{key}": array for model in self.models for key, array in model.state().items()}

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        for model in self.models:
            mark = f"{model.name}."
            model.load({key[len(mark) :]: array for key, array in state.items() if key.startswith(mark)})

    def _weight(self, name: str, place: int) -> float:
        weights = self.parameters.weights.get(name)
        return weights[place] if weights is not None else 0.0


@njit(cache=True, nogil=True)
def _sum_by_row(rows, scores, n):  # type: ignore[no-untyped-def]
    order = np.argsort(rows, kind="mergesort")
    best_rows, best_scores = np.empty(n, np.int32), np.empty(n, np.float32)
    filled, place = 0, 0
    while place < len(order):
        row, total = rows[order[place]], np.float32(0.0)
        while place < len(order) and rows[order[place]] == row:
            total += max(np.float32(0.0), scores[order[place]])
            place += 1
        if total > 0.0 and (filled < n or total > best_scores[n - 1]):
            filled = insert(best_rows, best_scores, filled, row, total)
    return best_rows[:filled], best_scores[:filled]


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this module."""
    rows: Rows = np.zeros(1, np.int32)
    scores: Scores = np.ones(1, np.float32)
    blend([Scored(rows, scores)], [1.0], 1)
