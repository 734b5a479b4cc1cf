"""Does each arm have the visitors it should? A test that may be looked at after every one of them.

The Dirichlet-multinomial Bayes factor of Lindon and Malek, "Anytime-valid inference for multinomial count data"
(NeurIPS 2022): under the right shares it ever exceeds 1/p with probability at most p, however often one looks.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

WARN_BELOW = 0.01
"""An experiment whose p-value was ever below this has lost visitors on the way, and its figures mean nothing."""

CONCENTRATION = 10_000.0
"""How near the expected shares an alternative is thought to lie: half a percentage point, which is what lost exposures
look like. 2 % of one of two arms missing shows after some 130,000 visitors; with the flat 10 it took 190,000."""


def sample_ratio_p_value(
    visitors: Sequence[int], shares: Sequence[float], *, concentration: float = CONCENTRATION
) -> float:
    """An always-valid p-value of the counts under `shares`; 1 says nothing, near 0 says that visitors are missing.

    Args:
        visitors: per arm, >= 0.
        shares: expected, per arm, > 0; need not sum to 1.

    Raises:
        ValueError: of different lengths, or a share that is not positive.
    """
    counts = np.asarray(visitors, np.float64)
    expected = np.asarray(shares, np.float64)
    if counts.shape != expected.shape or not len(counts) or (expected <= 0).any():
        raise ValueError(f"wanted one positive share per arm, got shares {list(shares)} for {list(visitors)} visitors")
    return float(np.minimum(1.0, np.exp(-log_bayes_factor(counts, expected / expected.sum(), concentration))))


def log_bayes_factor(counts: np.ndarray, shares: np.ndarray, concentration: float) -> np.ndarray:
    """Of "other shares" against `shares`; the last axis is arms, earlier ones are kept."""
    prior = concentration * shares
    total = counts.sum(axis=-1)
    evidence = (
        gammaln(concentration) - gammaln(concentration + total) + (gammaln(prior + counts) - gammaln(prior)).sum(-1)
    )
    return np.asarray(evidence - (counts * np.log(shares)).sum(axis=-1))
