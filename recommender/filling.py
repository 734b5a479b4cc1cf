"""An answer while it is made: items in order, none twice, lists one below the other."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from recommender.availability import Availability
from recommender.diversity import diversified
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked, Scored, Scores
from recommender.notes import Notes
from recommender.requests import MinRelevance, Rung
from recommender.shaping import Shaping

_HIGH_RELEVANCE = 0.2
"""Of the best item's score; below it an item is there because n were asked for."""


_NO_LIST: Rung = "none"


class Filling:
    """Takes lists until `n` items are found; scores never grow along it.

    Attributes:
        n: how many are wanted.
        depth: how long a list must be for its best `n` after weighing.
        takes_anything: lists that know nothing of the visitor or the page may fill it up.
        notes: where it is written down what the answer is made of; None in all but the answers that are kept whole.

    Args:
        left_out: ids that may not be in it.
        let_in: an id that may, whatever keeps it out.
    """

    def __init__(
        self,
        n: int,
        left_out: frozenset[str],
        availability: Availability,
        shaping: Shaping | None = None,
        min_relevance: MinRelevance = "low",
        let_in: str | None = None,
    ) -> None:
        self.n = n
        self.depth = n if shaping is None else shaping.depth(n)
        self.takes_anything = min_relevance == "low"
        self._takes_from = _HIGH_RELEVANCE if min_relevance == "high" else 0.0
        self._shaping = shaping
        self.item_ids: list[str] = []
        self.scores: list[float] = []
        self.rungs: list[Rung] = []
        self._left_out = left_out
        self._let_in = let_in
        self._availability = availability
        self._blocked: Blocked | None = None
        self.notes: Notes | None = None

    @property
    def missing(self) -> int:
        """How many more are wanted."""
        return self.n - len(self.item_ids)

    def blocked(self, items: ItemTable) -> Blocked:
        """True for what may not be suggested and for what is in the answer already."""
        if self._blocked is None:
            self._blocked = self._availability.blocked(items, self._left_out)
            if self._shaping is not None:
                self._shaping.block(self._blocked, items)
            row = items.row(self._let_in) if self._let_in is not None else None
            if row is not None:
                self._blocked[row] = False
        return self._blocked

    def passes(self, item_id: str, forgiven: frozenset[str] = frozenset()) -> bool:
        """May it be suggested? For an item that a model may or may not know; `forgiven`: although it is left out."""
        return item_id == self._let_in or (
            (item_id not in self._left_out or item_id in forgiven)
            and self._availability.available(item_id)
            and (self._shaping is None or self._shaping.passes(item_id))
        )

    def extend(self, scored: Scored, items: ItemTable, rung: Rung) -> None:
        """Go on with a list of rows, none of which is blocked."""
        weights = self._shaping.weights(scored.rows, items) if self._shaping is not None else None
        ids = items.ids
        places = self.take([ids[row] for row in scored.rows.tolist()], scored.scores, weights, rung)
        if self._blocked is not None:
            self._blocked[scored.rows[places]] = True

    def extend_named(
        self,
        item_ids: Sequence[str],
        scores: Scores,
        items: ItemTable | None,
        rung: Rung,
        *,
        forgiven: frozenset[str] = frozenset(),
    ) -> None:
        """Go on with a list of ids, best first, of which any may be unknown to the model (`items`) or forbidden."""
        found = set(self.item_ids)
        kept = [
            place for place, item_id in enumerate(item_ids) if item_id not in found and self.passes(item_id, forgiven)
        ]
        ids = [item_ids[place] for place in kept]
        shaping = self._shaping
        weights = np.array([shaping.weight(item_id) for item_id in ids], np.float32) if shaping is not None else None
        taken = [ids[place] for place in self.take(ids, scores[kept], weights, rung)]
        if items is not None and self._blocked is not None:
            rows = [row for item_id in taken if (row := items.row(item_id)) is not None and row < len(self._blocked)]
            self._blocked[rows] = True

    def take(self, item_ids: Sequence[str], scores: Scores, weights: Scores | None, rung: Rung) -> list[int]:
        """The best that are still missing of a list that may be suggested, its scores multiplied by `weights`.

        Returns:
            The places in the list of what was taken, best first.
        """
        if self.notes is not None:
            self.notes.list_came(rung, self.missing, item_ids, scores, weights)
        order = np.arange(len(scores))
        if weights is not None:
            scores = scores * weights
            order = np.argsort(-scores, kind="stable")
            scores = scores[order]
        scores = scores[: self.missing]
        if self._takes_from and len(scores):
            scores = scores[: int((scores >= scores[0] * self._takes_from).sum())]
        places: list[int] = order[: len(scores)].tolist()
        if places:
            self._append([item_ids[place] for place in places], scores, rung)
        return places

    def extend_ids(self, item_ids: Iterable[str], rung: Rung) -> None:
        """Go on with items that nobody has an opinion on, in the order given."""
        taken = set(self.item_ids)
        new: list[str] = []
        for item_id in item_ids:
            if len(new) == self.missing:
                break
            if item_id not in taken and self.passes(item_id):
                taken.add(item_id)
                new.append(item_id)
        self.take(new, np.zeros(len(new), np.float32), None, rung)

    def keep(self, places: Sequence[int]) -> None:
        """Nothing but what stands in `places`, in that order."""
        self.item_ids = [self.item_ids[place] for place in places]
        self.scores = [self.scores[place] for place in places]
        self.rungs = [self.rungs[place] for place in places]

    def put(self, slots: Mapping[int, str]) -> None:
        """Bring items to their slots (from 0), or as near as the list is long; all others close up around them.

        An item that a list has scored keeps its score.
        """
        known = {item_id: at for at, item_id in enumerate(self.item_ids)}
        put = {
            item_id: (self.scores[known[item_id]], self.rungs[known[item_id]])
            for item_id in slots.values()
            if item_id in known
        }
        self.keep([at for item_id, at in known.items() if item_id not in put])
        for slot in sorted(slots):
            score, rung = put.get(slots[slot], (0.0, _NO_LIST))
            self.item_ids.insert(slot, slots[slot])
            self.scores.insert(slot, score)
            self.rungs.insert(slot, rung)

    def share_out(self, n: int, categories: Sequence[int], diversity: float) -> None:
        """No more than `n`, shared out among the categories (one code an item; below 0: none)."""
        scores = np.maximum(np.array(self.scores, np.float32), np.float32(0.0))
        self.keep(diversified(scores, np.array(categories, np.int32), n, diversity=diversity).tolist())
        if self.notes is not None:
            self.notes.diversified(diversity, categories)

    def pin(self, slots: Mapping[int, str], n: int) -> None:
        """`put`, and no more than `n`."""
        self.put(slots)
        if len(self.item_ids) > n:
            self.keep(range(n))
        if self.notes is not None:
            self.notes.pinned(slots)

    def replace(self, place: int, item_id: str) -> None:
        """Another item stands in `place`; no list gave it a score."""
        self.item_ids[place], self.scores[place], self.rungs[place] = item_id, 0.0, _NO_LIST

    def _append(self, item_ids: list[str], scores: Scores, rung: Rung) -> None:
        # Lists of different rungs have different scales; each goes on below where the one before it ended.
        scale = 1.0 if not self.scores else self.scores[-1] / 2.0 / max(float(scores[0]), 1e-9)
        self.item_ids += item_ids
        self.scores += (scores.astype(np.float64) * scale).tolist()
        self.rungs += [rung] * len(item_ids)
