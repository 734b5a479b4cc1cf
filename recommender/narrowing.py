"""What one request's filters, boosters and wear come to: a mask over the rows, and weights on their scores."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recommender.errors import ExpressionError
from recommender.filters import Booster, Columns, Filter, Filters
from recommender.live_model import LiveModel
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Blocked, Rows, Scores
from recommender.requests import RecommendRequest

_DEPTH_MIN = 200
_DEPTH_FACTOR = 3


class Narrowing:
    """Reads requests' expressions over the catalogue's columns, and keeps the model's features in them.

    Args:
        refresh_ms: how old `popularity` and `trend` may be.
    """

    def __init__(self, columns: Columns, *, refresh_ms: int) -> None:
        self.columns = columns
        self.filters = Filters()
        self._refresh_ms = refresh_ms
        self._features_of: LiveModel | None = None
        self._features_ms = 0

    def of(self, request: RecommendRequest, model: LiveModel | None, now_ms: int) -> "Narrowed | None":
        """None for a request that asks for nothing of the kind.

        Raises:
            ExpressionError: a filter or booster cannot be read; `parameter` says which.
        """
        if not (request.filters or request.boosters or request.worn):
            return None
        filters = [self._read("filter", text) for text in request.filters]
        boosters = [self._read("booster", text) for text in request.boosters]
        if model is not None and any(expression.features for expression in (*filters, *boosters)):
            self.refresh_features(model, now_ms)
        return Narrowed(
            self.columns,
            [found for found in filters if isinstance(found, Filter)],
            [found for found in boosters if isinstance(found, Booster)],
            request.worn,
            request.item,
        )

    def _read(self, parameter: str, text: str) -> Filter | Booster:
        try:
            return self.filters.filter(text) if parameter == "filter" else self.filters.booster(text)
        except ExpressionError as error:
            error.parameter = parameter
            raise

    def refresh_features(self, model: LiveModel, now_ms: int) -> None:
        """Take over what is popular and what rises, if it is due."""
        if model is self._features_of and now_ms - self._features_ms < self._refresh_ms:
            return
        self._features_of, self._features_ms = model, now_ms
        self.columns.put_feature("popularity", model.items, model.popularity.popular(model.newest_ms))
        self.columns.put_feature("trend", model.items, model.popularity.trending(model.newest_ms))


class Narrowed:
    """One request's; `worn`: item id to what is left of its score."""

    def __init__(
        self,
        columns: Columns,
        filters: list[Filter],
        boosters: list[Booster],
        worn: Mapping[str, float],
        current: str | None,
    ) -> None:
        self._columns = columns
        self._filters = filters
        self._boosters = boosters
        self._worn = worn
        self._current = current
        self._masks: list[NDArray[np.bool_]] | None = None
        self._unknown = 0

    def depth(self, n: int) -> int:
        """How long a list must be for its best `n` after weighing: what lies far below is not lifted by any weight."""
        return max(n * _DEPTH_FACTOR, _DEPTH_MIN) if self._boosters or self._worn else n

    def block(self, blocked: Blocked, items: ItemTable) -> None:
        """Block what a filter does not let pass. `blocked`: shape (len(items),), changed."""
        for found in self._filters:
            np.logical_or(blocked, ~found.mask_on(self._columns, items, current=self._current), out=blocked)

    def passes(self, item_id: str) -> bool:
        """The same for one item that perhaps no model knows."""
        place = self._columns.facts.items.row(item_id)
        if self._masks is None:
            # Made once: the masks of a filter that asks for the page's item are not kept with the filter.
            self._unknown = self._columns.unknown_place()
            self._masks = [found.mask(self._columns, current=self._current) for found in self._filters]
        if place is None:
            place = self._unknown
        return all(bool(mask[place]) for mask in self._masks)

    def weight(self, item_id: str) -> float:
        """What one item's score is multiplied by, known to a model or not."""
        place = self._columns.facts.items.row(item_id)
        weight = self._worn.get(item_id, 1.0)
        for booster in self._boosters if place is not None else ():
            weight *= float(booster.weights(self._columns, current=self._current)[place])
        return weight

    def weights(self, rows: Rows, items: ItemTable) -> Scores | None:
        """What the scores of `rows` are multiplied by; None: by nothing."""
        if not (self._boosters or self._worn):
            return None
        weights: Scores = np.ones(len(rows), np.float32)
        for booster in self._boosters:
            weights *= booster.weights_on(self._columns, items, current=self._current)[rows]
        for item_id, left in self._worn.items():
            row = items.row(item_id)
            if row is not None:
                weights[rows == row] *= np.float32(left)
        return weights
