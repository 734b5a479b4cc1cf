"""How much does one server process on one core answer?

Question: `GET /v1/recommendations` (visitor's record read from the store, personal top 20 of 10,000 items, answer
logged to the bus) and `POST /v1/events` (one event, and 100 at once, on disk before the 202), each at saturation.
And `POST /v1/rerank` of 100 candidates by one caller.
Budget: 2,500 recommendations/s, a rerank within 10 ms (p99), 2,000 single-event posts/s, 50,000 events/s in batches of
100.
Machine: two cores; the server on the first, both Valkey servers and this driver on the second. Nothing else runs.
Method: closed loop over kept-alive connections; the server's CPU is its own process time, all threads.

    python benchmarks/bench_api.py [--items 10000] [--connections 32] [--seconds 5]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import numpy as np
import psutil
import uvloop
from bench_recommend import SESSIONS, crowd, model_of

from afterclick.ports import free_port
from afterclick.valkey_server import ValkeyServer
from api.app import build_app
from api.catalog_table import CatalogTable
from api.keys import Keys
from api.server import listening_socket, serve
from api.services import Services
from api.settings import ApiSettings
from feature_store.known_person import KnownPersons
from feature_store.online_features import OnlineFeatures
from feature_store.online_store import OnlineStore
from feature_store.settings import WorkerSettings
from feature_store.visitor_reader import VisitorReader
from feature_store.worker import run_worker
from ingest.attribution import Names
from ingest.bus import open_bus
from ingest.collector import Collector
from ingest.settings import CollectorSettings
from ingest.topics import ALL_TOPICS
from recommender.archive_counting import (
    Archive,
    ClickCountsJob,
    EarnedJob,
    OutcomesJob,
    count_clicks,
    count_earned,
    count_outcomes,
)
from recommender.kernels import compile_all
from recommender.merchandising import Ledger, MerchandisingLog
from recommender.merchandising.kinds import KINDS
from recommender.recommender import Recommender
from recommender.settings import RecommenderSettings

KEYS = Keys("wk_bench_0123456789", "sk_bench_0123456789", "ab" * 32)
VISITORS = 2_000
PARTITIONS = 8
BATCH = 100
CANDIDATES = 100
# A batch of a shop's server holds a few events of each of many visitors.
EVENTS_OF_A_VISITOR = 4


async def run_server(bus_url: str, store_url: str, port: int, items: int) -> None:
    bus = await open_bus(bus_url)
    await bus.ensure(ALL_TOPICS, partitions=PARTITIONS)
    compile_all()
    recommender = Recommender(RecommenderSettings())
    recommender.use(model_of(items, crowd(items, SESSIONS)))
    names = Names()
    collector = Collector(
        bus, CollectorSettings(), KEYS.visitor_secret_bytes, lambda: time.time_ns() // 1_000_000, names
    )
    store = OnlineStore(store_url)
    visitors = VisitorReader(store)
    services = Services(
        accept=collector.accept,
        read_history=visitors.history,
        read_features=OnlineFeatures(store, visitors).read,
        person=KnownPersons(bus, store, visitors),
        rank=recommender.recommend,
        why_not=recommender.why_not,
        use_rules=recommender.use_rules,
        preview=recommender.preview,
        rerank=recommender.rerank,
        similar=recommender.similar,
        catalog=CatalogTable(recommender.describe),
        open_store=lambda: OnlineStore(store_url),
        bus=bus,
        keys=KEYS,
        snippet=b"",
        merchandising=MerchandisingLog(bus, Ledger(KINDS)),
        count_outcomes=lambda experiment: count_outcomes(OutcomesJob(Archive("."), experiment)),
        count_clicks=lambda placement, since_ms: count_clicks(ClickCountsJob(Archive("."), placement, since_ms)),
        count_earned=lambda by, from_ms, until_ms: count_earned(EarnedJob(Archive("."), by, from_ms, until_ms)),
        names=names,
    )
    settings = ApiSettings()
    listener = listening_socket("127.0.0.1", port)
    await serve(build_app(services, settings), settings, stop=asyncio.Event(), listener=listener)


class Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole."""

    def __init__(self, make: Callable[[], bytes], took_s: list[float], failures: list[bytes], until_s: float) -> None:
        self._make, self._took_s, self._failures, self._until_s = make, took_s, failures, until_s
        self._buffer = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Answers come whole or in pieces; one at a time."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        now_s = time.perf_counter()
        self._took_s.append(now_s - self._sent_s)
        if head[9:12] not in {b"200", b"202"}:
            self._failures.append(self._buffer)
        self._buffer = b""
        if now_s < self._until_s:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._make())


