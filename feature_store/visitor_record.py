"""A visitor's record: the latest 100 deliberate events, the last 50 items shown, and what earlier events left behind.

Everything that a window needs is computed from the events themselves when it is read, so that it is exact at every
millisecond. Only when a hundred-and-first event comes is the oldest let go: counted in buckets of one and of six
hours, noted as the newest of its kind, and laid on the cart. `visitor_layout` describes the bytes.

Which events are kept does not depend on the order they arrive in: they are ordered by (time, kind, hash of the item's
id, quantity, hash of the category, price), and the least go first. So the buckets do not depend on it either.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_store.record_header import LAYOUT_VISITOR, check_record, layout_of
from feature_store.touches import Touches, stored_batch, written_records
from feature_store.visitor_kernel import apply, read_record
from feature_store.visitor_layout import (
    CART_COLUMNS,
    CART_LINES_MAX,
    EVENTS_MAX,
    HOUR_MS,
    HOURS,
    KIND_SLOTS,
    RECORD_BYTES_MAX,
    RING_COLUMNS,
    SHOWN_MAX,
    SIX_HOURS,
    SIX_HOURS_MS,
)
from feature_store.visitor_migration import FIRST_VISITOR, upgraded_visitor

Numbers = NDArray[np.int64]


class LetGo(NamedTuple):
    """What the events before the ring left behind.

    Attributes:
        last_ms: shape (8,), newest time by kind, 0 for none.
        hours, six_hours: shape (n, 3): number of the bucket (time // its size), kind, count; counts above 0 only.
        reach_ms: events before this time may be missing from `hours`, and before the second from `six_hours`.
        cart: shape (m, 3): item, quantity (0: taken out), time of the event that said so last.
    """

    last_ms: Numbers
    hours: Numbers
    six_hours: Numbers
    reach_ms: tuple[int, int]
    cart: Numbers


class VisitorRecord(NamedTuple):
    """One visitor as stored, or several merged; arrays oldest first.

    Attributes:
        time_ms, kind, quantity, item_index: shape (n,), n <= 100 of one visitor; item index 0 for an event without item
            (a search).
        category_index, price_code: shape (n,), as the event told them; 0 where it did not.
        let_go: None while every event is in the arrays.
        first_ms: time of the first deliberate event ever, 0 without any.
        shown_time_ms, shown_item_index: shape (m,), m <= 50 of one visitor.
    """

    time_ms: NDArray[np.int64]
    kind: NDArray[np.uint8]
    quantity: NDArray[np.uint8]
    item_index: NDArray[np.uint32]
    category_index: NDArray[np.uint32]
    price_code: NDArray[np.uint8]
    let_go: LetGo | None
    first_ms: int
    shown_time_ms: NDArray[np.int64]
    shown_item_index: NDArray[np.uint32]

    @property
    def overflowed(self) -> bool:
        """Events were let go: a window that reaches past the oldest kept holds "at least" what it counts."""
        return self.let_go is not None


EMPTY_VISITOR = VisitorRecord(
    np.empty(0, np.int64),
    np.empty(0, np.uint8),
    np.empty(0, np.uint8),
    np.empty(0, np.uint32),
    np.empty(0, np.uint32),
    np.empty(0, np.uint8),
    None,
    0,
    np.empty(0, np.int64),
    np.empty(0, np.uint32),
)


_NONE = np.empty((0, 3), np.int64)
UNKNOWN_LET_GO = LetGo(np.zeros(KIND_SLOTS, np.int64), _NONE, _NONE, (1 << 62, 1 << 62), _NONE)
"""Of events that were let go nothing is known, not even since when."""


def read_visitor(record: bytes | None) -> VisitorRecord:
    """Decode one record; nothing stored is a visitor without events.

    Raises:
        RecordFormatError: a version or layout that this release does not read.
    """
    if record is None:
        return EMPTY_VISITOR
    if layout_of(record) == FIRST_VISITOR:
        record = upgraded_visitor(record)
    check_record(record, layout=LAYOUT_VISITOR)
    ring, shown = np.empty((EVENTS_MAX, RING_COLUMNS), np.int64), np.empty((SHOWN_MAX, RING_COLUMNS), np.int64)
    last_ms, cart = np.empty(KIND_SLOTS, np.int64), np.empty((CART_LINES_MAX, CART_COLUMNS), np.int64)
    numbers, counts = np.empty(HOURS + SIX_HOURS, np.int64), np.empty((HOURS + SIX_HOURS, KIND_SLOTS), np.int64)
    count, shown_count, first_ms, overflowed, cart_count = read_record(
        np.frombuffer(record, np.uint8), 0, len(record), ring, shown, last_ms, numbers, counts, cart
    )
    ring, shown = ring[:count], shown[:shown_count]
    return VisitorRecord(
        time_ms=ring[:, 0],
        kind=ring[:, 1].astype(np.uint8),
        quantity=ring[:, 2].astype(np.uint8),
        item_index=ring[:, 3].astype(np.uint32),
        category_index=ring[:, 4].astype(np.uint32),
        price_code=ring[:, 5].astype(np.uint8),
        let_go=_let_go(int(ring[-1, 0]), last_ms, numbers, counts, cart[:cart_count]) if overflowed else None,
        first_ms=first_ms,
        shown_time_ms=shown[:, 0],
        shown_item_index=shown[:, 3].astype(np.uint32),
    )


def apply_to_visitors(
    records: Sequence[bytes | None], touches: Touches, *, item_hash: NDArray[np.uint32], log_id: int
) -> list[bytes | None]:
    """The records after `touches`, None for those that already had them all.

    Args:
        records: as stored, or None; not modified.
        touches: rows in log order; `KIND` 0 is an impression.
        item_hash: hash of the name by its number; covers every item and category in `records` and touches.
        log_id: of the log that the touches come from.
    """
    batch = stored_batch(records, touches, log_id)
    out, ends = batch.output(RECORD_BYTES_MAX)
    apply(batch.stored, batch.offsets, batch.touches, batch.starts, item_hash, batch.log_id, out, ends)
    return written_records(out, ends)


def merge_visitors(visitors: Sequence[VisitorRecord]) -> VisitorRecord:
    """The browsers of one person as one visitor: any order and any grouping gives the same.

    Nothing is cut: of n browsers there are up to n * 100 events and n * 50 items shown.
    """
    some = [visitor for visitor in visitors if len(visitor.time_ms) or len(visitor.shown_time_ms)]
    if len(some) < 2:
        return some[0] if some else EMPTY_VISITOR
    time_ms, kind, quantity, item_index, category_index, price_code = (
        np.concatenate([visitor[column] for visitor in some]) for column in range(6)
    )
    order = np.lexsort((price_code, category_index, quantity, item_index, kind, time_ms))
    shown_ms = np.concatenate([visitor.shown_time_ms for visitor in some])
    shown_item = np.concatenate([visitor.shown_item_index for visitor in some])
    shown_order = np.lexsort((shown_item, shown_ms))
    return VisitorRecord(
        time_ms=time_ms[order],
        kind=kind[order],
        quantity=quantity[order],
        item_index=item_index[order],
        category_index=category_index[order],
        price_code=price_code[order],
        let_go=_merged([visitor.let_go for visitor in some if visitor.let_go is not None]),
        first_ms=min((visitor.first_ms for visitor in some if visitor.first_ms), default=0),
        shown_time_ms=shown_ms[shown_order],
        shown_item_index=shown_item[shown_order],
    )


def _let_go(newest_ms: int, last_ms: Numbers, numbers: Numbers, counts: Numbers, cart: Numbers) -> LetGo:
    hour, six_hours = newest_ms // HOUR_MS, newest_ms // SIX_HOURS_MS
    return LetGo(
        last_ms=last_ms,
        hours=_cells(numbers[:HOURS], counts[:HOURS]),
        six_hours=_cells(numbers[HOURS:], counts[HOURS:]),
        reach_ms=((hour - HOURS + 1) * HOUR_MS, (six_hours - SIX_HOURS + 1) * SIX_HOURS_MS),
        cart=cart,
    )


def _cells(numbers: Numbers, counts: Numbers) -> Numbers:
    places, kinds = np.nonzero(counts)
    return np.column_stack((numbers[places], kinds, counts[places, kinds]))


def _merged(parts: Sequence[LetGo]) -> LetGo | None:
    if not parts:
        return None
    cart = np.concatenate([part.cart for part in parts])
    hours, six_hours = (np.concatenate(cells) for cells in zip(*((p.hours, p.six_hours) for p in parts), strict=True))
    return LetGo(
        last_ms=np.max([part.last_ms for part in parts], axis=0),
        hours=hours[np.lexsort(hours.T)],
        six_hours=six_hours[np.lexsort(six_hours.T)],
        reach_ms=(max(part.reach_ms[0] for part in parts), max(part.reach_ms[1] for part in parts)),
        cart=cart[np.lexsort(cart.T)],
    )
