"""What is out of the ordinary in the stream: a kind of event that stops, a rush on an item, a price that cannot be.

Each kind of event is held against its own season, the mean rate of each hour of the week, and against its own last half
hour; whichever expects less counts, so that a quiet night and a quiet day are both ordinary. Counts scatter more than
chance alone would have it (shoppers come in bursts): by how much is learnt with the season, and counts are judged as
that many fewer independent ones.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

HOUR_MS: Final = 3_600_000
HOURS_OF_WEEK: Final = 168
WINDOWS_MIN: Final = (1, 5, 15, 30)
"""Minutes looked back over: the first in which enough was expected tells of a stop."""
RECENT_MIN: Final = 30
CHANCE_MAX: Final = 1e-6
"""Looked at every few seconds, this is one false alarm in months for a kind that scatters as it used to."""
SEEN_WEIGHT: Final = 0.3
"""Of a week's hour in the season."""

SURGE_TIMES: Final = 8.0
SURGE_VIEWS_MIN: Final = 40
PRICE_TIMES: Final = 20.0
"""Cents for euros is 100. At 5 a real wholesaler, who sells by the box and by the piece, was told of every week."""
PRICE_SPREADS: Final = 6.0
PRICES_KEPT: Final = 15
PRICES_NEEDED: Final = 5
PRICES_IN_A_ROW: Final = 3

Counts = NDArray[np.float64]


class Season(NamedTuple):
    """One kind's ordinary week.

    Attributes:
        per_minute: shape (168,), mean rate of each hour of the week (UTC, Thursday 0:00 first, as Unix time has it).
        seen: shape (168,), how many of each hour were learnt.
        scatter: variance of a minute's count over its mean, at least 1.
    """

    per_minute: Counts
    seen: NDArray[np.int64]
    scatter: float


class Stop(NamedTuple):
    """A kind that (nearly) stopped: so many came in the last minutes, so many were expected."""

    window_min: int
    expected: float
    got: int


def empty_season() -> Season:
    """Nothing learnt yet: nothing is out of the ordinary."""
    return Season(np.zeros(HOURS_OF_WEEK), np.zeros(HOURS_OF_WEEK, np.int64), 1.0)


def hour_of_week(at_ms: int) -> int:
    """0 to 167."""
    return at_ms // HOUR_MS % HOURS_OF_WEEK


def with_hour(season: Season, at_ms: int, minutes: Counts) -> Season:
    """`season` after an hour that holds `at_ms`, of which `minutes` are the counts, shape (60,); not modified."""
    hour, mean = hour_of_week(at_ms), float(minutes.mean())
    per_minute, seen = season.per_minute.copy(), season.seen.copy()
    weight = SEEN_WEIGHT if seen[hour] else 1.0
    per_minute[hour] += weight * (mean - per_minute[hour])
    seen[hour] += 1
    scatter = season.scatter
    if mean > 0:
        found = max(1.0, float(minutes.var()) / mean)
        # Upwards soon, downwards slowly: a lull must not make the watch nervous.
        scatter += (0.3 if found > scatter else 0.02) * (found - scatter)
    return Season(per_minute, seen, scatter)


def forecast_per_minute(season: Season, at_ms: int) -> float | None:
    """The least that the hour at hand and its neighbours have had; None while that is not known.

    Until a whole week is known, the least of the same hour on two other days stands in.
    """
    hours = [(hour_of_week(at_ms) + step) % HOURS_OF_WEEK for step in (-1, 0, 1)]
    rates = []
    for hour in hours:
        if season.seen[hour]:
            rates.append(season.per_minute[hour])
            continue
        same = [other for other in range(hour % 24, HOURS_OF_WEEK, 24) if season.seen[other]]
        if len(same) < 2:
            return None
        rates.append(min(season.per_minute[other] for other in same))
    return float(min(rates))


def stop_of(season: Season, minutes: Counts, at_ms: int) -> Stop | None:
    """Did the kind stop, or nearly?

    Args:
        season: the kind's.
        minutes: shape (61,), counts of the last minutes up to `at_ms`, oldest first; each exactly 60 s.
        at_ms: now.
    """
    seasonal = forecast_per_minute(season, at_ms)
    if seasonal is None:
        return None
    for window in WINDOWS_MIN:
        before = minutes[-window - RECENT_MIN : -window]
        expected = min(seasonal, float(before.mean())) * window
        got = int(minutes[-window:].sum())
        # Half of what is expected: a shop may have a slow day.
        if _chance_of_at_most(got / season.scatter, expected / 2 / season.scatter) < CHANCE_MAX:
            return Stop(window, expected, got)
    return None


def is_surge(views_1m: int, views_1h: int, views_24h: int, *, shop_times: float) -> bool:
    """Is there a rush on an item, beyond what the whole shop has?

    Args:
        views_1m, views_1h, views_24h: of the item, in the last minute, hour and day.
        shop_times: how many times its rate of the last hour the shop now has.
    """
    before = max((views_1h - views_1m) / 59, (views_24h - views_1m) / 1439)
    return views_1m >= SURGE_VIEWS_MIN and views_1m >= SURGE_TIMES * max(1.0, before) * max(1.0, shop_times)


class PriceOutlier(NamedTuple):
    """An item was told at a price far from what it has cost."""

    item_id: str
    price: float
    usual: float


class PriceWatch:
    """The last prices of each item, in bounded memory.

    One odd price is a row that somebody mistyped, or a box sold for a piece; a broken feed tells it again and again.

    Args:
        items_max: the item told of longest ago is forgotten first.
    """

    def __init__(self, *, items_max: int) -> None:
        self._items_max = items_max
        self._prices: OrderedDict[str, tuple[deque[float], list[float]]] = OrderedDict()

    def observe(self, item_id: str, price: float) -> PriceOutlier | None:
        """Take note of a price above 0; the outlier, when as many odd prices as make one have come in a row.

        They are kept then: where a price moved for good, it is soon the usual one.
        """
        told, odd = self._prices.pop(item_id) if item_id in self._prices else self._new()
        self._prices[item_id] = told, odd
        log_price = math.log(price)
        found = _outlier(item_id, log_price, told)
        if found is None:
            odd.clear()
            told.append(log_price)
            return None
        odd.append(log_price)
        if len(odd) < PRICES_IN_A_ROW:
            return None
        told.extend(odd)
        odd.clear()
        return found

    def _new(self) -> tuple[deque[float], list[float]]:
        if len(self._prices) >= self._items_max:
            self._prices.popitem(last=False)
        return deque(maxlen=PRICES_KEPT), []


def _outlier(item_id: str, log_price: float, told: Sequence[float]) -> PriceOutlier | None:
    if len(told) < PRICES_NEEDED:
        return None
    ordered = sorted(told)
    usual = ordered[len(ordered) // 2]
    spread = sorted(abs(found - usual) for found in told)[len(told) // 2]
    if abs(log_price - usual) <= max(math.log(PRICE_TIMES), PRICE_SPREADS * spread):
        return None
    return PriceOutlier(item_id, math.exp(log_price), math.exp(usual))


def _chance_of_at_most(got: float, expected: float) -> float:
    """Poisson: the chance of `got` or fewer, rounded down, where `expected` come on average."""
    if expected <= 0:
        return 1.0
    term = total = math.exp(-expected)
    for n in range(1, math.floor(got) + 1):
        term *= expected / n
        total += term
        if total >= CHANCE_MAX:
            break
    return total