async def saturate(
    name: str, port: int, server: psutil.Process, make: Callable[[], bytes], options, *, each: int = 1
) -> None:
    """`each`: what is counted in one request; `cpu_us` is of one of these."""
    loop = asyncio.get_running_loop()
    for seconds, is_counted in ((1.0, False), (options.seconds, True)):
        took_s: list[float] = []
        failures: list[bytes] = []
        cpu_s, started_s = sum(server.cpu_times()[:2]), time.perf_counter()

        def connect(until_s: float = started_s + seconds, into=took_s, bad=failures) -> Connection:
            return Connection(make, into, bad, until_s)

        opened = [await loop.create_connection(connect, "127.0.0.1", port) for _ in range(options.connections)]
        await asyncio.gather(*(connection.done for _, connection in opened))
        if is_counted:
            elapsed_s = time.perf_counter() - started_s
            cpu_us = (sum(server.cpu_times()[:2]) - cpu_s) / (len(took_s) * each) * 1e6
            p50, p99 = np.percentile(took_s, [50, 99]) * 1e3
            print(
                f"{name} per_s={len(took_s) * each / elapsed_s:.0f} cpu_us={cpu_us:.1f} "
                f"p50_ms={p50:.2f} p99_ms={p99:.2f} "
                f"failed={len(failures)} n={len(took_s)} connections={options.connections}"
            )
            if failures:
                print(failures[0][:300])


def recommendation_requests() -> Callable[[], bytes]:
    rng = np.random.default_rng(5)

    def make() -> bytes:
        visitor = rng.integers(VISITORS)
        return (
            f"GET /v1/recommendations?visitor=visitor-{visitor}&placement=home&n=20 HTTP/1.1\r\nHost: bench\r\n"
            f"X-Afterclick-Key: {KEYS.write_key}\r\nAccept: */*\r\n\r\n"
        ).encode()

    return make


def reranks(options) -> Callable[[], bytes]:
    rng = np.random.default_rng(6)

    def make() -> bytes:
        candidates = [f"item-{row}" for row in rng.integers(options.items, size=CANDIDATES)]
        body = msgspec.json.encode({"visitor": f"visitor-{rng.integers(VISITORS)}", "items": candidates})
        head = f"POST /v1/rerank HTTP/1.1\r\nHost: bench\r\nX-Afterclick-Key: {KEYS.write_key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    return make


def event_requests() -> Callable[[], bytes]:
    sent = iter(range(10**9))

    def make() -> bytes:
        number = next(sent)
        body = json.dumps(_event(number, f"visitor-{number % VISITORS}", number % 10_000, "single")).encode()
        head = f"POST /v1/events HTTP/1.1\r\nHost: bench\r\nX-Afterclick-Key: {KEYS.write_key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    return make


def event_batches() -> Callable[[], bytes]:
    sent = iter(range(10**9))

    def make() -> bytes:
        first = next(sent) * BATCH
        batch = [
            _event(n, f"visitor-{n // EVENTS_OF_A_VISITOR % VISITORS}", n % 10_000, "batch")
            for n in range(first, first + BATCH)
        ]
        body = msgspec.json.encode(batch)
        head = f"POST /v1/events HTTP/1.1\r\nHost: bench\r\nX-Afterclick-Key: {KEYS.write_key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    return make


