"""Columns against their baseline, and the gate that keeps a refit from learning from what looks wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.data_quality import QualityLimits, population_stability, problems_of, profile_of
from feature_store.kinds import Kind
from recommender.models.protocol import Events
from recommender.refit_gate import RefitGate

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def shares(counts: list[int]) -> tuple[float, ...]:
    return tuple((np.array(counts) / sum(counts)).tolist())


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=2, max_size=9))
def test_the_stability_index_is_zero_for_equals_symmetric_and_never_negative(pairs: list[tuple[int, int]]) -> None:
    one, other = shares([a for a, _ in pairs]), shares([b for _, b in pairs])

    assert population_stability(one, one) == 0
    assert population_stability(one, other) == pytest.approx(population_stability(other, one))
    assert population_stability(one, other) >= 0


def test_a_column_like_its_baseline_has_no_problem_and_each_fault_has_its_own() -> None:
    rng = np.random.default_rng(5)
    prices = rng.lognormal(2, 1, 5_000)
    baseline = profile_of("price", prices)

    def problems(values: np.ndarray) -> str:
        return " ".join(problems_of(profile_of("price", values, edges=baseline.edges), baseline, QualityLimits()))

    missing = prices.copy()
    missing[::3] = np.nan
    assert problems(rng.lognormal(2, 1, 5_000)) == ""
    assert "without a value, got 33%" in problems(missing)
    assert "is a unit wrong" in problems(np.append(prices, 1e6))
    assert "stability index" in problems(rng.lognormal(4, 1, 5_000))
    assert problems(np.array([np.nan] * 10)) == ""


def shop(count: int, *, seed: int, purchases: float = 0.05, sessions: int = 300) -> Events:
    rng = np.random.default_rng(seed)
    kinds = np.where(rng.random(count) < purchases, Kind.PURCHASE, Kind.VIEW).astype(np.uint8)
    times = NOW_MS - np.sort(rng.integers(0, DAY_MS, count))[::-1]
    return Events(np.sort(rng.integers(0, sessions, count)), rng.integers(0, 500, count).astype(np.int32), kinds, times)


def test_ordinary_data_is_learnt_from_however_the_shop_grows(tmp_path: Path) -> None:
    gate = RefitGate(tmp_path)

    assert all(gate.admits(shop(1_000 * n, seed=n, sessions=300 * n), now_ms=NOW_MS) for n in (1, 2, 4, 40))


def test_a_refit_on_bad_data_is_refused_until_the_data_is_good_again(tmp_path: Path) -> None:
    assert RefitGate(tmp_path).admits(shop(2_000, seed=1), now_ms=NOW_MS)

    gate = RefitGate(tmp_path)
    bad = {
        "purchases stopped": shop(2_000, seed=2, purchases=0),
        "every event a session": shop(2_000, seed=3, sessions=1_000_000),
        "one robot": shop(2_000, seed=4, sessions=1),
        "a clock ahead": shop(2_000, seed=5)._replace(times_ms=np.full(2_000, NOW_MS + 9 * DAY_MS)),
    }

    assert not any(gate.admits(events, now_ms=NOW_MS) for events in bad.values())
    assert gate.admits(shop(2_000, seed=6), now_ms=NOW_MS)


def test_what_stays_so_for_a_day_is_how_the_shop_is_now(tmp_path: Path) -> None:
    gate = RefitGate(tmp_path)
    assert gate.admits(shop(2_000, seed=1), now_ms=NOW_MS)
    without = shop(2_000, seed=2, purchases=0)

    assert not gate.admits(without, now_ms=NOW_MS)
    assert not RefitGate(tmp_path).admits(without, now_ms=NOW_MS + DAY_MS // 2)
    assert gate.admits(without, now_ms=NOW_MS + DAY_MS)
    assert gate.admits(without, now_ms=NOW_MS + DAY_MS + 1)
