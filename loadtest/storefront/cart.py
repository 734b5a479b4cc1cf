"""What a visitor of the sample shop has in the cart and has ordered; the cart lives in their own cookie."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

CART_COOKIE = "cart"
CART_LINES_MAX = 50
QUANTITY_MAX = 99
ORDERS_MAX = 1_000


class Line(NamedTuple):
    """One product in a cart and how many of it."""

    item_id: str
    quantity: int


Cart = tuple[Line, ...]


def decode_cart(cookie: str) -> Cart:
    """Read `FW-001:2.FW-007:1`; what is not of that form is left out, for a cookie is the visitor's to change."""
    lines = (part.partition(":") for part in cookie.split("."))
    read = (Line(item_id, int(count)) for item_id, _, count in lines if item_id and count.isascii() and count.isdigit())
    return tuple(line for line in read if 1 <= line.quantity <= QUANTITY_MAX)[:CART_LINES_MAX]


def encode_cart(cart: Cart) -> str:
    """The inverse of `decode_cart`."""
    return ".".join(f"{line.item_id}:{line.quantity}" for line in cart)


def with_one_more(cart: Cart, item_id: str) -> Cart:
    """`cart` with one more of `item_id`, up to the limits; beyond them it stays as it is."""
    if all(line.item_id != item_id for line in cart):
        return (*cart, Line(item_id, 1))[:CART_LINES_MAX]
    return tuple(
        Line(item_id, min(line.quantity + 1, QUANTITY_MAX)) if line.item_id == item_id else line for line in cart
    )


def without(cart: Cart, item_id: str) -> Cart:
    """`cart` without any `item_id`."""
    return tuple(line for line in cart if line.item_id != item_id)


class Orders:
    """The latest orders, in memory, oldest forgotten first: enough to show a thank-you page again."""

    def __init__(self, orders_max: int = ORDERS_MAX) -> None:
        self._carts: OrderedDict[str, Cart] = OrderedDict()
        self._orders_max = orders_max

    def place(self, order_id: str, cart: Cart) -> None:
        """Keep `cart` under `order_id`."""
        self._carts[order_id] = cart
        while len(self._carts) > self._orders_max:
            self._carts.popitem(last=False)

    @property
    def carts(self) -> Mapping[str, Cart]:
        """Order id to what was ordered."""
        return self._carts
