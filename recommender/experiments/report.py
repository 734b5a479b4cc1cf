"""What can be said of an experiment now: each variant's rates, what differs from the control, whether to trust it."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from ingest.attribution import INTERLEAVED
from recommender.experiments.assignment import HOLDOUT
from recommender.experiments.definition import Experiment
from recommender.experiments.planning import planned_visitors
from recommender.experiments.sample_ratio import WARN_BELOW, sample_ratio_p_value
from recommender.experiments.sequential import (
    ALPHA,
    SUCCESSES_MIN,
    VISITORS_MIN,
    Arm,
    Interval,
    difference,
    widening,
)

Metric = Literal["click_rate", "conversion_rate", "revenue_per_visitor"]
METRICS: tuple[Metric, ...] = ("click_rate", "conversion_rate", "revenue_per_visitor")


class ArmOutcomes(msgspec.Struct, frozen=True):
    """Sums over the visitors of one arm who were *shown* the placement; each visitor counts once.

    `revenue`, `revenue_squares`: of what each visitor spent after the first exposure, capped.
    """

    visitors: int
    clicked: int
    bought: int
    revenue: float
    revenue_squares: float

    def arm(self, metric: Metric) -> Arm:
        """The sums of one metric."""
        if metric == "click_rate":
            return Arm.of_proportion(self.visitors, self.clicked)
        if metric == "conversion_rate":
            return Arm.of_proportion(self.visitors, self.bought)
        return Arm(self.visitors, self.bought, self.revenue, self.revenue_squares)


class Preferences(msgspec.Struct, frozen=True):
    """Of an interleaved experiment: visitors who clicked more of the first variant's items, more of the second's, or as
    many (who clicked nothing is in `visitors` alone)."""

    visitors: int
    first: int
    second: int
    ties: int


class Outcomes(msgspec.Struct, frozen=True):
    """What an experiment's visitors did. `preferences`: of an interleaved one."""

    arms: dict[str, ArmOutcomes]
    preferences: Preferences | None = None


class Preference(msgspec.Struct, frozen=True):
    """Which list the clicks fall on.

    Attributes:
        second_less_first: share of the visitors who clicked that prefer the second variant, less that of the first;
            -1 to 1.
        interval: of it, at every look; None while there are too few to say.
    """

    visitors: int
    first: int
    second: int
    ties: int
    second_less_first: float
    interval: Interval | None
    clear: bool


class Comparison(msgspec.Struct, frozen=True):
    """One metric of one variant. `difference` is against the control; None while there are too few visitors to say."""

    metric: Metric
    value: float
    difference: Interval | None
    clear: bool


class VariantReport(msgspec.Struct, frozen=True):
    """One variant."""

    variant: str
    visitors: int
    comparisons: tuple[Comparison, ...]


class ExperimentReport(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        sample_ratio_p_value: always-valid; below .01 visitors are missing somewhere and nothing else here counts.
        warnings: in words for a person, most serious first; empty when there is nothing to warn of.
        preference: of an interleaved experiment.
        planned_visitors: in two arms together, to find the lift that the experiment was made for.
        shared: what the variants have in common although they differ, in words.
    """

    experiment: str
    variants: tuple[VariantReport, ...]
    alpha: float
    sample_ratio_p_value: float
    warnings: tuple[str, ...]
    planned_visitors: int
    preference: Preference | None = None
    shared: str = (
        "All variants learn from all clicks: item factors, transitions, neighbours and trends are shared, "
        "so a variant that brings better clicks helps the others too and its true effect may be larger than shown. "
        "Blend weights are kept per variant."
    )


def report(experiment: Experiment, outcomes: Outcomes, *, alpha: float = ALPHA) -> ExperimentReport:
    """The report at this moment; may be looked at as often as one likes.

    Args:
        outcomes: a variant that is absent in `arms` has had no visitor.
        alpha: for all comparisons of one metric together (Bonferroni over the variants).
    """
    nobody = ArmOutcomes(0, 0, 0, 0.0, 0.0)
    names = [variant.name for variant in experiment.variants] + ([HOLDOUT] if experiment.holdout else [])
    planned = planned_visitors(experiment.base_rate, experiment.relative_lift)
    if experiment.method == "interleaving":
        names = [INTERLEAVED, *names[len(experiment.variants) :]]
    arms = {name: outcomes.arms.get(name, nobody) for name in names}
    control = arms[names[0]]
    each_alpha = alpha / max(1, len(names) - 1)
    variants = tuple(
        VariantReport(name, arm.visitors, _compared(control if arm is not control else None, arm, each_alpha, planned))
        for name, arm in arms.items()
    )
    p_value = sample_ratio_p_value([arm.visitors for arm in arms.values()], _shares(experiment))
    preference = _preference(outcomes.preferences, planned, alpha) if outcomes.preferences is not None else None
    warnings = _warnings(p_value, arms, planned)
    return ExperimentReport(experiment.id, variants, alpha, p_value, warnings, planned, preference)


def _shares(experiment: Experiment) -> list[float]:
    in_it = [1.0] if experiment.method == "interleaving" else [variant.share for variant in experiment.variants]
    shares = [share * (1 - experiment.holdout) for share in in_it]
    return [*shares, experiment.holdout] if experiment.holdout else shares


def _preference(found: Preferences, planned: int, alpha: float) -> Preference:
    clicked = found.first + found.second + found.ties
    estimate = (found.second - found.first) / clicked if clicked else 0.0
    interval = None
    if clicked >= VISITORS_MIN and min(found.first, found.second) >= SUCCESSES_MIN:
        # Of a mean of -1, 0 and 1.
        variance = (found.first + found.second) / clicked - estimate * estimate
        half = math.sqrt(variance / clicked) * float(widening(clicked, alpha=alpha, tuned_visitors=planned))
        interval = Interval(estimate, estimate - half, estimate + half)
    counts = (found.visitors, found.first, found.second, found.ties)
    return Preference(*counts, estimate, interval, interval is not None and interval.clear)


def _compared(control: ArmOutcomes | None, arm: ArmOutcomes, alpha: float, tuned: int) -> tuple[Comparison, ...]:
    comparisons = []
    for metric in METRICS:
        mine = arm.arm(metric)
        found = (
            difference(control.arm(metric), mine, alpha=alpha, tuned_visitors=tuned) if control is not None else None
        )
        comparisons.append(Comparison(metric, mine.mean, found, found is not None and found.clear))
    return tuple(comparisons)


def _warnings(p_value: float, arms: Mapping[str, ArmOutcomes], planned: int) -> tuple[str, ...]:
    warnings: list[str] = []
    counts: Sequence[str] = [f"{name} {arm.visitors}" for name, arm in arms.items()]
    if p_value < WARN_BELOW:
        warnings.append(
            f"sample ratio: visitors per variant ({', '.join(counts)}) do not fit the shares (p {p_value:.2g}); "
            "exposures are lost somewhere, trust nothing else here until it is found"
        )
    seen = sum(arm.visitors for arm in arms.values())
    if seen < planned:
        warnings.append(f"{seen} of {planned} planned visitors seen: no difference shown yet is not no difference")
    return tuple(warnings)
