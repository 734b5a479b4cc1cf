"""Take products in: decode line by line, publish durably, and answer once our own table shows them."""

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec
from msgspec import Raw
from prometheus_client import Counter

from api.catalog_table import CatalogTable
from api.errors import BadRequestError, BodyTooLargeError, InvalidParameterError, UnavailableError
from api.problems import explain_invalid
from ingest.bus.contract import Bus, Record
from ingest.catalog import Product
from ingest.errors import BusError
from ingest.topics import CATALOG

_UPSERTED = Counter("afterclick_api_catalog_upserts_total", "Products taken or refused", ["status"])

_SLICE = 250
"""Lines decoded, and products published, at once; requests go between the slices."""
_FOLD_S_MAX = 1.0
_NEXT_STEP = "correct this line and send it again"

KNOWN = {
    "item_id": "1 to 64 characters",
    "title": "a text of at most 512 characters",
    "price": "a number >= 0",
    "currency": "three letters",
    "category": "a text of at most 256 characters",
    "brand": "a text of at most 128 characters",
    "image": "an address of at most 2048 characters",
    "url": "an address of at most 2048 characters",
    "availability": "in_stock, out_of_stock, preorder or discontinued",
    "margin": "a number",
}


class LineVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one product. `line`: counted from 1, blank lines too."""

    line: int
    status: Literal["accepted", "rejected"]
    item_id: str | None = None
    wanted: str | None = None
    got: str | None = None
    next_step: str | None = None


class CatalogAnswer(msgspec.Struct, frozen=True):
    """The body of a 200: something was accepted; the verdicts are in the order of the lines."""

    accepted: int
    rejected: int
    verdicts: tuple[LineVerdict, ...]


class Upsert(Protocol):
    """Takes a body of products."""

    async def __call__(self, body: bytes, *, lines: bool) -> CatalogAnswer:
        """`lines`: newline-delimited JSON; else one JSON array or object."""
        ...


class CatalogUpsert:
    """An upsert replaces all of a product; one bad line does not sink the others."""

    def __init__(self, bus: Bus, table: CatalogTable, *, lines_max: int, retry_after_s: int) -> None:
        self._bus = bus
        self._table = table
        self._lines_max = lines_max
        self._retry_after_s = retry_after_s

    async def __call__(self, body: bytes, *, lines: bool) -> CatalogAnswer:
        """Publish what is right, answer for each line.

        Raises:
            BadRequestError: not JSON at all.
            InvalidParameterError: not one product was right; carries the verdicts.
            BodyTooLargeError: more lines than one call may have.
            UnavailableError: the bus did not take all of it; an upsert may be repeated whole.
        """
        raws = _split_lines(body) if lines else _split_json(body)
        if not raws:
            raise BadRequestError(
                "empty_body", wanted="at least one product", got="an empty body", next_step="send one product a line"
            )
        if len(raws) > self._lines_max:
            raise BodyTooLargeError(
                "too_many_lines",
                wanted=f"at most {self._lines_max} products",
                got=str(len(raws)),
                next_step="send them in several requests",
            )
        products, verdicts = await judge(raws)
        await self._publish(products)
        await self._table.holds(products, within_s=_FOLD_S_MAX)
        rejected = len(verdicts) - len(products)
        _UPSERTED.labels("accepted").inc(len(products))
        _UPSERTED.labels("rejected").inc(rejected)
        answer = CatalogAnswer(len(products), rejected, tuple(verdicts))
        if not products:
            raise _nothing_accepted(answer)
        return answer

    async def _publish(self, products: Sequence[Product]) -> None:
        for start in range(0, len(products), _SLICE):
            records = [
                Record(product.item_id.encode(), msgspec.json.encode(product))
                for product in products[start : start + _SLICE]
            ]
            failed = next((v for v in await self._bus.publish(CATALOG, records) if isinstance(v, BusError)), None)
            if failed is not None:
                raise UnavailableError(
                    "bus_unavailable",
                    wanted="a bus that takes products durably",
                    got=str(failed),
                    next_step="send the same request again after Retry-After; an upsert may be repeated",
                    retry_after_s=self._retry_after_s,
                ) from failed


def _nothing_accepted(answer: CatalogAnswer) -> InvalidParameterError:
    first = answer.verdicts[0]
    return InvalidParameterError(
        "no_product_accepted",
        wanted=first.wanted or "",
        got=first.got or "",
        next_step=first.next_step or "",
        extensions=msgspec.to_builtins(answer),
    )


async def judge(raws: Sequence[tuple[int, bytes | Raw]]) -> tuple[list[Product], list[LineVerdict]]:
    """What is right, and a verdict for each numbered line. Gives others a turn now and then."""
    decoder = msgspec.json.Decoder(Product)
    products: list[Product] = []
    verdicts: list[LineVerdict] = []
    for done, (line, raw) in enumerate(raws, 1):
        try:
            product = decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            verdicts.append(_rejected(line, bytes(raw), error))
        else:
            products.append(product)
            verdicts.append(LineVerdict(line, "accepted", product.item_id))
        if done % _SLICE == 0:
            await asyncio.sleep(0)
    return products, verdicts


def _rejected(line: int, raw: bytes, error: Exception) -> LineVerdict:
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as broken:
        return LineVerdict(line, "rejected", None, "one JSON object in UTF-8", str(broken)[:120], _NEXT_STEP)
    if not isinstance(error, msgspec.ValidationError):
        return LineVerdict(line, "rejected", None, "an object less deeply nested", str(error)[:120], _NEXT_STEP)
    why: InvalidParameterError = explain_invalid(error, document, known=KNOWN, next_step=_NEXT_STEP)
    item_id = document.get("item_id") if isinstance(document, dict) else None
    named = item_id[:64] if isinstance(item_id, str) else None
    return LineVerdict(line, "rejected", named, why.wanted, why.got, why.next_step)


def _split_lines(body: bytes) -> list[tuple[int, bytes | Raw]]:
    return [(line, raw) for line, raw in enumerate(body.split(b"\n"), 1) if raw.strip()]


def _split_json(body: bytes) -> list[tuple[int, bytes | Raw]]:
    if not body.lstrip().startswith(b"["):
        return [(1, body)] if body.strip() else []
    try:
        return list(enumerate(msgspec.json.decode(body, type=list[Raw]), 1))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(
            "broken_json",
            wanted="a JSON array of products, or one product a line as application/x-ndjson",
            got=str(error),
            next_step="send valid JSON in UTF-8",
        ) from error
