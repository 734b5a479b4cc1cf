"""Experiments: browsers are divided for ever, and what is said of the arms may be looked at after every visitor."""

import math
from hashlib import blake2b

import numpy as np
import pytest
from numpy.typing import NDArray

from recommender.experiments import (
    HOLDOUT,
    Arm,
    ArmOutcomes,
    Experiment,
    ExperimentRefusedError,
    Outcomes,
    Preferences,
    Variant,
    assigned_variant,
    check_experiment,
    credited_team,
    difference,
    in_holdout,
    planned_visitors,
    report,
    sample_ratio_p_value,
    team_draft,
)
from recommender.experiments.sample_ratio import CONCENTRATION, WARN_BELOW, log_bayes_factor
from recommender.experiments.sequential import SUCCESSES_MIN, VISITORS_MIN, widening

HALVES = (Variant("control", 0.5), Variant("treatment", 0.5))


def _keys(count: int) -> list[bytes]:
    return [blake2b(str(i).encode(), digest_size=16).digest() for i in range(count)]


def _clear_at_any_look(clicks: NDArray[np.bool_], arm: NDArray[np.bool_], *, tuned_visitors: int) -> NDArray[np.bool_]:
    """Per run: did the interval leave zero out after any visitor? Arrays (runs, visitors); `difference`, vectorized."""
    visitors = np.arange(1, clicks.shape[1] + 1)
    counts, totals = [], []
    for side in (~arm, arm):
        counts.append(side.cumsum(axis=1))
        totals.append((side & clicks).cumsum(axis=1))
    variances = [
        (total + 1) / (count + 2) * (1 - (total + 1) / (count + 2)) for count, total in zip(counts, totals, strict=True)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(variances[0] / counts[0] + variances[1] / counts[1])
        gap = np.abs(totals[1] / counts[1] - totals[0] / counts[0])
        outside = gap > error * widening(visitors, tuned_visitors=tuned_visitors)
    enough = np.logical_and.reduce([count >= VISITORS_MIN for count in counts] + [t >= SUCCESSES_MIN for t in totals])
    return np.asarray((outside & enough).any(axis=1))


def test_shares_are_kept_and_nobody_changes_sides() -> None:
    experiment = Experiment("e", (Variant("a", 0.2), Variant("b", 0.8)), holdout=0.1)
    keys = _keys(20_000)

    names = [assigned_variant(experiment, key) for key in keys]

    assert names == [assigned_variant(experiment, key) for key in keys]
    assert names.count(HOLDOUT) / len(keys) == pytest.approx(0.1, abs=0.01)
    assert names.count("a") / len(keys) == pytest.approx(0.18, abs=0.012)


def test_two_experiments_divide_the_browsers_independently() -> None:
    first, second = Experiment("first", HALVES), Experiment("second", HALVES)
    keys = _keys(20_000)

    both = sum(assigned_variant(first, key) == assigned_variant(second, key) for key in keys)

    assert both / len(keys) == pytest.approx(0.5, abs=0.015)


def test_a_growing_holdout_keeps_those_who_are_in_it() -> None:
    keys = _keys(5_000)

    small = {key for key in keys if in_holdout(key, share=0.05)}

    assert small
    assert all(in_holdout(key, share=0.1) for key in small)


@pytest.mark.parametrize(
    ("variants", "method", "wanted"),
    [
        ((Variant("a", 0.5), Variant("a", 0.5)), "ab", "different names"),
        ((Variant("a", 0.5), Variant("b", 0.4)), "ab", "sum to 1"),
        ((Variant("a", 1.0),), "interleaving", "two variants"),
    ],
)
def test_what_cannot_be_run_is_refused(variants: tuple[Variant, ...], method: str, wanted: str) -> None:
    with pytest.raises(ExperimentRefusedError, match=wanted):
        check_experiment(Experiment("e", variants, method=method))  # type: ignore[arg-type]


def test_the_vectorized_look_is_the_interval_of_the_product() -> None:
    clicks = np.random.default_rng(3).random((1, 4_000)) < 0.1
    arm = np.random.default_rng(4).random((1, 4_000)) < 0.5
    clicks |= arm & (np.random.default_rng(5).random((1, 4_000)) < 0.1)
    looks = []
    for seen in range(200, 4_001, 200):
        sides = [
            Arm.of_proportion(int(side[:, :seen].sum()), int((side & clicks)[:, :seen].sum())) for side in (~arm, arm)
        ]
        found = difference(*sides, tuned_visitors=5_000)
        looks.append(found is not None and found.clear)
        assert _clear_at_any_look(clicks[:, :seen], arm[:, :seen], tuned_visitors=5_000)[0] >= looks[-1]

    assert looks[-1]
    assert not looks[0]


def test_a_thousand_experiments_without_a_difference_looked_at_after_every_visitor_raise_few_alarms() -> None:
    runs, visitors, alarms = 1_000, 20_000, 0
    chance = np.random.default_rng(11)
    for _ in range(runs // 50):
        arm = chance.random((50, visitors), np.float32) < 0.5
        clicks = chance.random((50, visitors), np.float32) < 0.05
        alarms += int(_clear_at_any_look(clicks, arm, tuned_visitors=visitors).sum())

    assert alarms / runs <= 0.05
    # Not so wide that it could never alarm: a fixed interval at one look would give 5 %.
    assert alarms > 0


def test_a_true_lift_of_ten_per_cent_is_found_at_the_planned_size() -> None:
    visitors = planned_visitors(0.1, 0.1)
    chance, found, runs = np.random.default_rng(12), 0, 200
    for _ in range(runs // 10):
        arm = chance.random((10, visitors), np.float32) < 0.5
        clicks = chance.random((10, visitors), np.float32) < np.where(arm, 0.11, 0.1)
        found += int(_clear_at_any_look(clicks, arm, tuned_visitors=visitors).sum())

    assert found / runs >= 0.8


def test_revenue_of_equal_arms_raises_few_alarms() -> None:
    chance, alarms, runs = np.random.default_rng(13), 0, 300
    for _ in range(runs):
        looks = []
        bought = chance.random((2, 4_000)) < 0.04
        spent = np.minimum(500.0, chance.lognormal(3.5, 1.0, (2, 4_000))) * bought
        for seen in range(200, 4_001, 100):
            arms = [
                Arm(
                    seen, int(bought[i, :seen].sum()), float(spent[i, :seen].sum()), float((spent[i, :seen] ** 2).sum())
                )
                for i in range(2)
            ]
            interval = difference(*arms, tuned_visitors=8_000)
            looks.append(interval is not None and interval.clear)
        alarms += any(looks)

    assert alarms / runs <= 0.05


def test_too_few_visitors_have_no_interval() -> None:
    few, many = Arm.of_proportion(50, 20), Arm.of_proportion(5_000, 500)

    assert difference(few, many) is None
    assert difference(Arm.of_proportion(5_000, 3), many) is None
    assert difference(many, many) is not None


def test_two_per_cent_missing_of_one_arm_raise_the_sample_ratio_warning() -> None:
    chance = np.random.default_rng(14)
    raised = 0
    for _ in range(100):
        arm = chance.random(400_000) < 0.5
        kept = ~arm | (chance.random(400_000) > 0.02)
        raised += sample_ratio_p_value([int((~arm).sum()), int((arm & kept).sum())], [0.5, 0.5]) < WARN_BELOW

    assert raised >= 95


def test_whole_arms_looked_at_after_every_visitor_raise_no_sample_ratio_warning() -> None:
    chance, raised, runs = np.random.default_rng(15), 0, 300
    for _ in range(runs):
        arm = np.cumsum(chance.random(20_000) < 0.5)
        counts = np.stack([arm, np.arange(1, 20_001) - arm], axis=-1).astype(np.float64)
        factors = log_bayes_factor(counts, np.array([0.5, 0.5]), CONCENTRATION)
        raised += float(factors.max()) > -math.log(WARN_BELOW)

    assert raised / runs <= 0.02


def test_the_report_warns_and_compares_with_the_control() -> None:
    experiment = Experiment("e", HALVES, holdout=0.1)
    outcomes = {
        "control": ArmOutcomes(90_000, 4_500, 900, 27_000.0, 1_500_000.0),
        "treatment": ArmOutcomes(90_300, 5_600, 1_000, 30_000.0, 1_700_000.0),
        HOLDOUT: ArmOutcomes(20_000, 0, 180, 5_000.0, 300_000.0),
    }

    found = report(experiment, Outcomes(outcomes))

    by_name = {variant.variant: variant for variant in found.variants}
    click_rate = by_name["treatment"].comparisons[0]
    assert click_rate.clear
    assert click_rate.difference is not None
    assert click_rate.difference.low > 0
    assert by_name["control"].comparisons[0].difference is None
    assert found.sample_ratio_p_value > WARN_BELOW
    assert not found.warnings
    lost = {**outcomes, "treatment": ArmOutcomes(80_000, 5_000, 900, 27_000.0, 1_500_000.0)}
    short = report(experiment, Outcomes(lost))
    assert short.warnings[0].startswith("sample ratio")


def test_a_draft_holds_each_item_once_and_both_teams_alike() -> None:
    first, second = [f"a{i}" for i in range(10)] + ["x"], ["x", *[f"b{i}" for i in range(10)]]

    draft = team_draft(first, second, 10, seed=1)

    assert len(set(draft.item_ids)) == 10
    assert sorted(draft.teams) == [0] * 5 + [1] * 5
    assert draft == team_draft(first, second, 10, seed=1)
    assert team_draft(["a"], ["a"], 5, seed=1).item_ids == ("a",)


def test_interleaving_prefers_the_list_that_the_ab_test_prefers() -> None:
    """Shoppers with a taste and a habit of looking at the top: the better list wins by either method."""
    chance = np.random.default_rng(16)
    relevance = chance.random(40)
    better = [str(i) for i in np.argsort(-relevance - chance.normal(0, 0.2, 40))]
    worse = [str(i) for i in np.argsort(-relevance - chance.normal(0, 1.0, 40))]

    def clicked(shown: tuple[str, ...]) -> set[str]:
        looked = 0.8 ** np.arange(len(shown))
        return {
            item
            for item, look in zip(shown, looked, strict=True)
            if chance.random() < 0.3 * look * relevance[int(item)]
        }

    preference, clicks = 0, [0, 0]
    for shopper in range(3_000):
        draft = team_draft(worse, better, 10, seed=shopper)
        preference += credited_team(draft, clicked(draft.item_ids))
        side = shopper % 2
        clicks[side] += bool(clicked(tuple((worse, better)[side][:10])))

    assert preference > 0
    assert clicks[1] > clicks[0]


def test_an_interleaved_report_tells_the_preference_and_no_difference_of_arms() -> None:
    experiment = Experiment("e", HALVES, method="interleaving")
    arms = {"interleaved": ArmOutcomes(9_000, 2_000, 100, 3_000.0, 150_000.0)}

    found = report(experiment, Outcomes(arms, Preferences(9_000, 600, 1_000, 400)))
    even = report(experiment, Outcomes(arms, Preferences(9_000, 790, 810, 400)))
    few = report(experiment, Outcomes(arms, Preferences(60, 5, 9, 1)))

    assert [variant.variant for variant in found.variants] == ["interleaved"]
    assert found.preference is not None
    assert found.preference.second_less_first == pytest.approx(0.2)
    assert found.preference.clear
    assert even.preference is not None
    assert not even.preference.clear
    assert few.preference is not None
    assert few.preference.interval is None


def test_an_interleaved_experiment_without_a_preference_raises_few_alarms() -> None:
    chance, alarms, runs = np.random.default_rng(17), 0, 300
    experiment = Experiment("e", HALVES, method="interleaving")
    for _ in range(runs):
        signs = chance.choice([-1, 0, 1], 3_000, p=[0.4, 0.2, 0.4])
        firsts, seconds = np.cumsum(signs == -1), np.cumsum(signs == 1)
        for seen in range(100, 3_001, 50):
            first, second = int(firsts[seen - 1]), int(seconds[seen - 1])
            preferences = Preferences(seen, first, second, seen - first - second)
            found = report(experiment, Outcomes({}, preferences)).preference
            if found is not None and found.clear:
                alarms += 1
                break

    assert alarms / runs <= 0.05
