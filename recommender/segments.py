"""What a visitor's own events say of them, as names that rules may ask for."""

from collections.abc import Iterable

from recommender.history import History

NEW, RETURNING, BUYER, CART = "new", "returning", "buyer", "cart"
DERIVED = (NEW, RETURNING, BUYER, CART)
"""`new`: no event is known. `returning`: one is older than a pause that ends a session. `buyer`: bought something that
was not given back. `cart`: something lies in the cart."""

_PAUSE_MS = 1_800_000


def segments_of(
    history: History, now_ms: int, *, in_cart: bool, bought: bool, named: Iterable[str] = ()
) -> frozenset[str]:
    """The segments of one visitor: those derived, and those that the shop `named`."""
    found = set(named)
    if len(history.item_ids) == 0:
        found.add(NEW)
    elif now_ms - int(history.time_ms[0]) > _PAUSE_MS:
        found.add(RETURNING)
    if bought:
        found.add(BUYER)
    if in_cart:
        found.add(CART)
    return frozenset(found)
