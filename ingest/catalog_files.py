"""Read a shop's products from a file: CSV, TSV, Parquet, JSON lines, or a Google Merchant feed (XML or TSV)."""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from ingest.errors import CatalogFileError

Row = Mapping[str, Any]

FIELDS = ("item_id", "title", "price", "currency", "category", "brand", "image", "url", "availability", "margin")

# First found wins: a sale price is what the visitor pays, a shop's own product type says more than Google's.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "item_id": ("item_id", "id", "product_id", "sku", "asin", "stockcode"),
    "title": ("title", "name", "item_name", "product_name", "description"),
    "price": ("sale_price", "price", "unit_price"),
    "currency": ("currency", "currency_code"),
    "category": ("category", "product_type", "item_category", "google_product_category"),
    "brand": ("brand", "item_brand", "manufacturer"),
    "image": ("image", "image_link", "image_url"),
    "url": ("url", "link", "product_url"),
    "availability": ("availability", "stock_status"),
    "margin": ("margin",),
}
_AVAILABILITY = {
    "in_stock": "in_stock",
    "instock": "in_stock",
    "available": "in_stock",
    "out_of_stock": "out_of_stock",
    "outofstock": "out_of_stock",
    "sold_out": "out_of_stock",
    "preorder": "preorder",
    "pre_order": "preorder",
    "backorder": "preorder",
    "discontinued": "discontinued",
}
# "15.00 USD", "USD 15.00", "1,299.00", "12,50"
_PRICE = re.compile(r"(?P<before>[A-Z]{3})?\s*(?P<number>\d[\d., ]*)\s*(?P<after>[A-Z]{3})?")
_LONGEST = {"title": 512, "category": 256, "brand": 128}


def read_products(path: Path) -> Iterator[dict[str, Any]]:
    """Every row of the file as a product in our names; what is empty is left out, what cannot be read stays as it is,
    so that the catalogue says what is wrong with it.

    Raises:
        CatalogFileError: no such file, of no kind we know, or broken.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise CatalogFileError(
            wanted=f"a file that ends in {', '.join(_READERS)}", got=str(path.name), next_step="save it as one of these"
        )
    if not path.is_file():
        raise CatalogFileError(wanted="a file of products", got=f"no file {path}", next_step="check the path")
    try:
        for row in reader(path):
            yield product_of(row)
    except (OSError, UnicodeDecodeError, csv.Error, ElementTree.ParseError, msgspec.DecodeError, ValueError) as error:
        raise CatalogFileError(
            wanted=f"a readable {path.suffix} file in UTF-8", got=f"{path.name}: {error}", next_step="mend the file"
        ) from error


def product_of(row: Row) -> dict[str, Any]:
    """One row in our names; columns are found whatever their case, and spaces or dashes in them."""
    plain = {re.sub(r"[\s\-]+", "_", str(name).strip().lower()): value for name, value in row.items()}
    product: dict[str, Any] = {}
    for field, names in _NAMES.items():
        value = next((plain[name] for name in names if plain.get(name) not in (None, "")), None)
        if value is not None:
            product[field] = value.strip() if isinstance(value, str) else value
    if "item_id" in product:
        product["item_id"] = _id(product["item_id"])
    if isinstance(product.get("price"), str):
        product |= _priced(product["price"])
    if isinstance(product.get("margin"), str):
        product |= {"margin": _priced(product["margin"]).get("price", product["margin"])}
    if "availability" in product:
        spoken = str(product["availability"]).lower().replace(" ", "_")
        product["availability"] = _AVAILABILITY.get(spoken.rpartition("/")[2], product["availability"])
    for field, longest in _LONGEST.items():
        if field in product:
            product[field] = str(product[field])[:longest]
    return product


def _id(value: Any) -> str:
    # A column of numbers with a gap in it is read as floats.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _priced(text: str) -> dict[str, Any]:
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        return {"price": text}
    number = match["number"].replace(" ", "")
    if "," in number and "." in number:
        # The last of the two parts the cents.
        thousands = "," if number.rfind(",") < number.rfind(".") else "."
        number = number.replace(thousands, "").replace(",", ".")
    elif number.count(",") == 1 and len(number.rpartition(",")[2]) != 3:
        number = number.replace(",", ".")
    number = number.replace(",", "")
    try:
        priced: dict[str, Any] = {"price": float(number)}
    except ValueError:
        return {"price": text}
    currency = match["after"] or match["before"]
    return priced | ({"currency": currency} if currency else {})


def _separated(path: Path, delimiter: str | None) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if delimiter is None:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t|", key=head.count)
        yield from csv.DictReader(file, delimiter=delimiter)


def _csv(path: Path) -> Iterator[Row]:
    return _separated(path, None)


def _tsv(path: Path) -> Iterator[Row]:
    return _separated(path, "\t")


def _parquet(path: Path) -> Iterator[Row]:
    # Here, not above: only who reads Parquet pays for it.
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error)) from error
    yield from frame.iter_rows(named=True)


def _lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield msgspec.json.decode(line, type=dict[str, Any])


def _xml(path: Path) -> Iterator[Row]:
    """RSS (`item`) or Atom (`entry`); an element is let go as soon as it is read."""
    for _, element in ElementTree.iterparse(path, events=("end",)):
        if _local(element.tag) in {"item", "entry"}:
            yield {_local(field.tag): field.get("href") or (field.text or "") for field in element}
            element.clear()


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


_READERS = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".txt": _tsv,
    ".parquet": _parquet,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".xml": _xml,
}
