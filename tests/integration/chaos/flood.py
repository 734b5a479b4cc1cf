"""More requests than a server can answer, from bare sockets: a client library would be the slower of the two."""

import asyncio
import json
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, quote

from tests.integration.chaos.hardship import Answered

_BUDGET_MS = 100


async def flood(
    address: SplitResult,
    write_key: str,
    visitors: Sequence[str],
    *,
    connections: int,
    seconds: float,
    rate_per_s: float | None = None,
) -> list[Answered]:
    """What came back. `rate_per_s`: begun at this rate whatever is answered, as long as a connection is free; None:
    each connection asks as soon as it is answered.
    """
    answers: list[Answered] = []
    begun_s = time.perf_counter()
    begun = 0

    async def call(number: int) -> None:
        nonlocal begun
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            while (elapsed_s := time.perf_counter() - begun_s) < seconds:
                if rate_per_s is not None and begun > rate_per_s * elapsed_s:
                    await asyncio.sleep(0.002)
                    continue
                begun += 1
                writer.write(_request(address, write_key, visitors[(number + begun) % len(visitors)]))
                answers.append(await _answered(reader))
        finally:
            writer.close()

    await asyncio.gather(*[call(number) for number in range(connections)])
    return answers


def _request(address: SplitResult, write_key: str, visitor: str) -> bytes:
    path = f"/v1/recommendations?visitor={quote(visitor)}&n=10&budget_ms={_BUDGET_MS}"
    return f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nX-Afterclick-Key: {write_key}\r\n\r\n".encode()


async def _answered(reader: asyncio.StreamReader) -> Answered:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
    }
    body = await reader.readexactly(int(headers["content-length"]))
    return Answered(_BUDGET_MS, int(head.split(" ")[1]), json.loads(body), headers.get("retry-after"))
