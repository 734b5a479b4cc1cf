"""Popular and trending items, sorted at most once a second: what every answer can fall back on in microseconds."""

import numpy as np

from recommender.facts import NO_CODE, Facts
from recommender.live_model import LiveModel
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked, Rows, Scored, Scores
from recommender.scan import best_of

_SLACK = 256


class Fallbacks:
    """Sorted lists over one `LiveModel`, made again when the model has changed and they are `refresh_ms` old."""

    def __init__(self, *, rows_max: int, refresh_ms: int) -> None:
        self._rows_max = rows_max
        self._refresh_ms = refresh_ms
        self._model: LiveModel | None = None
        self._made_ms = 0
        self._changes = -1
        self._trending = Scored(np.empty(0, np.int32), np.empty(0, np.float32))
        self._popular = self._trending

    def refresh(self, model: LiveModel, now_ms: int) -> None:
        """Sort again if it is due."""
        same = model is self._model
        if same and (model.changes == self._changes or now_ms - self._made_ms < self._refresh_ms):
            return
        self._model, self._made_ms, self._changes = model, now_ms, model.changes
        self._popular = self._sorted(model.popularity.popular(model.newest_ms), above=0.0)
        self._trending = self._sorted(model.popularity.trending(model.newest_ms), above=0.0)

    def popular(self, n: int, blocked: Blocked) -> Scored:
        """The `n` most popular items that are not blocked; fewer when the sorted list ends before."""
        return _first(self._popular, n, blocked)

    def trending(self, n: int, blocked: Blocked) -> Scored:
        """The `n` that rise most; an item that does not rise is not among them."""
        return _first(self._trending, n, blocked)

    def trending_in(self, category: str, n: int, blocked: Blocked, facts: Facts, items: ItemTable) -> Scored:
        """The `n` that rise most of `category` and all below it."""
        rows, scores = self._trending
        if not len(facts):
            return Scored(rows[:0], scores[:0])
        places = facts.places(items)[rows]
        kept = facts.below(category)[np.where(places >= 0, facts.category[places], NO_CODE)]
        return _first(Scored(rows[kept], scores[kept]), n, blocked)

    def _sorted(self, scores: Scores, *, above: float) -> Scored:
        if len(scores) <= _SLACK:
            return best_of(scores, max(1, len(scores)), above=above)
        keep = min(self._rows_max, len(scores))
        # Insertion into a list of 2,000 would cost more than a partition and one small sort.
        rows = np.argpartition(-scores, keep - 1)[:keep].astype(np.int32)
        rows = rows[np.lexsort((rows, -scores[rows]))]
        rows = rows[scores[rows] > above]
        return Scored(rows, scores[rows])


def remaining(item_count: int, n: int, blocked: Blocked) -> Rows:
    """The first `n` rows that are not blocked: items that no list has anything to say of."""
    return np.flatnonzero(~blocked[:item_count])[:n].astype(np.int32)


def _first(scored: Scored, n: int, blocked: Blocked) -> Scored:
    # Most of the head is free: looking at a little more than n spares the long list.
    for end in (2 * n + _SLACK, len(scored.rows)):
        rows = scored.rows[:end]
        free = np.flatnonzero(~blocked[rows])[:n]
        if len(free) == n:
            break
    return Scored(rows[free], scored.scores[free])