def _event(number: int, visitor: str, row: int, series: str) -> dict[str, object]:
    return {
        "message_id": f"{series}-{number:012d}",
        "event": "view_item",
        "anonymous_id": visitor,
        "timestamp": time.time_ns() // 1_000_000,
        "session_id": "5b0c9f6e-2a53",
        "items": [{"item_id": f"item-{row}", "price": 12.5}],
    }


async def fill(url: str, bus_url: str, store_url: str, items: int) -> None:
    """Give every visitor the history of one session of the crowd, through collector and worker."""
    stop = asyncio.Event()
    bus, store = await open_bus(bus_url), OnlineStore(store_url)
    worker = asyncio.create_task(run_worker(bus, store, WorkerSettings(), stop))
    events = crowd(items, VISITORS)
    clicks = [
        _event(number, f"visitor-{session}", int(row), "history")
        for number, (session, row) in enumerate(zip(events.sessions, events.rows, strict=True))
    ]
    async with httpx.AsyncClient(base_url=url, headers={"X-Afterclick-Key": KEYS.write_key}, timeout=30) as client:
        for first in range(0, len(clicks), 500):
            body = msgspec.json.encode(clicks[first : first + 500])
            reply = await client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
            assert reply.status_code == 202, reply.text
        await _until_seen(client, len(clicks))
    stop.set()
    await worker
    await store.close()
    await bus.close()


async def _until_seen(client: httpx.AsyncClient, clicks: int) -> None:
    seen = 0
    while seen < clicks:
        await asyncio.sleep(0.5)
        numbers = await client.get("/dashboard/data", headers={"X-Afterclick-Key": KEYS.secret_key})
        seen = next(kind["count_1h"] for kind in numbers.json()["kinds"] if kind["event"] == "view_item")


async def drive(options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bus = ValkeyServer(Path(folder) / "bus", port=free_port(), appendfsync="always")
        store = ValkeyServer(Path(folder) / "store", port=free_port(), appendfsync="everysec")
        bus.start()
        store.start()
        port = free_port()
        argv = [sys.executable, __file__, "--serve", bus.url, store.url, str(port), "--items", str(options.items)]
        server = subprocess.Popen(["taskset", "-c", "0", *argv])
        try:
            url = f"http://127.0.0.1:{port}"
            await _until_ready(url)
            await fill(url, bus.url, store.url, options.items)
            process = psutil.Process(server.pid)
            name = f"recommendations items={options.items}"
            await saturate(name, port, process, recommendation_requests(), options)
            await _print_answers(url)
            # One caller, not saturation: what a shop's search waits for.
            at_ease = argparse.Namespace(**vars(options) | {"connections": 1})
            await saturate(f"rerank_of_{CANDIDATES} items={options.items}", port, process, reranks(options), at_ease)
            await saturate("events_single", port, process, event_requests(), options)
            await saturate(f"events_in_batches_of_{BATCH}", port, process, event_batches(), options, each=BATCH)
        finally:
            server.kill()
            server.wait()
            bus.kill()
            store.kill()


async def _print_answers(url: str) -> None:
    """By which rung, and whether the store was read: a fast answer without a history would be no figure."""
    async with httpx.AsyncClient(timeout=30) as client:
        text = (await client.get(url + "/metrics", headers={"X-Afterclick-Key": KEYS.secret_key})).text
    for line in text.splitlines():
        if line.startswith(("afterclick_api_recommendations_total", "afterclick_api_store_reads_failed_total")):
            print(line)


async def _until_ready(url: str) -> None:
    async with asyncio.timeout(120), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(url + "/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--serve", nargs=3, metavar=("BUS", "STORE", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        bus_url, store_url, port = options.serve
        uvloop.run(run_server(bus_url, store_url, int(port), options.items))
        return
    os.sched_setaffinity(0, {1})
    uvloop.run(drive(options))


if __name__ == "__main__":
    main()
