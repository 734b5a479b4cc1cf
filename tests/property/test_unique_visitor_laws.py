"""Different visitors and shared ones: estimates against exact counts, for any window and any order of arrival."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feature_store.bucket_record import apply_to_buckets, read_buckets, visitors_since
from feature_store.layouts import HOUR_MS, ITEM
from feature_store.reading import read_features
from feature_store.touches import ITEM as VISITOR
from feature_store.touches import MAJOR, TIME_MS, TOUCH_COLUMNS
from feature_store.unique_visitors import STEP_MS

START_MS = 1_700_000_000_000
PARTITIONS = 8


def record_of(visitors: NDArray[np.int64], times_ms: NDArray[np.int64], batches: int = 1) -> bytes | None:
    touches = np.zeros((len(visitors), TOUCH_COLUMNS), np.int64)
    touches[:, MAJOR], touches[:, TIME_MS] = np.arange(1, len(visitors) + 1), times_ms
    touches[:, VISITOR], touches[:, 5] = visitors, 1
    record: bytes | None = None
    for part in np.array_split(touches, batches):
        if len(part):
            [record] = apply_to_buckets([record], part, layout=ITEM, log_id=1)
    return record


def by_partition(visitors: NDArray[np.int64], times_ms: NDArray[np.int64]) -> list[bytes | None]:
    """A visitor lives in one partition."""
    return [record_of(visitors[visitors % 8 == p], times_ms[visitors % 8 == p]) for p in range(PARTITIONS)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from((HOUR_MS, 24 * HOUR_MS)), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_an_estimate_lies_near_the_exact_count_in_any_order(
    seed: int, count: int, window_ms: int, batches: int
) -> None:
    rng = np.random.default_rng(seed)
    visitors = rng.integers(0, 10**9, count)[rng.integers(0, count, 2 * count)]
    times_ms = START_MS + rng.integers(0, 30 * HOUR_MS, len(visitors))
    now_ms = int(times_ms.max())
    order = rng.permutation(len(visitors))

    one, other = record_of(visitors, times_ms), record_of(visitors[order], times_ms[order], batches)
    estimate = visitors_since(read_buckets(one, ITEM), start_ms=now_ms - window_ms, end_ms=now_ms)

    assert one is not None
    assert other is not None
    assert one[16:] == other[16:]
    least = len(set(visitors[times_ms > now_ms - window_ms].tolist()))
    most = len(set(visitors[times_ms > now_ms - window_ms - STEP_MS].tolist()))
    # Five standard errors of one partition, and the chance that few visitors share a cell.
    assert 0.2 * least - 3 <= estimate <= 1.8 * most + 3


@pytest.mark.parametrize("count", [100, 1_000, 20_000, 300_000])
def test_the_standard_error_over_eight_partitions_is_as_stated(count: int) -> None:
    errors = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        visitors = rng.integers(0, 2**31, count)
        records = by_partition(visitors, np.full(count, START_MS))
        [estimate] = read_features("item", records, ["visitors_1h"], START_MS, name_of=str)
        errors.append(float(estimate) / len(set(visitors.tolist())) - 1)  # type: ignore[arg-type]

    assert np.sqrt(np.mean(np.square(errors))) < 1.5 * 0.16 / np.sqrt(PARTITIONS)
    assert abs(np.mean(errors)) < 0.03


@pytest.mark.parametrize(("shared", "of_each"), [(0, 400), (200, 400), (400, 400)])
def test_shared_visitors_are_told_within_the_stated_error(shared: int, of_each: int) -> None:
    found = []
    for seed in range(20):
        visitors = np.random.default_rng(seed).permutation(10**6)[: 2 * of_each - shared]
        first, second = visitors[:of_each], visitors[of_each - shared :]
        records = by_partition(first, np.full(of_each, START_MS)) + by_partition(second, np.full(of_each, START_MS))
        found.append(read_features("item_pair", records, ["covisitors_24h"], START_MS, name_of=str)[0])

    error = np.sqrt(np.mean(np.square(np.array(found, float) - shared)))
    assert error < 0.15 * (2 * of_each - shared)
