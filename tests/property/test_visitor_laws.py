"""A visitor's features against brute force over all their events, at random instants, for 1 to 10,000 events."""

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feature_store.affinity import HALF_LIFE_MS, KIND_WEIGHTS, category_affinity, price_affinity
from feature_store.cart import cart_at
from feature_store.kinds import Kind
from feature_store.prices import log_prices
from feature_store.sessions import IDLE_MS, session_at
from feature_store.touches import AMOUNT, CATEGORY, ITEM, KIND, MAJOR, PRICE, TIME_MS, TOUCH_COLUMNS
from feature_store.visitor_layout import CART_LINES_MAX, EVENTS_MAX, HOUR_MS
from feature_store.visitor_record import VisitorRecord, apply_to_visitors, merge_visitors, read_visitor
from feature_store.windows import VISITOR_WINDOWS_MS, count_by_kind, last_ms_by_kind

START_MS = 1_700_000_000_000
NAMES = 400
HASHES = np.random.default_rng(3).integers(0, 2**32, NAMES, dtype=np.uint32)
Touches = NDArray[np.int64]


class Life(NamedTuple):
    """All events of one visitor in the order of their arrival, and an instant after `count` of them."""

    touches: Touches
    count: int
    now_ms: int

    @property
    def arrived(self) -> Touches:
        return self.touches[: self.count]


