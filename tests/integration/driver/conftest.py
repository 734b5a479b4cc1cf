"""A small HTTP server that writes down what it is sent, and answers, refuses or hangs up as a test tells it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest


class RecordingServer:
    """`/v1/events` accepts all unless `refusals` has a status left; `/v1/recommendations` answers `suggested`."""

    def __init__(self) -> None:
        self.url = ""
        self.events: list[dict] = []
        self.order: list[tuple[str, str]] = []
        self.asks: list[dict[str, str]] = []
        self.products: list[dict] = []
        self.keys: set[tuple[str, str]] = set()
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.hang_ups = 0
        self.stall_at: int | None = None
        """The number of the ask before which all answers stop for half a second."""
        self.stall_until_s = 0.0
        self.suggested: Callable[[str], list[str]] = lambda _visitor: []
        self.rejects: Callable[[dict], str | None] = lambda _event: None
        self.under_way: dict[str, int] = {}
        self.overlaps = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.split("\r\n")
                method, target, _ = first.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.keys.add((urlsplit(target).path, headers.get("authorization", "")))
                if self.hang_ups and method == "POST":
                    self.hang_ups -= 1
                    break
                status, extra, answer = await self.answer(target, body)
                content = orjson.dumps(answer)
                more = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode() + content)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, target: str, body: bytes) -> tuple[int, dict[str, str], object]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if path == "/v1/events":
            return await self.take(orjson.loads(body)["events"])
        if path == "/v1/recommendations":
            visitor = query["visitor"][0]
            self.asks.append({name: values[0] for name, values in query.items()})
            self.order.append(("ask", visitor))
            if self.stall_at == len(self.asks):
                self.stall_until_s = asyncio.get_running_loop().time() + 0.5
            await asyncio.sleep(max(0.0, self.stall_until_s - asyncio.get_running_loop().time()))
            items = [{"id": item, "score": 1.0} for item in self.suggested(visitor)]
            return 200, {}, {"items": items, "served_by": "blend", "degraded": None, "recommendation_id": "r1"}
        if path == "/v1/catalog":
            products = [orjson.loads(line) for line in body.splitlines()]
            self.products += products
            return 200, {}, {"accepted": len(products), "rejected": 0}
        return 404, {}, {"detail": "no such path"}

    async def take(self, events: list[dict]) -> tuple[int, dict[str, str], object]:
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return status, headers, {"detail": "told to"}
        visitors = {event["anonymous_id"] for event in events}
        for visitor in visitors:
            self.under_way[visitor] = self.under_way.get(visitor, 0) + 1
            self.overlaps += self.under_way[visitor] > 1
        # Let other requests in between, so that two batches of one visitor would be seen to overlap.
        await asyncio.sleep(0)
        for visitor in visitors:
            self.under_way[visitor] -= 1
        self.events += events
        self.order += [("event", event["anonymous_id"]) for event in events]
        codes = [self.rejects(event) for event in events]
        verdicts = [{"status": "rejected", "code": code} if code else {"status": "accepted"} for code in codes]
        rejected = sum(code is not None for code in codes)
        status = 422 if rejected == len(events) else 202
        return status, {}, {"accepted": len(events) - rejected, "rejected": rejected, "verdicts": verdicts}


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    recording = RecordingServer()
    listening = await asyncio.start_server(recording.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    recording.url = f"http://127.0.0.1:{port}"
    async with listening:
        yield recording
