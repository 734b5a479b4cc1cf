"""A price in one byte: steps of 8 % from a hundredth to a few million, so that a visitor's ring holds one an event."""

from functools import lru_cache
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNKNOWN: Final = 0
_CODE_MAX = 255
_PRICE_MIN = 0.01
_LOG_STEP = log(1.08)


@lru_cache(maxsize=100_000)
def price_code(price: float | None) -> int:
    """1 to 255 for a price above 0, within 4 % from 0.01 to 3 million, the nearer end beyond; 0: unknown."""
    if price is None or price <= 0:
        return UNKNOWN
    return min(max(1 + round(log(price / _PRICE_MIN) / _LOG_STEP), 1), _CODE_MAX)


def log_prices(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The natural logarithm of each price; `codes`, shape (n,), are 1 to 255."""
    return np.asarray(log(_PRICE_MIN) + (codes.astype(np.float64) - 1) * _LOG_STEP)
