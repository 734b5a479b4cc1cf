"""Percentiles of times, named and rounded the one way all reports show them."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

SAMPLES_MAX = 2_000_000
"""Times a run keeps, 8 bytes each; a report of more says so instead of guessing."""


class Percentiles(msgspec.Struct, frozen=True):
    """Of `count` times, in milliseconds; all zero for none."""

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p99_9_ms: float
    max_ms: float


def percentiles_of(times_s: Sequence[float] | NDArray[np.float64]) -> Percentiles:
    """Percentiles of times given in seconds, by linear interpolation, rounded to a microsecond."""
    if len(times_s) == 0:
        return Percentiles(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    times_ms = np.asarray(times_s, np.float64) * 1e3
    cuts = np.percentile(times_ms, [50, 90, 99, 99.9])
    mean, *rest = (round(float(value), 3) for value in (times_ms.mean(), *cuts, times_ms.max()))
    return Percentiles(len(times_ms), mean, *rest)
