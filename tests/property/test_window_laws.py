"""Records against brute force: any order of arrival, any split into batches, any repetition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feature_store import layouts
from feature_store.bucket_record import BucketLayout, apply_to_buckets, count_since, decayed_count, read_buckets
from feature_store.kinds import Kind
from feature_store.layouts import ITEM
from feature_store.top_items_record import PLACES, apply_to_top_items, read_top_items
from feature_store.touches import TOUCH_COLUMNS
from feature_store.visitor_layout import EVENTS_MAX, SHOWN_MAX
from feature_store.visitor_record import apply_to_visitors, read_visitor
from feature_store.windows import count_by_kind

VisitorEvents = list[tuple[int, int, int, int]]
on_a_busy_machine = settings(deadline=None)
START_MS = 1_700_000_000_000
LOG_ID = 2**63 + 17
# Hashes that run against the indexes, so that a tie broken by index would show.
ITEM_HASH = np.array([(index * 2_654_435_761) % 2**32 for index in range(64)], dtype=np.uint32)[::-1].copy()

visitor_events = st.lists(
    st.tuples(st.integers(0, 5_000), st.integers(0, 6), st.integers(1, 300), st.integers(0, 63)), max_size=260
)
"""(ms after the start, kind or 0 for an impression, quantity, item index): few instants, so that ties are common."""

bucket_events = st.lists(st.tuples(st.integers(0, 3 * 3_600_000), st.integers(0, 2)), min_size=1, max_size=120)
"""(ms after the start, metric) over three hours, an hour more than the minutes reach."""


def as_touches(rows: VisitorEvents) -> NDArray[np.int64]:
    """Touches of one record: (ms after the start, kind, amount, item) at rising positions."""
    touches = np.zeros((len(rows), TOUCH_COLUMNS), np.int64)
    for i, (after_ms, kind, amount, item) in enumerate(rows):
        touches[i] = (
            0,
            1 + i // 7,
            i % 7,
            START_MS + after_ms,
            kind,
            amount,
            item,
            # A category and a price that follow from the item, and sometimes are not told.
            (item % 5) * (item % 3 > 0),
            item * (item % 2),
        )
    return touches


def visitor_after(events: VisitorEvents, batches: int) -> bytes | None:
    record: bytes | None = None
    touches = as_touches(events)
    for part in np.array_split(touches, batches):
        if len(part):
            [written] = apply_to_visitors([record], part, item_hash=ITEM_HASH, log_id=LOG_ID)
            assert written is not None
            record = written
    return record


def buckets_after(rows: list[tuple[int, int]], layout: BucketLayout, batches: int = 1) -> bytes | None:
    record: bytes | None = None
    touches = as_touches([(after_ms, metric, 1, 0) for after_ms, metric in rows])
    for part in np.array_split(touches, batches):
        if len(part):
            [record] = apply_to_buckets([record], part, layout=layout, log_id=LOG_ID)
    return record


@given(visitor_events, st.integers(1, 5))
@on_a_busy_machine
def test_ring_keeps_the_newest_events_by_time(events: VisitorEvents, batches: int) -> None:
    record = read_visitor(visitor_after(events, batches))

    deliberate = sorted(
        (START_MS + t, kind, int(ITEM_HASH[item]), min(amount, 255), item) for t, kind, amount, item in events if kind
    )
    kept = list(
        zip(
            record.time_ms.tolist(),
            record.kind.tolist(),
            record.quantity.tolist(),
            record.item_index.tolist(),
            strict=True,
        )
    )
    assert kept == [(t, kind, amount, item) for t, kind, _, amount, item in deliberate[-EVENTS_MAX:]]
    assert record.overflowed == (len(deliberate) > EVENTS_MAX)


@given(visitor_events)
@on_a_busy_machine
def test_impressions_keep_the_newest_by_time(events: VisitorEvents) -> None:
    record = read_visitor(visitor_after(events, 2))

    shown = sorted((START_MS + t, int(ITEM_HASH[item]), item) for t, kind, _, item in events if kind == 0)
    kept = list(zip(record.shown_time_ms.tolist(), record.shown_item_index.tolist(), strict=True))
    assert kept == [(t, item) for t, _, item in shown[-SHOWN_MAX:]]


@given(visitor_events, st.randoms(use_true_random=False), st.integers(1, 4))
@on_a_busy_machine
def test_visitor_ignores_the_order_of_arrival(events: VisitorEvents, random: object, batches: int) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    ordered, arrived = visitor_after(sorted(events), 1), visitor_after(shuffled, batches)

    # All but the position, which says how far the record has come in its log.
    assert (ordered or b"")[16:] == (arrived or b"")[16:]


@given(visitor_events, st.integers(0, 260))
@on_a_busy_machine
def test_repeating_what_a_visitor_has_changes_nothing(events: VisitorEvents, repeated: int) -> None:
    record = visitor_after(events, 1)
    again = as_touches(events)[: min(repeated, len(events))]
    if record is None or len(again) == 0:
        return

    assert apply_to_visitors([record], again, item_hash=ITEM_HASH, log_id=LOG_ID) == [None]


@given(visitor_events, st.integers(-10, 6_000), st.sampled_from([1, 100, 1_000, 60_000]))
@on_a_busy_machine
def test_visitor_windows_equal_a_count_of_all_events(events: VisitorEvents, now_after_ms: int, window_ms: int) -> None:
    now_ms = START_MS + now_after_ms

    counted = count_by_kind(read_visitor(visitor_after(events, 1)), window_ms=window_ms, now_ms=now_ms)

    inside = [kind for t, kind, _, _ in events if kind and now_ms - window_ms < START_MS + t <= now_ms]
    exact = tuple(inside.count(int(kind)) for kind in Kind)
    newer = sum(1 for t, kind, _, _ in events if kind and START_MS + t > now_ms)
    if counted.at_least or newer:
        assert all(ours <= real for ours, real in zip(counted.counts, exact, strict=True))
    else:
        assert counted.counts == exact


@given(bucket_events, st.integers(0, 3_600_000))
@on_a_busy_machine
def test_bucket_windows_lie_between_the_window_and_one_bucket_more(rows: list[tuple[int, int]], later_ms: int) -> None:
    record = read_buckets(buckets_after(rows, ITEM), ITEM)
    now_ms = START_MS + max(after_ms for after_ms, _ in rows) + later_ms

    for resolution, window_ms, bucket_ms in ((0, 3_600_000, 60_000), (1, 86_400_000, 3_600_000)):
        counts = count_since(record, ITEM, resolution, start_ms=now_ms - window_ms, end_ms=now_ms)
        for metric, count in enumerate(counts.tolist()):
            times_ms = [START_MS + after_ms for after_ms, m in rows if m == metric]
            exact = sum(1 for t in times_ms if now_ms - window_ms < t <= now_ms)
            with_cut_bucket = sum(1 for t in times_ms if now_ms - window_ms - bucket_ms < t <= now_ms)
            assert exact <= count <= with_cut_bucket


@given(bucket_events, st.randoms(use_true_random=False), st.integers(1, 4))
@on_a_busy_machine
def test_buckets_ignore_the_order_of_arrival(rows: list[tuple[int, int]], random: object, batches: int) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    for layout in (ITEM, layouts.EVENT_KINDS):
        ordered, arrived = buckets_after(sorted(rows), layout), buckets_after(shuffled, layout, batches)
        assert ordered is not None
        assert arrived is not None
        assert ordered[16:] == arrived[16:]


@given(st.lists(st.integers(0, 60 * 86_400_000), min_size=1, max_size=60), st.integers(0, 86_400_000))
@on_a_busy_machine
def test_decayed_count_equals_the_sum_of_decays(ages_ms: list[int], later_ms: int) -> None:
    rows = [(60 * 86_400_000 - age_ms, 0) for age_ms in ages_ms]
    now_ms = START_MS + 60 * 86_400_000 + later_ms

    [decayed, *_] = decayed_count(read_buckets(buckets_after(rows, ITEM), ITEM), ITEM, 2, now_ms=now_ms)

    exact = sum(2.0 ** (-(age_ms + later_ms) / layouts.HALF_LIFE_MS) for age_ms in ages_ms)
    # What is older than seven half-lives may be left out; each weight is rounded to 1/2048 of itself at most.
    forgotten = sum(1 / 128 for age_ms in ages_ms if age_ms > 7 * layouts.HALF_LIFE_MS)
    assert exact - forgotten - 0.001 * exact <= decayed <= exact * 1.001


@given(st.lists(st.integers(0, 600), max_size=900), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_top_items_hold_every_item_with_more_than_its_share(items: list[int], batches: int) -> None:
    record: bytes | None = None
    for part in np.array_split(as_touches([(i, 0, 1, item) for i, item in enumerate(items)]), batches):
        if len(part):
            [record] = apply_to_top_items([record], part, log_id=LOG_ID)

    found = read_top_items(record)

    frequent = {item for item in set(items) if items.count(item) > len(items) / PLACES}
    assert frequent <= set(found.item_index.tolist()) or len(set(items)) <= PLACES
    if len(set(items)) <= PLACES:
        assert set(found.item_index.tolist()) == set(items)


@given(st.integers(0, 100), st.integers(0, 50), st.integers(1, 5))
@on_a_busy_machine
def test_a_visitor_of_50_events_takes_at_most_900_bytes(events: int, shown: int, lists: int) -> None:
    rows = [(i, 1, 1, i % 64) for i in range(events)] + [(10_000 + i % lists, 0, 1, i) for i in range(shown)]

    record = visitor_after(rows, 1)

    if record is not None and events <= 50:
        assert len(record) <= 900
