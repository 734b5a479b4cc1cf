"""Fill the shop's catalogue over HTTP: NDJSON upserts with the secret key."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from loadtest.client import Client
from loadtest.delivery import problem_text, retry_after_s
from loadtest.errors import ConnectionLostError, KeyRefusedError, RequestRefusedError, ServerUnavailableError

ProductFacts = Mapping[str, Any]
"""One product in wire names: `item_id`, `title`, `price`, `category`, ...; None is left out."""


class Filled(msgspec.Struct, frozen=True):
    """How many products the catalogue took, and how many it refused."""

    accepted: int = 0
    rejected: int = 0


async def fill_catalog(
    client: Client, products: Sequence[ProductFacts], *, lines_max: int, deadline_s: float
) -> Filled:
    """Upsert `products`, `lines_max` a request. Sending them again changes nothing.

    Raises:
        KeyRefusedError: `client` does not carry the secret key.
        RequestRefusedError: the server refused a whole request.
        ServerUnavailableError: not taken before the deadline.
    """
    deadline = asyncio.get_running_loop().time() + deadline_s
    parts = [
        await _post(client, _lines(products[start : start + lines_max]), deadline)
        for start in range(0, len(products), lines_max)
    ]
    return Filled(sum(part.accepted for part in parts), sum(part.rejected for part in parts))


def _lines(products: Iterable[ProductFacts]) -> bytes:
    facts = ({name: value for name, value in product.items() if value is not None} for product in products)
    return b"\n".join(orjson.dumps(product) for product in facts)


async def _post(client: Client, body: bytes, deadline: float) -> Filled:
    clock = asyncio.get_running_loop().time
    while True:
        wait_s = 0.5
        try:
            response = await client.request("POST", "/v1/catalog", body=body, content_type="application/x-ndjson")
        except ConnectionLostError as error:
            reason = str(error)
        else:
            if response.status == 200:
                return msgspec.json.decode(response.body, type=Filled)
            reason = f"{response.status}: {problem_text(response)}"
            if response.status in {401, 403}:
                raise KeyRefusedError(f"filling the catalogue needs the secret key; got {reason}")
            if response.status != 429 and response.status < 500:
                raise RequestRefusedError(f"wanted the products taken by /v1/catalog; got {reason}")
            wait_s = retry_after_s(response) or wait_s
        if clock() + wait_s > deadline:
            raise ServerUnavailableError(f"wanted the catalogue filled; got {reason}; start the server and try again")
        await asyncio.sleep(wait_s)
