"""How many events does one core collect, from the body of a request to the bus's word that it has them?

Budget: 2,000 single-event requests/s and 50,000 events/s in batches of 100, so 500 and 20 µs of CPU an event, the HTTP
layer included. CPU is this process's own: collector, packing and the bus's client. Machine: any; Valkey, fsync on
every append, runs beside it. Run: `python benchmarks/bench_collector_core.py`.
"""

import asyncio
import tempfile
import time
from pathlib import Path

import msgspec

from afterclick.valkey_server import ValkeyServer, free_port
from ingest.bus.embedded import EmbeddedBus
from ingest.collector import Collector
from ingest.settings import CollectorSettings
from ingest.topics import EVENTS, EVENTS_REJECTED

REQUESTS_AT_ONCE = 64
NOW_MS = 1_784_000_000_000


def body_of(events: int, request: int) -> bytes:
    """What the snippet sends: about 250 bytes an event."""
    clicks = [
        {
            "message_id": f"0f6c8f1f-2f10-4c39-{request:06x}-{number:04x}",
            "event": "view_item",
            "anonymous_id": f"7d0c9f6e-2a53-4c39-9a37-{(request * 31 + number) % 5000:012d}",
            "timestamp": NOW_MS - 250,
            "session_id": "5b0c9f6e-2a53",
            "page_view_id": f"{request:08x}",
            "items": [{"item_id": str((request + number) % 10_000), "price": 12.5}],
        }
        for number in range(events)
    ]
    return msgspec.json.encode({"events": clicks, "sent_at": NOW_MS})


async def measure(collector: Collector, *, name: str, events: int, requests: int) -> None:
    bodies = [body_of(events, request) for request in range(requests)]
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    for start in range(0, requests, REQUESTS_AT_ONCE):
        replies = await asyncio.gather(
            *(
                collector.accept(body, content_type="application/json", received_at_ms=NOW_MS)
                for body in bodies[start : start + REQUESTS_AT_ONCE]
            )
        )
        assert all(reply.status == 202 and reply.json() for reply in replies)
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - begun_cpu_s
    count = events * requests
    print(
        f"collector {name} events={count} events_per_s={count / took_s:.0f} requests_per_s={requests / took_s:.0f} "
        f"cpu_us_per_event={cpu_s / count * 1e6:.1f} cpu_us_per_request={cpu_s / requests * 1e6:.0f}"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(Path(folder), free_port(), "always")
        server.start()
        bus = await EmbeddedBus.connect(server.url)
        try:
            await bus.ensure([EVENTS, EVENTS_REJECTED], partitions=8)
            collector = Collector(bus, CollectorSettings(), b"k" * 32, lambda: NOW_MS)
            await measure(collector, name="warm-up", events=10, requests=200)
            await measure(collector, name="single", events=1, requests=10_000)
            await measure(collector, name="batch=100", events=100, requests=1_500)
        finally:
            await bus.close()
            server.kill()


if __name__ == "__main__":
    asyncio.run(main())
