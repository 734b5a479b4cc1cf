"""What changed in an offer that people who looked at it would want to know."""

import msgspec

from ingest.catalog import Product
from recommender.triggers.engagement import Reason


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a product between two looks at it."""

    price: float | None
    currency: str | None
    available: bool


def offer_of(product: Product) -> Offer:
    """The product's offer."""
    return Offer(product.price, product.currency, product.available)


def news(before: Offer | None, after: Offer, *, price_drop_min: float) -> Reason | None:
    """Why to tell; None: nothing worth telling. Back in stock counts for more than a lower price.

    Args:
        before: None for an item never seen.
        price_drop_min: share of the price before, 0 to 1.
    """
    if before is None or not after.available:
        return None
    if not before.available:
        return "back_in_stock"
    if before.price is None or after.price is None or before.currency != after.currency or after.price <= 0:
        return None
    return "price_drop" if after.price <= before.price * (1 - price_drop_min) else None
