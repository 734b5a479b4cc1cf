"""Products from files, as shops have them."""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from ingest.catalog import Product
from ingest.catalog_files import product_of, read_products
from ingest.errors import CatalogFileError

FEED = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><g:id>TV_1</g:id><g:title>Google Television</g:title><g:link>https://shop.example/tv</g:link>
<g:image_link>https://shop.example/tv.jpg</g:image_link><g:availability>in stock</g:availability>
<g:price>599.00 USD</g:price><g:sale_price>499.00 USD</g:sale_price>
<g:google_product_category>Electronics &gt; Video</g:google_product_category><g:brand>Google</g:brand></item>
<item><g:id>TV_2</g:id><g:title>Old one</g:title><g:availability>backorder</g:availability></item>
</channel></rss>"""

ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0">
<entry><g:id>a1</g:id><title>Mug</title><link href="https://shop.example/mug"/><g:price>4.5 EUR</g:price>
</entry></feed>"""


def _written(tmp_path: Path, name: str, text: str) -> list[dict[str, Any]]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return list(read_products(path))


def test_a_google_merchant_feed(tmp_path: Path) -> None:
    first, second = _written(tmp_path, "feed.xml", FEED)

    assert msgspec.convert(first, Product) == Product(
        "TV_1",
        "Google Television",
        499.0,
        "USD",
        "Electronics > Video",
        "Google",
        "https://shop.example/tv.jpg",
        "https://shop.example/tv",
    )
    assert second == {"item_id": "TV_2", "title": "Old one", "availability": "preorder"}


def test_an_atom_feed(tmp_path: Path) -> None:
    [mug] = _written(tmp_path, "feed.xml", ATOM)

    assert mug == {
        "item_id": "a1",
        "title": "Mug",
        "url": "https://shop.example/mug",
        "price": 4.5,
        "currency": "EUR",
    }


@pytest.mark.parametrize("name", ["shop.csv", "shop.tsv"])
def test_separated_values_with_a_byte_order_mark(tmp_path: Path, name: str) -> None:
    separator = "\t" if name.endswith("tsv") else ";"
    rows = ["\ufeffID", "Name", "Price", "Availability"], ["7", "Mug, blue", "1.299,50 EUR", "Out of stock"]

    [mug] = _written(tmp_path, name, "\n".join(separator.join(row) for row in rows))

    assert mug == {
        "item_id": "7",
        "title": "Mug, blue",
        "price": 1299.5,
        "currency": "EUR",
        "availability": "out_of_stock",
    }


def test_parquet_and_lines_of_json(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": [1, 2], "title": ["Mug", None], "price": [4.5, None]})
    frame.write_parquet(tmp_path / "shop.parquet")
    (tmp_path / "shop.jsonl").write_text('{"item_id": "1", "price": 4.5}\n\n{"sku": "2"}\n')

    assert list(read_products(tmp_path / "shop.parquet")) == [
        {"item_id": "1", "title": "Mug", "price": 4.5},
        {"item_id": "2"},
    ]
    assert list(read_products(tmp_path / "shop.jsonl")) == [{"item_id": "1", "price": 4.5}, {"item_id": "2"}]


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("12", 12.0),
        ("12,50", 12.5),
        ("1,299.00", 1299.0),
        ("1,299", 1299.0),
        ("1 299,00", 1299.0),
        ("on request", "on request"),
    ],
)
def test_prices_as_people_write_them(text: str, price: float | str) -> None:
    assert product_of({"id": "x", "price": text})["price"] == price


@pytest.mark.parametrize(
    ("name", "text"), [("feed.xml", "<rss><item>"), ("shop.jsonl", "{"), ("shop.parquet", "no"), ("shop.doc", "")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(CatalogFileError, match=name):
        _written(tmp_path, name, text)
