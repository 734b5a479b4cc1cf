"""A visitor as the recommender sees them: their latest deliberate events, oldest first."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

FEATURES_READ: Final = ("visitor:event_items", "visitor:event_times_ms", "visitor:event_kinds")
"""What a history is, as the feature store declares it."""


class History(NamedTuple):
    """A visitor's latest events, oldest first; all but `shown` of the same length n, at most 100.

    Attributes:
        item_ids: the item of each event.
        time_ms: shape (n,), Unix milliseconds, not decreasing.
        kind: shape (n,), `feature_store.kinds.Kind`.
        shown: items suggested to them lately, oldest first; one stands there as often as it was shown.
    """

    item_ids: tuple[str, ...]
    time_ms: NDArray[np.int64]
    kind: NDArray[np.uint8]
    shown: tuple[str, ...] = ()


EMPTY_HISTORY = History((), np.empty(0, np.int64), np.empty(0, np.uint8))
