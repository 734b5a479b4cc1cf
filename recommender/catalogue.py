"""The catalogue as answers need it: facts, what may be suggested at all, what is alike; fed product by product."""

from collections.abc import Iterable

import numpy as np

from ingest.catalog import Product
from recommender.availability import Availability
from recommender.facts import Facts, levels
from recommender.filters import Columns
from recommender.history import History
from recommender.models.content import Content
from recommender.models.protocol import KIND_WEIGHT, NOTHING_BLOCKED, Blocked, Prefix, Rows, Scores

AVAILABILITY, PRICE_ZERO, EXCLUDED_CATEGORY = "availability", "price-zero", "excluded-category"


class Catalogue:
    """One process's view of all products.

    Args:
        excluded_categories: never suggested (gift cards); by any level of a product's category, capitals aside.
    """

    def __init__(self, excluded_categories: Iterable[str] = ()) -> None:
        self.columns = Columns()
        self.availability = Availability()
        self.content = Content()
        self._excluded = frozenset(name.casefold() for name in excluded_categories)

    @property
    def facts(self) -> Facts:
        """What the shop says, as columns."""
        return self.columns.facts

    def describe(self, item_id: str, product: Product | None) -> None:
        """The shop's word on one item, from now on; None: it took the product out, and nothing is known any more."""
        self.columns.put(item_id, product)
        self.availability.set_rule(item_id, self._rule(product) if product is not None else None)
        place = self.facts.items.row(item_id)
        if place is not None:
            self.content.describe(place, product)

    def places_of(self, history: History, page_item: str | None) -> Rows:
        """The places of the newest items a visitor saw, the page's own last; items nobody described have none."""
        find, wanted = self.facts.items.row, self.content.parameters.last
        places: list[int] = []
        page_place = find(page_item) if page_item is not None else None
        if page_place is not None:
            places.append(page_place)
        for event in range(len(history.item_ids) - 1, -1, -1):
            if len(places) >= wanted:
                break
            place = find(history.item_ids[event])
            if place is not None and place not in places and KIND_WEIGHT[history.kind[event]] > 0:
                places.append(place)
        return np.array(places[::-1], np.int32)

    def alike(self, places: Rows, n: int, blocked: Blocked = NOTHING_BLOCKED) -> tuple[list[str], Scores]:
        """At most `n` item ids and scores, best first, of what is like the items in `places`, the last saying most.

        `blocked`: by place.
        """
        if not len(places):
            return [], np.empty(0, np.float32)
        asked = Prefix(places, np.ones(len(places), np.uint8), np.zeros(len(places), np.int64))
        found = self.content.scores(asked, n, blocked)
        ids = self.facts.items.ids
        return [ids[place] for place in found.rows.tolist()], found.scores

    def _rule(self, product: Product) -> str | None:
        if not product.available:
            return AVAILABILITY
        if product.price is not None and product.price <= 0:
            return PRICE_ZERO
        if self._excluded and product.category:
            named = {name.casefold() for level in levels(product.category) for name in (level, level.split(" > ")[-1])}
            if not self._excluded.isdisjoint(named):
                return EXCLUDED_CATEGORY
        return None