@st.composite
def lives(draw: st.DrawFn, *, in_order: bool = False) -> Life:
    """From one click to a robot's 10,000, over an hour to three weeks, busy times and pauses."""
    count = draw(st.one_of(st.integers(1, 130), st.integers(1, 10_000)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    span_ms = draw(st.sampled_from((HOUR_MS, 12 * HOUR_MS, 72 * HOUR_MS, 500 * HOUR_MS)))
    visits = np.sort(rng.integers(0, span_ms, 1 + count // 12))
    times_ms = START_MS + np.sort(rng.choice(visits, count) + rng.integers(0, IDLE_MS, count))
    touches = np.zeros((count, TOUCH_COLUMNS), np.int64)
    touches[:, TIME_MS] = times_ms
    touches[:, KIND] = rng.integers(1, max(Kind) + 1, count)
    touches[:, AMOUNT] = rng.integers(1, 300, count)
    touches[:, ITEM] = rng.integers(1, draw(st.sampled_from((8, 60))), count)
    touches[:, CATEGORY] = np.where(rng.random(count) < 0.8, 300 + touches[:, ITEM] % 9, 0)
    touches[:, PRICE] = np.where(rng.random(count) < 0.7, 1 + touches[:, ITEM], 0)
    if not in_order:
        touches = touches[np.argsort(times_ms + rng.exponential(draw(st.sampled_from((1, HOUR_MS))), count))]
    touches[:, MAJOR] = np.arange(1, count + 1)
    arrived = draw(st.integers(1, count))
    later_ms = draw(st.sampled_from((0, 1, 59_999, HOUR_MS - 1, 30 * HOUR_MS)))
    return Life(touches, arrived, int(touches[:arrived, TIME_MS].max()) + later_ms)


def record_of(touches: Touches, batches: int = 3) -> VisitorRecord:
    record: bytes | None = None
    for part in np.array_split(touches, batches):
        if len(part):
            [record] = apply_to_visitors([record], part, item_hash=HASHES, log_id=1)
    return read_visitor(record)


def in_order(rows: Touches) -> Touches:
    """By (time, kind, hash of the item, quantity, hash of the category, price), as the ring has them."""
    amounts, hashes = np.minimum(rows[:, AMOUNT], 255), HASHES.astype(np.int64)
    by_facts = (rows[:, PRICE], hashes[rows[:, CATEGORY]], amounts, hashes[rows[:, ITEM]])
    return rows[np.lexsort((*by_facts, rows[:, KIND], rows[:, TIME_MS]))]


def let_go_before(touches: Touches) -> int:
    """The time of the newest event that the ring cannot hold any more."""
    return int(np.sort(touches[:, TIME_MS])[-EVENTS_MAX - 1]) if len(touches) > EVENTS_MAX else -1


some_lives = settings(max_examples=40, deadline=None)


@given(lives())
@some_lives
def test_counts_equal_brute_force_up_to_their_stated_edge(life: Life) -> None:
    record = record_of(life.arrived)
    times_ms, kinds = life.arrived[:, TIME_MS], life.arrived[:, KIND]
    gone_ms = let_go_before(life.arrived)

    for window, window_ms in VISITOR_WINDOWS_MS.items():
        start_ms = life.now_ms - window_ms
        counted = count_by_kind(record, window_ms=window_ms, now_ms=life.now_ms)
        edge_ms = {"24h": HOUR_MS, "7d": 6 * HOUR_MS}.get(window, 0)
        for kind, count in zip(Kind, counted.counts, strict=True):
            exact = int(((kinds == kind) & (times_ms > start_ms)).sum())
            if gone_ms <= start_ms - edge_ms:
                assert count == exact
            elif edge_ms:
                with_cut_bucket = int(((kinds == kind) & (times_ms > start_ms - edge_ms)).sum())
                assert exact <= count <= with_cut_bucket
            else:
                assert count <= exact
        if not edge_ms:
            # With the oldest event that is kept inside the window, one that was let go may have been inside it too.
            assert counted.at_least or gone_ms <= start_ms


@given(lives())
@some_lives
def test_recency_of_each_kind_is_exact(life: Life) -> None:
    found = last_ms_by_kind(record_of(life.arrived), now_ms=life.now_ms)

    for kind in Kind:
        of_kind = life.arrived[life.arrived[:, KIND] == kind, TIME_MS]
        assert found.get(kind) == (int(of_kind.max()) if len(of_kind) else None)


@given(lives())
@some_lives
def test_the_session_is_what_came_since_the_last_pause(life: Life) -> None:
    found = session_at(record_of(life.arrived), now_ms=life.now_ms)

    times_ms = np.sort(life.arrived[:, TIME_MS]).tolist()
    if life.now_ms - times_ms[-1] >= IDLE_MS:
        assert found is None
        return
    session = [times_ms[-1]]
    for time_ms in reversed(times_ms[:-1]):
        if session[0] - time_ms >= IDLE_MS:
            break
        session.insert(0, time_ms)
    assert found is not None
    assert found.last_ms == session[-1]
    if len(session) <= EVENTS_MAX:
        assert (found.start_ms, found.depth, found.at_least) == (session[0], len(session), False)
    else:
        assert found.depth == EVENTS_MAX
        assert found.at_least


@given(lives())
@some_lives
def test_affinities_are_sums_of_faded_weights(life: Life) -> None:
    record = record_of(life.arrived)

    shares = dict(category_affinity(record, now_ms=life.now_ms))
    price = price_affinity(record, now_ms=life.now_ms)

    weights: dict[int, float] = {}
    logs: list[tuple[float, float]] = []
    for row in in_order(life.arrived)[-EVENTS_MAX:]:
        weight = KIND_WEIGHTS.get(Kind(row[KIND]), 0.0) * 2.0 ** (-(life.now_ms - row[TIME_MS]) / HALF_LIFE_MS)
        if row[CATEGORY] and weight:
            weights[int(row[CATEGORY])] = weights.get(int(row[CATEGORY]), 0.0) + weight
        if row[PRICE] and weight:
            logs.append((float(log_prices(np.array([row[PRICE]], np.uint8))[0]), weight))
    assert shares.keys() == weights.keys()
    for category, weight in weights.items():
        np.testing.assert_allclose(shares[category], weight / sum(weights.values()), rtol=1e-9)
    assert (price is None) == (not logs)
    if price is not None:
        total = sum(weight for _, weight in logs)
        np.testing.assert_allclose(np.log(price.mean), sum(log * weight for log, weight in logs) / total, rtol=1e-9)


@given(lives(in_order=True))
@some_lives
def test_the_cart_is_what_was_added_since_it_was_last_taken_out(life: Life) -> None:
    found = {line.item_index: line.quantity for line in cart_at(record_of(life.arrived), now_ms=life.now_ms)}

    cart: dict[int, int] = {}
    newest_ms: dict[int, int] = {}
    for row in in_order(life.arrived):
        item, kind = int(row[ITEM]), Kind(row[KIND])
        if kind in {Kind.ADD_TO_CART, Kind.REMOVE_FROM_CART, Kind.PURCHASE}:
            newest_ms[item] = int(row[TIME_MS])
            cart[item] = cart.get(item, 0) + min(int(row[AMOUNT]), 255) if kind == Kind.ADD_TO_CART else 0
    full = {item: quantity for item, quantity in cart.items() if quantity}
    if len(life.arrived) <= EVENTS_MAX or len(cart) <= CART_LINES_MAX:
        assert found == full
    # Of more lines than are remembered beyond the ring the newest are there, though maybe with what was added of late.
    for item in sorted(newest_ms, key=lambda item: -newest_ms[item])[:CART_LINES_MAX]:
        assert (item in found) == (cart[item] > 0)
        assert found.get(item, 0) <= cart[item]


@given(lives(), st.integers(1, 6))
@some_lives
def test_arrival_in_any_order_ends_in_the_same_record_up_to_the_cart(life: Life, batches: int) -> None:
    ordered = life.touches[np.argsort(life.touches[:, TIME_MS], kind="stable")].copy()
    ordered[:, MAJOR] = np.arange(1, len(ordered) + 1)

    one, other = record_of(life.touches, batches), record_of(ordered, 1)

    for name, mine, theirs in zip(VisitorRecord._fields, one, other, strict=True):
        if name != "let_go":
            np.testing.assert_array_equal(mine, theirs)
    assert (one.let_go is None) == (other.let_go is None)
    if one.let_go is not None and other.let_go is not None:
        for mine, theirs in zip(one.let_go[:-1], other.let_go[:-1], strict=True):
            np.testing.assert_array_equal(mine, theirs)


@given(lives(), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_merging_browsers_ignores_their_order_and_counts_as_one(life: Life, random: object) -> None:
    browsers = [record_of(part) for part in np.array_split(life.touches[:90], 3)]
    shuffled = list(browsers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    together = record_of(life.touches[:90])

    merged = merge_visitors(shuffled)
    in_two_steps = merge_visitors([merge_visitors(browsers[:2]), browsers[2]])

    for mine, theirs in zip(merged, in_two_steps, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for window_ms in VISITOR_WINDOWS_MS.values():
        counted = count_by_kind(merged, window_ms=window_ms, now_ms=life.now_ms)
        assert counted == count_by_kind(together, window_ms=window_ms, now_ms=life.now_ms)
