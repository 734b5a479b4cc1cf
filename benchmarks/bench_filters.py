"""How long do a filter's mask and its mapping to a model's rows take? Budget: 0.5 ms at 100,000 items.

Run: python benchmarks/bench_filters.py
"""

import timeit

import numpy as np

from ingest.catalog import Product
from recommender.filters import Columns, Filters
from recommender.models.item_table import ItemTable

TEXTS = (
    "price < 50",
    "price < 50 and category == current.category",
    "brand in ('b1', 'b2', 'b3') and available",
    "title contains '99'",
)


def main() -> None:
    random = np.random.default_rng(1)
    for item_count in (10_000, 100_000):
        columns = _columns(random, item_count)
        items = ItemTable(f"i{row}" for row in random.permutation(item_count))
        columns.follow(items)
        for text in TEXTS:
            _measure(columns, items, text)


def _measure(columns: Columns, items: ItemTable, text: str) -> None:
    filters = Filters()

    def ask() -> None:
        filters.filter(text).mask_on(columns, items, current="i5")

    first_ms = timeit.timeit(ask, number=1) * 1e3
    again_us = min(timeit.repeat(ask, number=10, repeat=21)) * 1e5
    print(f"filter items={len(items)} first_ms={first_ms:.1f} again_us={again_us:.1f} {text}")


def _columns(random: np.random.Generator, item_count: int) -> Columns:
    columns = Columns()
    for row, price in enumerate(random.integers(1, 100, item_count).tolist()):
        product = Product(
            f"i{row}", title=f"Title {row}", price=float(price), category=f"c{row % 50}", brand=f"b{row % 500}"
        )
        columns.put(product.item_id, product)
    return columns


if __name__ == "__main__":
    main()
