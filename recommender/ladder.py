"""Choose how dear an answer may be from the time that is left: each rung's measured p99, dearest rung first."""

from collections.abc import Sequence

import numpy as np

from recommender.requests import Rung

RUNGS: tuple[Rung, ...] = ("ranker", "blend", "neighbours", "trending", "popular")
"""Dearest first; the last one is answered whatever the time."""

RANKER, BLEND, NEIGHBOURS, TRENDING, POPULAR = range(5)
"""Places in `RUNGS`."""

_WINDOW = 512
_REFRESH = 32
# A rung that is passed over makes no new measurements; without this one slow minute would close it for ever.
_SKIP_RECOVERY = 0.98


class Ladder:
    """Streaming p99 per rung over its latest 512 answers. One thread.

    Until a rung has 32 measurements its prior stands in: what it cost on a small machine, rounded up.
    """

    def __init__(self, *, prior_ms: Sequence[float] = (4.0, 3.0, 1.0, 0.5, 0.5)) -> None:
        self._durations_ms = np.zeros((len(RUNGS), _WINDOW))
        self._count = [0] * len(RUNGS)
        self._p99_ms = [float(prior) for prior in prior_ms]

    def choose(self, time_left_ms: float, *, dearest: int = 0) -> int:
        """The index in `RUNGS` of the dearest rung, from `dearest` on, whose p99 fits into `time_left_ms`."""
        last = len(RUNGS) - 1
        for rung in range(dearest, last):
            if self._p99_ms[rung] <= time_left_ms:
                return rung
            self._p99_ms[rung] *= _SKIP_RECOVERY
        return last

    def record(self, rung: int, duration_ms: float) -> None:
        """One answer by `RUNGS[rung]` took `duration_ms`."""
        count = self._count[rung]
        self._durations_ms[rung, count % _WINDOW] = duration_ms
        self._count[rung] = count + 1
        if (count + 1) % _REFRESH == 0:
            window = self._durations_ms[rung, : min(count + 1, _WINDOW)]
            self._p99_ms[rung] = float(np.quantile(window, 0.99, method="higher"))

    def p99_ms(self, rung: int) -> float:
        """What `RUNGS[rung]` is taken to cost."""
        return self._p99_ms[rung]
