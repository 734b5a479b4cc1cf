"""How many visitors an experiment needs, under the very intervals it will be read with."""

import math
from statistics import NormalDist

from recommender.experiments.sequential import ALPHA, widening

_VISITORS_MAX = 1 << 40


def planned_visitors(
    base_rate: float,
    relative_lift: float,
    *,
    shares: tuple[float, float] = (0.5, 0.5),
    alpha: float = ALPHA,
    power: float = 0.8,
) -> int:
    """Visitors in both arms together that find a lift of a proportion with probability `power`, at the latest then.

    Args:
        base_rate: the control's proportion, 0 < base_rate < 1.
        relative_lift: > 0; the treatment's proportion is `base_rate * (1 + relative_lift)` < 1.
        shares: of control and treatment, summing to 1.

    Raises:
        ValueError: rates outside 0 to 1, or no lift.
    """
    lifted = base_rate * (1 + relative_lift)
    if not (0 < base_rate < 1 and relative_lift > 0 and lifted < 1):
        raise ValueError(f"wanted rates between 0 and 1 and a lift above 0, got {base_rate} and {relative_lift}")
    variance = base_rate * (1 - base_rate) / shares[0] + lifted * (1 - lifted) / shares[1]
    behind = NormalDist().inv_cdf(power)
    low, high = 1, _VISITORS_MAX
    while low < high:
        middle = (low + high) // 2
        errors = float(widening(middle, alpha=alpha, tuned_visitors=middle)) + behind
        if errors * math.sqrt(variance / middle) <= lifted - base_rate:
            high = middle
        else:
            low = middle + 1
    return low
