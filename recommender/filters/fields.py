"""What an expression may read: the catalogue's facts of an item, and the features the model holds of it."""

from collections.abc import Mapping
from typing import Literal

from ingest.catalog import Product

Kind = Literal["number", "text", "truth"]
"""What a field or an expression gives for one item."""

FACTS: Mapping[str, Kind] = {
    "item_id": "text",
    "title": "text",
    "price": "number",
    "currency": "text",
    "category": "text",
    "brand": "text",
    "image": "text",
    "url": "text",
    "availability": "text",
    "available": "truth",
    "margin": "number",
}
"""The catalogue's; `available` is what `availability` comes to."""

FEATURES: Mapping[str, Kind] = {"popularity": "number", "trend": "number"}
"""The model's: decayed count of a week's events, and how far an item is above its own usual rate, in deviations."""

FIELDS: Mapping[str, Kind] = {**FACTS, **FEATURES}


def fact(product: Product | None, name: str) -> float | str | bool | None:
    """One of `FACTS` of an item; None where it is not known. An item nobody described is available."""
    if product is None:
        return True if name == "available" else None
    if name == "available":
        return product.available
    value: float | str | bool | None = getattr(product, name)
    return value if value != "" else None
