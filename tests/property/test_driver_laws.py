import asyncio
import random

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.events import NEEDS_ITEMS, SentEvent
from loadtest.crowd import Crowd, Shown
from loadtest.files import Row
from loadtest.lanes import Batch, Step, lane_of, send_in_lanes
from loadtest.percentiles import percentiles_of
from loadtest.stamps import due_s, stamp_of
from loadtest.synthetic_catalogue import synthetic_products

visits = st.lists(st.sampled_from("abcdefgh"), max_size=120)


def row(at: int, visitor: str) -> Row:
    return Row(at, at, visitor, None, "i", "view_item", 1, None, 0, None, 0)


@settings(max_examples=40, deadline=None)
@given(visits, st.integers(1, 6), st.integers(1, 7), st.integers(1, 3), st.integers(0, 2**16))
def test_lanes_send_each_row_once_and_each_visitor_in_order(
    visitors: list[str], lanes: int, batch_rows_max: int, waiting_max: int, seed: int
) -> None:
    rng = random.Random(seed)
    sent: list[Row] = []
    under_way: set[int] = set()

    async def send(batch: Batch) -> None:
        lane = lane_of(batch[0].row.visitor, lanes)
        assert lane not in under_way
        under_way.add(lane)
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        under_way.discard(lane)
        assert 1 <= len(batch) <= batch_rows_max
        sent.extend(step.row for step in batch)

    steps = [Step(row(at, visitor), ask=False) for at, visitor in enumerate(visitors)]
    asyncio.run(send_in_lanes(steps, send, lanes=lanes, batch_rows_max=batch_rows_max, lane_batches_max=waiting_max))

    assert sorted(one.row for one in sent) == list(range(len(visitors)))
    for visitor in set(visitors):
        rows = [one.row for one in sent if one.visitor == visitor]
        assert rows == sorted(rows)


times = st.lists(st.integers(946_684_800_000, 1_900_000_000_000), min_size=1, max_size=30).map(sorted)


@given(times, st.floats(0.1, 1e6), st.integers(1_500_000_000_000, 1_900_000_000_000))
def test_scaled_stamps_keep_the_order_and_are_when_rows_are_due(times_ms: list[int], speed: float, now: int) -> None:
    stamp = stamp_of("scaled", speed=speed, first_ms=times_ms[0], last_ms=times_ms[-1], start_ms=now)

    stamps = [stamp(time_ms) or 0 for time_ms in times_ms]

    assert stamps == sorted(stamps)
    for time_ms, stamped in zip(times_ms, stamps, strict=True):
        assert abs(stamped - now - due_s(time_ms, first_ms=times_ms[0], speed=speed) * 1000) <= 1


@given(times, st.integers(1_500_000_000_000, 1_900_000_000_000))
def test_at_the_greatest_speed_gaps_are_the_files_and_the_last_is_now(times_ms: list[int], now: int) -> None:
    stamp = stamp_of("scaled", speed=None, first_ms=times_ms[0], last_ms=times_ms[-1], start_ms=now)

    stamps = [stamp(time_ms) or 0 for time_ms in times_ms]

    assert stamps[-1] == now
    assert np.diff(stamps).tolist() == np.diff(times_ms).tolist()


@given(st.lists(st.floats(0, 60), min_size=1, max_size=200))
def test_percentiles_are_in_order_and_no_larger_than_the_greatest(times_s: list[float]) -> None:
    found = percentiles_of(times_s)

    assert found.p50_ms <= found.p90_ms <= found.p99_ms <= found.p99_9_ms <= found.max_ms
    assert found.max_ms == round(max(times_s) * 1e3, 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**32), st.data())
def test_a_crowd_acts_alike_for_the_same_seed_and_names_only_products(n: int, seed: int, data: st.DataObject) -> None:
    products = synthetic_products(n, seed)
    first, second = (Crowd(products, shoppers=5, seed=seed, run_id="run1") for _ in range(2))
    known = {product["item_id"] for product in products}
    order = data.draw(st.lists(st.integers(0, 4), max_size=60))
    shown = Shown("r", "home", tuple(sorted(known)[:10]))

    ids: set[str] = set()
    for at, shopper in enumerate(order):
        visit = first.step(shopper, shown if at % 3 else None)
        assert visit == second.step(shopper, shown if at % 3 else None)
        ids.update(event["message_id"] for event in visit.events)
        for event in visit.events:
            sent = msgspec.convert(event, SentEvent)
            assert sent.items or sent.event not in NEEDS_ITEMS
            assert {item["item_id"] for item in event.get("items", ())} <= known
            if event["event"] in {"view_item_list", "select_item"}:
                assert event["recommendation_id"] == "r"
    assert len(ids) == first._sent


@given(st.integers(1, 500), st.integers(0, 2**32))
def test_synthetic_products_are_the_same_for_the_same_seed_and_all_different(n: int, seed: int) -> None:
    products = synthetic_products(n, seed)

    assert products == synthetic_products(n, seed)
    assert len({product["item_id"] for product in products}) == n
    assert all(product["price"] > 0 and product["title"] and product["category"] for product in products)
