"""Is a column of data as it used to be: how much is missing, how far it reaches, how it is distributed."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

BINS: Final = 10
_FLOOR: Final = 1e-4
"""An empty bin counts as this share, so that the index stays finite."""

Column = NDArray[np.float64]


class Profile(msgspec.Struct, frozen=True):
    """One column in a few numbers.

    Attributes:
        name: the column's.
        rows: how many there were.
        null_rate: share without a value.
        low, high: least and greatest value; 0 where there is none.
        edges: inner edges of the bins, at most 9, rising.
        shares: of the values in each bin, one more than edges.
    """

    name: str
    rows: int
    null_rate: float
    low: float
    high: float
    edges: tuple[float, ...]
    shares: tuple[float, ...]


class QualityLimits(msgspec.Struct, frozen=True):
    """How far a column may differ from its baseline.

    Attributes:
        rows_min: fewer say nothing, and nothing is refused.
        null_rate_more: by how much the null rate may rise.
        stability_max: of `population_stability`; 0.1 is a shift, 0.25 a large one, by the usual reading.
        reach_times: by how many of the baseline's breadths values may lie outside of it.
    """

    rows_min: int = 500
    null_rate_more: float = 0.1
    stability_max: float = 0.5
    reach_times: float = 10.0


def profile_of(name: str, values: Column, *, edges: tuple[float, ...] | None = None) -> Profile:
    """Describe a column; NaN is no value. `edges`: a baseline's, to be held against it; None: the deciles."""
    found = values[~np.isnan(values)]
    if edges is None:
        edges = tuple(np.unique(np.quantile(found, np.arange(1, BINS) / BINS)).tolist()) if len(found) else ()
    # A value on an edge belongs to the bin above, so that a column of one value has a bin of its own.
    counts = np.bincount(np.searchsorted(np.array(edges), found, side="right"), minlength=len(edges) + 1)
    shares = tuple((counts / max(1, len(found))).tolist())
    low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 0.0)
    null_rate = 1.0 - len(found) / len(values) if len(values) else 0.0
    return Profile(name, len(values), null_rate, low, high, edges, shares)


def population_stability(expected: tuple[float, ...], got: tuple[float, ...]) -> float:
    """The population stability index of two distributions over the same bins: 0 when they are equal.

    Raises:
        ValueError: they have different numbers of bins.
    """
    if len(expected) != len(got):
        raise ValueError(f"wanted shares of the same bins, got {len(expected)} and {len(got)}; profile with its edges")
    before = np.maximum(np.array(expected), _FLOOR)
    now = np.maximum(np.array(got), _FLOOR)
    return float(((now - before) * np.log(now / before)).sum())


def problems_of(got: Profile, baseline: Profile, limits: QualityLimits) -> list[str]:
    """What is wrong with a column, in sentences; `got` was profiled with the baseline's edges."""
    if got.rows < limits.rows_min or baseline.rows < limits.rows_min:
        return []
    problems = []
    if got.null_rate > baseline.null_rate + limits.null_rate_more:
        problems.append(
            f"{got.name}: wanted at most {baseline.null_rate + limits.null_rate_more:.0%} without a value, "
            f"got {got.null_rate:.0%}; does the sender still send it?"
        )
    breadth = max(baseline.high - baseline.low, abs(baseline.high) * 0.01, 1e-9)
    low, high = baseline.low - limits.reach_times * breadth, baseline.high + limits.reach_times * breadth
    if got.low < low or got.high > high:
        problems.append(
            f"{got.name}: wanted values from {low:g} to {high:g}, got {got.low:g} to {got.high:g}; is a unit wrong?"
        )
    stability = population_stability(baseline.shares, got.shares)
    if stability > limits.stability_max:
        problems.append(
            f"{got.name}: wanted a distribution like the baseline's, with a stability index of at most "
            f"{limits.stability_max:g}; got {stability:.2f}; what has changed since?"
        )
    return problems
