"""Numbers for the kinds of deliberate events, as rings, arrays and models hold them."""

from enum import IntEnum


class Kind(IntEnum):
    """What a visitor did, in one byte. Numbers are stored: never change one, only add."""

    VIEW = 1
    SELECT = 2
    ADD_TO_CART = 3
    REMOVE_FROM_CART = 4
    PURCHASE = 5
    SEARCH = 6
    REFUND = 7


KIND_OF_EVENT: dict[str, Kind] = {
    "view_item": Kind.VIEW,
    "select_item": Kind.SELECT,
    "add_to_cart": Kind.ADD_TO_CART,
    "remove_from_cart": Kind.REMOVE_FROM_CART,
    "purchase": Kind.PURCHASE,
    "search": Kind.SEARCH,
    "refund": Kind.REFUND,
}
"""Deliberate events only; impressions (`view_item_list`, `view_promotion`) and page views are not in the ring."""

EVENT_OF_KIND: dict[int, str] = {int(kind): name for name, kind in KIND_OF_EVENT.items()}
