"""What a visitor leans to: categories and a price, from their latest events, each weighing less as it ages."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.kinds import Kind
from feature_store.prices import log_prices
from feature_store.visitor_record import VisitorRecord

HALF_LIFE_MS: Final = 7 * 86_400_000
KIND_WEIGHTS: Final = {Kind.VIEW: 1.0, Kind.SELECT: 1.0, Kind.ADD_TO_CART: 3.0, Kind.PURCHASE: 5.0}
"""How much an event says of a taste when it is new; kinds that are not here say nothing."""
_WEIGHT_BY_KIND: Final = np.array([KIND_WEIGHTS.get(Kind(k), 0.0) if k else 0.0 for k in range(max(Kind) + 1)])


class PriceAffinity(NamedTuple):
    """The weighted geometric mean of the prices, and the weighted standard deviation of their logarithms."""

    mean: float
    spread: float


def category_affinity(record: VisitorRecord, *, now_ms: int) -> list[tuple[int, float]]:
    """(category number, share) of the visitor's weight, the largest first; empty when no event named a category.

    Over the latest 100 events; the shares add up to 1.
    """
    weights = _weights(record, now_ms)
    known = (record.category_index != 0) & (weights > 0)
    if not known.any():
        return []
    categories, places = np.unique(record.category_index[known], return_inverse=True)
    sums = np.bincount(places, weights=weights[known])
    # Of the events, not of the sums: these are in the order of the numbers, and their total's last bit would be, too.
    shares = sums / weights[known].sum()
    order = np.argsort(-shares, kind="stable")
    return list(zip(categories[order].tolist(), shares[order].tolist(), strict=True))


def price_affinity(record: VisitorRecord, *, now_ms: int) -> PriceAffinity | None:
    """What the visitor's items cost; None when no event named a price. Prices are kept to 4 %."""
    weights = _weights(record, now_ms)
    known = (record.price_code != 0) & (weights > 0)
    if not known.any():
        return None
    logs = log_prices(record.price_code[known])
    mean = float(np.average(logs, weights=weights[known]))
    spread = float(np.sqrt(np.average((logs - mean) ** 2, weights=weights[known])))
    return PriceAffinity(float(np.exp(mean)), spread)


def _weights(record: VisitorRecord, now_ms: int) -> NDArray[np.float64]:
    """Of each event: that of its kind, halved every seven days; 0 for what comes after `now_ms`."""
    ages_ms = now_ms - record.time_ms
    weights = _WEIGHT_BY_KIND[record.kind] * np.exp2(-np.maximum(ages_ms, 0) / HALF_LIFE_MS)
    return np.asarray(np.where(ages_ms >= 0, weights, 0.0))
