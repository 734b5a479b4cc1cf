"""What is in a visitor's cart: the newest event of an item decides, by event time."""

from typing import NamedTuple

import numpy as np

from feature_store.kinds import Kind
from feature_store.visitor_record import VisitorRecord

_CART_KINDS = {int(Kind.ADD_TO_CART), int(Kind.REMOVE_FROM_CART), int(Kind.PURCHASE)}


class CartLine(NamedTuple):
    """One item in the cart; `time_ms`: when it was last added to."""

    item_index: int
    quantity: int
    time_ms: int


def cart_at(record: VisitorRecord, *, now_ms: int) -> list[CartLine]:
    """The lines of the cart at `now_ms`, the one that was touched last at the end.

    Adding adds up; taking out and buying take the whole line out. Events beyond the ring's hundred are remembered as
    at most 32 lines; of those that come later than that, the newest by event time wins.
    """
    lines = _remembered(record, now_ms)
    end = int(np.searchsorted(record.time_ms, now_ms, side="right"))
    for time_ms, kind, quantity, item in zip(
        record.time_ms[:end].tolist(),
        record.kind[:end].tolist(),
        record.quantity[:end].tolist(),
        record.item_index[:end].tolist(),
        strict=True,
    ):
        if kind not in _CART_KINDS or item == 0:
            continue
        had = lines.pop(item, None)
        if kind == Kind.ADD_TO_CART:
            lines[item] = CartLine(item, quantity + (had.quantity if had is not None else 0), time_ms)
    return list(lines.values())


def _remembered(record: VisitorRecord, now_ms: int) -> dict[int, CartLine]:
    """What the events before the ring left in the cart; of merged visitors the newest line of an item holds."""
    if record.let_go is None:
        return {}
    newest: dict[int, CartLine] = {}
    for item, quantity, time_ms in sorted(record.let_go.cart.tolist(), key=lambda line: (line[2], line[0], line[1])):
        if time_ms <= now_ms:
            newest.pop(item, None)
            newest[item] = CartLine(item, quantity, time_ms)
    return {item: line for item, line in newest.items() if line.quantity}
