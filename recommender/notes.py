"""Write down what an answer is made of while it is made; only for the answers that are kept whole."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recommender.kept_answer import KEPT_BELOW, KeptAnswer, KeptEvents, KeptList, KeptModels
from recommender.live_model import LiveModel
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked, Prefix, Rows, Scored, Scores
from recommender.requests import Exploration, MinRelevance, Rung
from recommender.told import Candidates, Told


class Notes:
    """One answer's. Call its methods in the order in which things happen."""

    def __init__(self, n: int, min_relevance: MinRelevance) -> None:
        self._n = n
        self._min_relevance = min_relevance
        self._lists: list[KeptList] = []
        self._models: KeptModels | None = None
        # Where in the candidates the items of the list that comes next stand.
        self._places: NDArray[np.intp] = np.empty(0, np.intp)
        self._diversity = 0.0
        self._categories: tuple[int, ...] = ()
        self._pins: dict[int, str] = {}

    def listening(self, model: LiveModel, *, ranks: bool) -> Callable[[Prefix, int, Blocked], Scored]:
        """The ranker's or the blend's list, and beside it what every model said."""

        def suggest(prefix: Prefix, n: int, blocked: Blocked) -> Scored:
            told = model.told(prefix, n, KEPT_BELOW, blocked, ranks=ranks)
            rows = _rows_of(told, n)
            self._models = _kept_models(told, rows, model.items, n)
            self._places = np.searchsorted(rows, told.answer.rows)
            return told.answer

        return suggest

    def list_came(
        self, rung: Rung, wanted: int, item_ids: Sequence[str], scores: Scores, weights: Scores | None
    ) -> None:
        """A list that `wanted` items are taken from, by its scores multiplied by `weights`."""
        models, self._models = self._models, None
        if models is None:
            kept = KeptList(
                rung, wanted, tuple(item_ids), _bytes(scores), _bytes(weights) if weights is not None else b""
            )
        else:
            # The list itself is made of what the models said; only the weights are no part of it.
            by_candidate = np.ones(len(models.item_ids), np.float32)
            if weights is not None:
                by_candidate[self._places] = weights
            kept = KeptList(rung, wanted, weights=_bytes(by_candidate if weights is not None else None), models=models)
        self._lists.append(kept)

    def diversified(self, diversity: float, categories: Sequence[int]) -> None:
        """The slots were shared out among categories, by code; below 0: none."""
        self._diversity, self._categories = diversity, tuple(categories)

    def pinned(self, pins: Mapping[int, str]) -> None:
        """Items by the slot that they were put into."""
        self._pins = dict(pins)

    def kept(
        self, seen: Prefix, items: ItemTable | None, exploration: Exploration | None, given: Mapping[int, str]
    ) -> KeptAnswer:
        """All of it.

        Args:
            seen: what the visitor did, in rows of `items`.
            exploration: slots whose order chance drew.
            given: new items by the slot that chance gave them.
        """
        ids = tuple(items.item_id(row) for row in seen.rows.tolist()) if items is not None else ()
        return KeptAnswer(
            self._n,
            self._min_relevance,
            KeptEvents(ids, tuple(seen.kinds.tolist()), tuple(seen.times_ms.tolist())),
            tuple(self._lists),
            self._diversity,
            self._categories,
            self._pins,
            exploration,
            dict(given),
        )


def _rows_of(told: Told, n: int) -> Rows:
    """Ascending: what was answered, what comes next, and each list's first, which its scores are divided by."""
    parts = [told.answer.rows, told.below, *(found.rows[:1] for found in told.lists)]
    if told.ranked is not None and len(told.ranked.rows) < n:
        # The lists go on below the candidates, and every row of them has a say in it.
        parts += [told.ranked.rows, *(found.rows for found in told.lists)]
    rows: Rows = np.unique(np.concatenate(parts))
    return rows


def _kept_models(told: Told, rows: Rows, items: ItemTable, n: int) -> KeptModels:
    scores = np.zeros((len(told.lists), len(rows)), np.float32)
    for place, found in enumerate(told.lists):
        columns, known = _columns(rows, found.rows)
        # A list ends for the blend where its scores are no longer above zero.
        scores[place, columns] = np.maximum(found.scores[known], np.float32(0.0))
    margins, features = b"", b""
    if told.ranked is not None:
        margins, features = _of_candidates(told.ranked, rows)
    ids = items.ids
    return KeptModels(
        tuple(ids[row] for row in rows.tolist()), n, _bytes(scores), _bytes(told.weights), margins, features
    )


def _of_candidates(ranked: Candidates, rows: Rows) -> tuple[bytes, bytes]:
    columns, known = _columns(rows, ranked.rows)
    margins = np.full(len(rows), np.nan, np.float64)
    margins[columns] = ranked.margins[known]
    features = np.full((len(ranked.features), len(rows)), np.nan, np.float32)
    features[:, columns] = ranked.features[:, known]
    return margins.tobytes(), _bytes(features)


def _columns(rows: Rows, wanted: Rows) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where in `rows` (ascending) those of `wanted` stand that are among them, and which these are."""
    places = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    known = rows[places] == wanted
    return places[known], known


def _bytes(numbers: NDArray[np.float32] | None) -> bytes:
    return b"" if numbers is None else np.ascontiguousarray(numbers, np.float32).tobytes()
