"""The sample shop's products: what they are called, cost and look like, and which tastes they serve."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

SHOP_NAME = "Fernwood & Daughters"
CURRENCY = "EUR"
OUT_OF_STOCK = frozenset({"FW-057", "FW-072"})
"""Shown as sold out on their pages, and never to be suggested."""

TASTES: Mapping[str, tuple[str, ...]] = {
    "cook": ("Cookware", "Tableware", "Coffee & Tea"),
    "gardener": ("Garden", "Houseplants"),
    "desk": ("Stationery", "Desk & Light", "Coffee & Tea"),
    "outdoors": ("Camping", "Cycling"),
    "calm": ("Bath", "Candles & Scent", "Houseplants"),
    "parent": ("Kids", "Stationery", "Bath"),
}
"""What a simulated shopper of a taste browses: its categories, dearest to them first."""


class ShopProduct(NamedTuple):
    """One product of the sample shop. `shape` and `colour` name how its picture is drawn."""

    item_id: str
    title: str
    price: float
    category: str
    description: str
    shape: str
    colour: str

    @property
    def available(self) -> bool:
        """Can it be put into the cart?"""
        return self.item_id not in OUT_OF_STOCK


@cache
def shop_products() -> tuple[ShopProduct, ...]:
    """All products, in the order of the shop's shelves; read once from `products.csv`."""
    table = files("loadtest.storefront").joinpath("products.csv").read_text("utf-8")
    rows = csv.DictReader(table.splitlines(), delimiter="|")
    return tuple(
        ShopProduct(
            item_id=f"FW-{number:03d}",
            title=row["title"],
            price=float(row["price"]),
            category=row["category"],
            description=row["description"],
            shape=row["shape"],
            colour=row["colour"],
        )
        for number, row in enumerate(rows, start=1)
    )


def shop_categories() -> tuple[str, ...]:
    """The categories, in the order of the shop's shelves."""
    return tuple(dict.fromkeys(product.category for product in shop_products()))


def shop_catalogue(shop_url: str = "") -> list[dict[str, Any]]:
    """The products as `POST /v1/catalog` takes them, one dictionary a line of its NDJSON.

    `shop_url`: the shop's own address without a slash at the end, put before image and page addresses, so that other
    pages (the dashboard) can show them too; empty leaves them relative to the shop.
    """
    return [
        {
            "item_id": product.item_id,
            "title": product.title,
            "price": product.price,
            "currency": CURRENCY,
            "category": product.category,
            "brand": SHOP_NAME,
            "image": f"{shop_url}/images/{product.item_id}.svg",
            "url": f"{shop_url}/products/{product.item_id}",
            "availability": "in_stock" if product.available else "out_of_stock",
        }
        for product in shop_products()
    ]
