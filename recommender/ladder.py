"""Choose how dear an answer may be: by the time it has left, and by how many others wait for the same core."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from recommender.requests import Rung

RUNGS: tuple[Rung, ...] = ("ranker", "blend", "neighbours", "trending", "popular")
"""Dearest first; the last one is answered whatever the time."""

RANKER, BLEND, NEIGHBOURS, TRENDING, POPULAR = range(5)
"""Places in `RUNGS`."""

Shortage = Literal["budget", "load"]
"""Why a dearer rung was passed over: too little time left, or too many waiting behind it."""

_WINDOW = 512
_REFRESH = 32
# A rung that is passed over makes no new measurements; without this one slow minute would close it for ever.
_SKIP_RECOVERY = 0.98
# A prior tells a p99; means are about a quarter of it.
_PRIOR_MEAN = 0.25


class Chosen(NamedTuple):
    """A place in `RUNGS`, and what kept the one above it from being chosen (None: nobody wanted it)."""

    rung: int
    short: Shortage | None


class Ladder:
    """Streaming p99 and mean per rung over its latest 512 answers. One thread.

    Until a rung has 32 measurements its prior stands in: what it cost on a small machine, rounded up.

    Args:
        crowd_ms: how long all who wait may have to wait for each other's lists together. The queue of one core grows
            without end once answers take longer than requests take to come; cheaper lists are how it stays short.
    """

    def __init__(
        self, *, prior_ms: Sequence[float] = (4.0, 3.0, 1.0, 0.5, 0.5), crowd_ms: float = float("inf")
    ) -> None:
        self._durations_ms = np.zeros((len(RUNGS), _WINDOW))
        self._count = [0] * len(RUNGS)
        self._p99_ms = [float(prior) for prior in prior_ms]
        self._mean_ms = [_PRIOR_MEAN * prior for prior in prior_ms]
        self._crowd_ms = crowd_ms

    def choose(self, time_left_ms: float, *, dearest: int = 0, waiting: int = 1) -> Chosen:
        """The dearest rung, from `dearest` on, whose p99 fits into `time_left_ms`.

        And whose mean for each of the `waiting`, this one among them, fits into `crowd_ms`; that alone makes nobody do
        without lists of their own, so it goes no further down than `neighbours`. Who waits alone measures the dearest
        anew, however slow it was last.
        """
        short: Shortage | None = None
        for rung in range(dearest, POPULAR):
            if self._p99_ms[rung] > time_left_ms:
                short = "budget"
                self._p99_ms[rung] *= _SKIP_RECOVERY
            elif rung < NEIGHBOURS and waiting > 1 and self._mean_ms[rung] * waiting > self._crowd_ms:
                short = "load"
            else:
                return Chosen(rung, short)
        return Chosen(POPULAR, short)

    def record(self, rung: int, duration_ms: float) -> None:
        """One answer by `RUNGS[rung]` took `duration_ms`."""
        count = self._count[rung]
        self._durations_ms[rung, count % _WINDOW] = duration_ms
        self._count[rung] = count + 1
        if (count + 1) % _REFRESH == 0:
            window = self._durations_ms[rung, : min(count + 1, _WINDOW)]
            self._p99_ms[rung] = float(np.quantile(window, 0.99, method="higher"))
            self._mean_ms[rung] = float(window.mean())

    def p99_ms(self, rung: int) -> float:
        """What `RUNGS[rung]` is taken to cost at most."""
        return self._p99_ms[rung]
