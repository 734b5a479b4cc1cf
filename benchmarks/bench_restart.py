"""How long is a killed server away, with a large catalogue and a model of it?

Question: seconds from `kill -9` of the only server process until `/health/ready` says 200 and suggestions are answered
by the blend again, at 100,000 items.
Budget: 3 s until ready.
Machine: two cores; nothing else runs. The time holds the supervisor's notice, Python's imports, the catalogue, the
snapshot and the kernels from their cache (`afterclick compile` first).
Method: the catalogue and one view of each item are sent over HTTP; the learner's snapshot is waited for.

    python benchmarks/bench_restart.py [--items 100000] [--times 5]
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import httpx
import msgspec

from loadtest.system import RunningSystem, running_system

SETTINGS = (
    "[system]\nservers = 1\n[learner]\nsnapshot_ms = 2000\nrefit = false\nvisitor_events_per_hour_max = 1000000\n"
)
PART = 5_000
VISITOR = "visitor-7"


async def fill(system: RunningSystem, items: int) -> None:
    headers = {"Authorization": f"Bearer {system.keys.secret_key}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, timeout=120) as client:
        for first in range(0, items, PART):
            products = [
                {"item_id": f"item-{n}", "title": f"Title {n}", "price": n % 90 + 1.0, "category": f"c{n % 200}"}
                for n in range(first, min(first + PART, items))
            ]
            reply = await client.post("/v1/catalog", content=msgspec.json.encode(products), headers=_json())
            assert reply.status_code == 200, reply.text
        for first in range(0, items, 500):
            events = [_view(n) for n in range(first, min(first + 500, items))]
            reply = await client.post("/v1/events", content=msgspec.json.encode(events), headers=_json())
            assert reply.status_code == 202, reply.text


def _json() -> dict[str, str]:
    return {"Content-Type": "application/json"}


def _view(number: int) -> dict[str, object]:
    return {
        "message_id": uuid.uuid4().hex,
        "event": "view_item",
        "anonymous_id": f"visitor-{number // 10}",
        "items": [{"item_id": f"item-{number}"}],
    }


async def until_learnt(system: RunningSystem, items: int) -> None:
    """Until a snapshot of nearly every item is there."""
    log = system.data_dir / "model"
    deadline_s = time.monotonic() + 120
    while not any(path.stat().st_size > items * 16 for path in log.rglob("*") if path.is_file()):
        assert time.monotonic() < deadline_s, "the learner wrote no large snapshot within 120 s"
        await asyncio.sleep(0.5)
    await asyncio.sleep(5)


async def away_s(system: RunningSystem) -> tuple[float, float]:
    """Seconds until ready, and until the blend answers, after one `kill -9`."""
    os.kill(json.loads((system.data_dir / "run" / "pids.json").read_bytes())["server-1"], signal.SIGKILL)
    begun_s = time.perf_counter()
    ready_s = 0.0
    headers = {"X-Afterclick-Key": system.keys.write_key}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, timeout=5) as client:
        while True:
            try:
                if not ready_s and (await client.get("/health/ready")).status_code == 200:
                    ready_s = time.perf_counter() - begun_s
                answer = await client.get("/v1/recommendations", params={"visitor": VISITOR, "budget_ms": 1000})
                if ready_s and answer.status_code == 200 and answer.json()["served_by"] in {"blend", "ranker"}:
                    return ready_s, time.perf_counter() - begun_s
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.02)


async def run(items: int, times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.toml"
        config.write_text(SETTINGS)
        arguments = ("--config", str(config))
        async with running_system(Path(folder) / "data", arguments=arguments, ready_within_s=120) as system:
            await fill(system, items)
            await until_learnt(system, items)
            found = [await away_s(system) for _ in range(times)]
    ready_s, blend_s = zip(*found, strict=True)
    print(
        f"restart items={items} ready_s={statistics.median(ready_s):.2f} (most {max(ready_s):.2f}) "
        f"blend_s={statistics.median(blend_s):.2f} (most {max(blend_s):.2f}) n={times}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(run(options.items, options.times))


if __name__ == "__main__":
    main()
