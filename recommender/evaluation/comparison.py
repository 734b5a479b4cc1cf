"""Is one model better than another? The same questions to both, and a bootstrap over sessions of the difference."""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both models.

    Attributes:
        first, second: the means.
        gain: second - first.
        standard_error: of the gain.
        low, high: its 95 % interval, percentiles of the bootstrap.
        p_value: two-sided, of there being no difference; never below 2 / (resamples + 1).
    """

    first: float
    second: float
    gain: float
    standard_error: float
    low: float
    high: float
    p_value: float


def paired_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    clusters: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 7,
) -> Difference:
    """Compare two models on the same targets.

    Args:
        first, second: shape (n,), what each target added to the figure under either model.
        clusters: shape (n,), each target's session: targets of one session rise and fall together.
        resamples: >= 2.
        seed: of the draw; the same input gives the same answer.
    """
    if len(first) != len(second) or len(first) != len(clusters):
        raise ValueError(
            f"wanted both models' values on the same targets; got {len(first)}, {len(second)} and {len(clusters)}"
        )
    if len(first) == 0:
        return Difference(first=0.0, second=0.0, gain=0.0, standard_error=0.0, low=0.0, high=0.0, p_value=1.0)
    drawn = _resampled_means(second - first, clusters, resamples, seed)
    # Every draw alike (no difference anywhere) speaks for no difference from either side.
    beyond = min(int((drawn <= 0.0).sum()), int((drawn >= 0.0).sum()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Difference(
        first=float(first.mean()),
        second=float(second.mean()),
        gain=float((second - first).mean()),
        standard_error=float(drawn.std(ddof=1)),
        low=float(low),
        high=float(high),
        p_value=min(1.0, 2.0 * (beyond + 1) / (resamples + 1)),
    )


def paired_differences(
    first: Mapping[str, NDArray[np.float64]], second: Mapping[str, NDArray[np.float64]], clusters: NDArray[np.int64]
) -> dict[str, Difference]:
    """`paired_difference` for every figure that both have."""
    return {name: paired_difference(first[name], second[name], clusters) for name in first if name in second}


def _resampled_means(
    values: NDArray[np.float64], clusters: NDArray[np.int64], resamples: int, seed: int
) -> NDArray[np.float64]:
    _, cluster = np.unique(clusters, return_inverse=True)
    count = int(cluster.max()) + 1
    sums = np.bincount(cluster, values, count)
    sizes = np.bincount(cluster, minlength=count).astype(np.float64)
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for resample in range(resamples):
        drawn = np.bincount(random.integers(0, count, count), minlength=count)
        means[resample] = (drawn @ sums) / (drawn @ sizes)
    return means
