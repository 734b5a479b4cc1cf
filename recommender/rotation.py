"""Whom has which item been suggested to lately: what lets a list change for one who comes back to it."""

from collections import OrderedDict, deque
from collections.abc import Sequence

from prometheus_client import Counter

_ANSWERS_MAX = 10

_FORGOTTEN = Counter("afterclick_recommender_rotation_forgotten_total", "Visitors whose shown items were forgotten")


class Rotation:
    """A memory of this process alone, of visitors whose requests ask for rotation; one longest silent goes first."""

    def __init__(self, *, visitors_max: int) -> None:
        self._visitors_max = visitors_max
        self._shown: OrderedDict[bytes, deque[tuple[int, tuple[str, ...]]]] = OrderedDict()

    def worn(self, visitor: bytes, *, now_ms: int, rate: float, recovery_ms: int) -> dict[str, float]:
        """By item id what is left of its score: `1 - rate` just after it was shown, 1 again after `recovery_ms`.

        Args:
            visitor: the key.
            rate: of 0 (nothing wears) to 1 (what was shown last is worth nothing).
        """
        left: dict[str, float] = {}
        for shown_ms, item_ids in self._shown.get(visitor, ()):
            fresh = 1.0 - (now_ms - shown_ms) / recovery_ms
            if fresh > 0:
                # Answers are in the order of time: the latest one counts.
                left.update(dict.fromkeys(item_ids, 1.0 - rate * min(fresh, 1.0)))
        return left

    def remember(self, visitor: bytes, item_ids: Sequence[str], *, now_ms: int) -> None:
        """`item_ids` were shown to `visitor`."""
        shown = self._shown.setdefault(visitor, deque(maxlen=_ANSWERS_MAX))
        shown.append((now_ms, tuple(item_ids)))
        self._shown.move_to_end(visitor)
        if len(self._shown) > self._visitors_max:
            self._shown.popitem(last=False)
            _FORGOTTEN.inc()
