"""What would another order have earned? Estimates from answers whose order chance drew, with what they rest on.

A slot's reward may depend on the visitor, on the item in it and on the slot (the item-position model; Li et al.,
"Offline Evaluation of Ranking Policies with Click Models", KDD 2018), not on the order of the others. Then it is enough
to know how likely the shown item was to be drawn into its slot.
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.errors import NoSupportError

SHOWN_MIN = 100
"""Shows that another order would have made too; fewer carry no interval that could be believed."""

SAMPLE_MIN = 50.0
"""Effective sample size; below it a few heavy shows make the estimate."""

_Z95 = 1.959963984540054


class LoggedSlots(NamedTuple):
    """Slots that chance filled, all arrays of shape (n,).

    Attributes:
        answers: which answer a slot is of, numbered from 0.
        visitors: who was shown it, numbered; one visitor's answers hang together.
        slots: its place, numbered from 0.
        propensities: how likely the shown item was to be drawn there, in (0, 1].
        rewards: what it earned.
        chances: how likely the order to be judged puts the shown item there, in [0, 1].
        expected: what a model of the rewards expects of the shown item there; zeros where there is no model.
        expected_after: what it expects there under the order to be judged.
    """

    answers: NDArray[np.int64]
    visitors: NDArray[np.int64]
    slots: NDArray[np.int64]
    propensities: NDArray[np.float64]
    rewards: NDArray[np.float64]
    chances: NDArray[np.float64]
    expected: NDArray[np.float64]
    expected_after: NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True):
    """Reward an answer, summed over the slots that were left to chance; `low` to `high` is its 95 % interval."""

    value: float
    standard_error: float
    low: float
    high: float


class OffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Three estimates of one value, and what they rest on.

    Attributes:
        ips: each reward over the chance of its show (unbiased, the widest).
        snips: the same over the sum of weights, slot by slot (narrower, its bias vanishes with n).
        doubly_robust: what the reward model expects, and `ips` of what it got wrong.
        logged: what the drawn order itself earned.
        answers, slots_shown: how many answers; how many slots in which the shown item could stand in the other order.
        effective_sample_size: `(Σw)² / Σw²`, in slots of `slots_shown`.
    """

    ips: Estimate
    snips: Estimate
    doubly_robust: Estimate
    logged: Estimate
    answers: int
    slots_shown: int
    effective_sample_size: float


def estimate(logged: LoggedSlots, *, what: str = "that order", shown_min: int = SHOWN_MIN) -> OffPolicy:
    """Judge the order that `logged.chances` speak of.

    Args:
        logged: at least one slot; not modified.
        what: the order's name, for the refusal.
        shown_min: of `slots_shown`; fewer, or an effective sample size under `SAMPLE_MIN`, is refused.

    Raises:
        NoSupportError: too little of it was ever shown, or a slot's propensity is 0; says how much.
    """
    weights = supported_weights(logged, what=what, shown_min=shown_min)
    answers = int(logged.answers.max()) + 1
    visitors = np.zeros(answers, np.int64)
    visitors[logged.answers] = logged.visitors

    def told(values: NDArray[np.float64]) -> Estimate:
        return _mean(_sums(logged.answers, values, answers), visitors)

    corrected = logged.expected_after + weights * (logged.rewards - logged.expected)
    return OffPolicy(
        ips=told(weights * logged.rewards),
        snips=_self_normalised(logged, weights, visitors),
        doubly_robust=told(corrected),
        logged=told(logged.rewards),
        answers=answers,
        slots_shown=int((weights > 0).sum()),
        effective_sample_size=sample_size(weights),
    )


def supported_weights(logged: LoggedSlots, *, what: str, shown_min: int) -> NDArray[np.float64]:
    """Shape (n,): chance under the order to be judged over the chance there was.

    Raises:
        NoSupportError: see `estimate`.
    """
    shown, of = int((logged.chances > 0).sum()), len(logged.chances)
    if of and bool((logged.propensities <= 0.0).any()):
        raise NoSupportError(f"{what}: wanted a propensity above 0 for every show; some are not; the log is broken")
    if shown < max(1, shown_min):
        raise NoSupportError(
            f"{what}: shown {shown:,} times in {of:,}, of at least {shown_min:,} wanted; "
            "leave more to chance (recommender.shuffle_share), or wait for more answers"
        )
    weights = logged.chances / logged.propensities
    size = sample_size(weights)
    if size < min(SAMPLE_MIN, shown_min):
        raise NoSupportError(
            f"{what}: shown {shown:,} times in {of:,}, but a few of them weigh so much that they count as {size:.0f}, "
            f"of at least {SAMPLE_MIN:.0f} wanted; wait for more answers"
        )
    return weights


def sample_size(weights: NDArray[np.float64]) -> float:
    """`(Σw)² / Σw²`: how many equally weighted shows would say as much; 0 for none."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def reward_model(
    places: NDArray[np.int64], slots: NDArray[np.int64], rewards: NDArray[np.float64], visitors: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Shape (2, n_places, n_slots): mean reward by the model's own place and slot, learnt on each half of the visitors.

    Half 0 is learnt on odd visitors and meant for even ones, so that no show speaks about itself. A pair hardly seen
    leans on its slot's mean.
    """
    shape = (int(places.max()) + 1, int(slots.max()) + 1)
    halves = np.zeros((2, *shape))
    for half in range(2):
        taken = visitors % 2 != half
        cell = places[taken] * shape[1] + slots[taken]
        sums = np.bincount(cell, rewards[taken], shape[0] * shape[1]).reshape(shape)
        counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
        by_slot = sums.sum(axis=0) / np.maximum(1, counts.sum(axis=0))
        halves[half] = (sums + 20.0 * by_slot) / (counts + 20.0)
    return halves


def _self_normalised(logged: LoggedSlots, weights: NDArray[np.float64], visitors: NDArray[np.int64]) -> Estimate:
    """Slot by slot the weighted mean of rewards; the error by linearisation."""
    answers, slots = len(visitors), int(logged.slots.max()) + 1
    totals = np.bincount(logged.slots, weights, slots)
    means = np.bincount(logged.slots, weights * logged.rewards, slots) / np.where(totals > 0, totals, 1.0)
    off = weights * (logged.rewards - means[logged.slots])
    scaled = off * np.where(totals > 0, answers / np.where(totals > 0, totals, 1.0), 0.0)[logged.slots]
    error = _mean(_sums(logged.answers, scaled, answers), visitors).standard_error
    return _told(float(means.sum()), error)


def _sums(groups: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = np.bincount(groups, values, count).astype(np.float64)
    return sums


def _mean(values: NDArray[np.float64], visitors: NDArray[np.int64]) -> Estimate:
    """The mean over answers; the error allows for a visitor's answers hanging together."""
    _, cluster = np.unique(visitors, return_inverse=True)
    mean = float(values.mean())
    off = np.bincount(cluster, values - mean)
    groups = len(off)
    correction = groups / (groups - 1) if groups > 1 else 0.0
    return _told(mean, float(np.sqrt(correction * (off**2).sum())) / len(values))


def _told(value: float, error: float) -> Estimate:
    return Estimate(value, error, value - _Z95 * error, value + _Z95 * error)
