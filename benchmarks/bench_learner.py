"""How many events a second does the learner take, and how soon does a serving process know of one?

Questions: (1) events/s through the learner's core on one thread, with and without item vectors moving by each event,
and bytes per item and per event; (2) at a background of R events/s, how long from the bus accepting an event on a new
item until a replica in another process than the learner's can suggest it.
Budget: 20,000 events/s; 250 ms at p99.
Method: seeded sessions (see `bench_recommend.py`) of views. (2) runs a learner process and a replica on an embedded bus
of its own; every probe is a click on an item nobody has seen, from the publish's return until the replica has its row.

    python benchmarks/bench_learner.py [--rate 200] [--probes 200]
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from afterclick.ports import free_port
from afterclick.valkey_server import ValkeyServer
from ingest.bus.contract import Bus, Delivery, Entry, Position, Record
from ingest.bus.open import open_bus
from ingest.dedup import PartitionDeduplicator
from ingest.events import Event, Item, encode_event
from ingest.settings import DedupSettings
from ingest.topics import EVENTS, MODEL
from recommender.incremental import LearningIals
from recommender.kernels import compile_all
from recommender.learner_state import LearnerState
from recommender.learner_teaching import event_deltas
from recommender.model_follower import ModelFollower
from recommender.model_log import encode_delta
from recommender.recommender import Recommender
from recommender.settings import LearnerSettings, RecommenderSettings

SEED, ITEMS, EVENTS_COUNT, PACK = 7, 10_000, 40_000, 50
NOW_MS = 1_700_000_000_000
LIFE = Path(__file__).parents[1] / "tests" / "integration" / "learning" / "learner_life.py"


def click(number: int, visitor: int, item: str, time_ms: int) -> Record:
    key = visitor.to_bytes(16, "big")
    return Record(key, encode_event(Event(f"m-{number:010d}", "view_item", key.hex(), time_ms, time_ms, (Item(item),))))


def deliveries() -> list[Delivery]:
    rng = np.random.default_rng(SEED)
    visitors = rng.integers(0, 4_000, EVENTS_COUNT)
    # Ten clicks a visitor among fifty items of a room; hardly any repeat, for repeats beyond the second teach nothing.
    items = (visitors % 200) * (ITEMS // 200) + (rng.random(EVENTS_COUNT) ** 2 * (ITEMS // 200)).astype(int)
    records = [
        click(n, int(v), f"i-{i}", NOW_MS + n * 20) for n, (v, i) in enumerate(zip(visitors, items, strict=True))
    ]
    packs = [records[begin : begin + PACK] for begin in range(0, EVENTS_COUNT, PACK)]
    return [
        Delivery(
            "events",
            0,
            1,
            NOW_MS + at,
            tuple(Entry(r.key, r.payload, 0, Position(at + 1, 0, n)) for n, r in enumerate(pack)),
        )
        for at, pack in enumerate(packs)
    ]


def throughput(name: str, state: LearnerState, taken: list[Delivery]) -> None:
    memory = PartitionDeduplicator(DedupSettings())
    published_bytes = 0
    started_s = time.process_time()
    for at, delivery in enumerate(taken):
        state.take(memory.admit(delivery))
        if at % 10 == 9:
            published_bytes += sum(len(encode_delta(delta)) for delta in event_deltas(state, state.flush(), 0))
    took_s = time.process_time() - started_s
    count = sum(len(delivery.entries) for delivery in taken)
    print(f"{name} events_per_s={count / took_s:.0f} taught={state.interactions.total}"
          f" us_per_event={took_s / count * 1e6:.1f}"
          f" published_bytes_per_event={published_bytes / count:.0f}")  # fmt: skip


def core() -> None:
    taken = deliveries()
    half = len(taken) // 2
    state = LearnerState(LearnerSettings(), "bench")
    throughput("counts", state, taken[:half])
    parameters = state.model.parameters.ials
    vectors = np.random.default_rng(SEED).normal(size=(len(state.model.items), parameters.factors)) * 0.1
    state.model.replace_ials(LearningIals(parameters, vectors.astype(np.float32), limits=state.limits))
    throughput("counts_and_vectors", state, taken[half:])
    arrays = state.arrays()
    items = len(state.model.items)
    for block in ("popularity", "transitions", "session_knn", "ials", "learning", "visitors", "interactions"):
        nbytes = sum(array.nbytes for name, array in arrays.items() if name.startswith(f"{block}."))
        print(
            f"memory block={block} bytes={nbytes} per_item={nbytes / items:.0f} per_event={nbytes / EVENTS_COUNT:.0f}"
        )


async def freshness(rate: int, probes: int) -> None:
    with tempfile.TemporaryDirectory(prefix="afterclick-bench-") as folder:
        server = ValkeyServer(Path(folder) / "bus", free_port(), appendfsync="always")
        server.start()
        settings = msgspec.json.encode(LearnerSettings(refit_ms=3_600_000, snapshot_ms=5_000)).decode()
        argv = [sys.executable, str(LIFE), server.url, f"{folder}/model", f"{folder}/archive", settings]
        bus, probe_bus = await open_bus(server.url), await open_bus(server.url)
        await bus.ensure([EVENTS, MODEL], partitions=8)
        learner = subprocess.Popen(argv)
        stop = asyncio.Event()
        recommender = Recommender(RecommenderSettings())
        following = asyncio.create_task(ModelFollower(bus, recommender, Path(folder) / "model").run(stop))
        traffic = asyncio.create_task(_traffic(bus, rate))
        try:
            while recommender.model is None or not recommender.model.ials.factors.live.any():
                await asyncio.sleep(0.1)
            took_ms = [await _probe(probe_bus, recommender, number) for number in range(probes)]
        finally:
            stop.set()
            traffic.cancel()
            learner.terminate()
            learner.wait(60)
            await following
            await bus.close()
            await probe_bus.close()
            server.stop()
    p50, p99 = np.percentile(took_ms, [50, 99])
    print(f"freshness rate={rate} p50_ms={p50:.1f} p99_ms={p99:.1f} max_ms={max(took_ms):.1f} n={probes}")


async def _traffic(bus: Bus, rate: int) -> None:
    rng = np.random.default_rng(SEED)
    number, started_s = 0, time.monotonic()
    while True:
        due = int((time.monotonic() - started_s) * rate) - number
        if due > 0:
            now_ms = time.time_ns() // 1_000_000
            visitors = rng.integers(0, 2_000, due)
            batch = [click(number + k, int(v), f"i-{rng.zipf(1.3) % 2_000}", now_ms) for k, v in enumerate(visitors)]
            await bus.publish(EVENTS, batch)
            number += due
        await asyncio.sleep(0.01)


async def _probe(bus: Bus, recommender: Recommender, number: int) -> float:
    now_ms = time.time_ns() // 1_000_000
    await bus.publish(EVENTS, [click(900_000_000 + number, 1_000_000 + number, f"probe-{number}", now_ms)])
    started_s = time.perf_counter()
    while recommender.model is None or recommender.model.items.row(f"probe-{number}") is None:
        await asyncio.sleep(0.001)
    took_ms = (time.perf_counter() - started_s) * 1000
    # Probes must not keep step with the learner's own rhythm.
    await asyncio.sleep(np.random.default_rng(number).random() * 0.06)
    return took_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--probes", type=int, default=200)
    options = parser.parse_args()
    compile_all()
    core()
    asyncio.run(freshness(options.rate, options.probes))


if __name__ == "__main__":
    main()
