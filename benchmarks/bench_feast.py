"""How soon is a visitor's whole vector read, beside Feast's six features on the same Valkey?

Question: latency of one visitor's record and of all their features, and of 100 visitors in one read; the same of six
features by Feast 0.67 with its Redis online store.
Budget: one visitor p50 under 80 us, p99 under 250 us; 100 visitors at least 10 times faster than Feast.
Method: one Valkey on a TCP port; 1,000 visitors with 50 events each; one caller; Feast in the environment that
`tests/integration/feast_plugin` makes (`.venv-feast`). Wall time, so an idle machine is wanted; the load is told.
Data: seeded.

    python benchmarks/bench_feast.py [--reads 3000]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import uvloop

from afterclick.valkey_server import ValkeyServer, free_port
from feature_store import keys, touches
from feature_store.kernels import compile_all
from feature_store.online_features import OnlineFeatures
from feature_store.online_store import OnlineStore
from feature_store.visitor_features import VISITOR_VIEW
from feature_store.visitor_reader import VisitorReader
from feature_store.visitor_record import apply_to_visitors

VISITORS, EVENTS, ITEMS, SEED = 1_000, 50, 5_000, 7
NOW_MS = time.time_ns() // 1_000_000
WHOLE = [feature.full_name for feature in VISITOR_VIEW.features]
SIX = [f"visitor:{n}" for n in ("view_1h", "view_5m", "add_to_cart_1h", "purchase_24h", "session_depth", "cart_pieces")]

FEAST = """
import sys, time, warnings
warnings.filterwarnings("ignore")
from pathlib import Path
import numpy as np, pandas
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Int64
port, folder, reads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
names = [f"f{n}" for n in range(6)]
store = FeatureStore(config=RepoConfig(project="shop", provider="local", registry=str(folder / "registry.db"),
    online_store={"type": "redis", "connection_string": f"127.0.0.1:{port}"}, entity_key_serialization_version=3))
entity = Entity(name="visitor", join_keys=["visitor"], value_type=ValueType.STRING)
view = FeatureView(name="v", entities=[entity], schema=[Field(name=n, dtype=Int64) for n in names],
    source=FileSource(path=str(folder / "none.parquet"), timestamp_field="event_timestamp"))
store.apply([entity, view])
rows = pandas.DataFrame({"visitor": [f"v{n}" for n in range(1000)], **{n: range(1000) for n in names},
    "event_timestamp": pandas.Timestamp.now(tz="UTC")})
store.write_to_online_store("v", df=rows)
wanted = [f"v:{n}" for n in names]
def measure(count, reads):
    took = []
    for i in range(reads):
        asked = [{"visitor": f"v{(i + j) % 1000}"} for j in range(count)]
        began = time.perf_counter()
        store.get_online_features(features=wanted, entity_rows=asked)
        took.append(time.perf_counter() - began)
    return np.percentile(np.array(took[reads // 10:]) * 1e6, [50, 99])
for count, n in ((1, reads), (100, reads // 10)):
    print(f"feast six_features visitors={count} p50_us=%.0f p99_us=%.0f" % tuple(measure(count, n)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=3_000)
    reads = parser.parse_args().reads
    compile_all()
    print(f"load={os.getloadavg()[0]:.1f} cores={os.cpu_count()}")
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(Path(folder) / "valkey", free_port())
        server.start()
        try:
            uvloop.run(ours(server.url, reads))
            python = Path(__file__).parents[1] / ".venv-feast" / "bin" / "python"
            if not python.exists():
                sys.exit("no Feast here: run `python -m pytest tests/integration/feast_plugin` once")
            subprocess.run([python, "-c", FEAST, str(server.port), folder, str(reads)], check=True)
        finally:
            server.stop()


async def ours(url: str, reads: int) -> None:
    store = OnlineStore(url)
    identity = await store.identify()
    await store.claim(log_id=1, partitions=8)
    await store.intern([f"item-{n}" for n in range(ITEMS)], known=0, identity=identity)
    await store.send(
        [("SET", keys.visitor_key(key_of(n)), record) for n, record in enumerate(records()) if record is not None]
    )
    visitors = VisitorReader(store)
    features = OnlineFeatures(store, visitors)

    async def read(names: list[str], first: int, count: int) -> None:
        await features.read(names, [key_of(first + n) for n in range(count)], now_ms=NOW_MS, deadline_ms=1_000)

    await measure("record visitors=1", lambda i: visitors.record(key_of(i), 1_000), reads)
    await measure(f"all_{len(WHOLE)}_features visitors=1", lambda i: read(WHOLE, i, 1), reads)
    await measure("six_features visitors=1", lambda i: read(SIX, i, 1), reads)
    await measure(
        "records visitors=100", lambda i: visitors.persons([key_of(i + n) for n in range(100)], 1_000), reads // 10
    )
    await measure("six_features visitors=100", lambda i: read(SIX, i, 100), reads // 10)
    await store.close()


async def measure(what: str, read: Callable[[int], Awaitable[object]], reads: int) -> None:
    took_s = []
    for i in range(reads):
        began_s = time.perf_counter()
        await read(i)
        took_s.append(time.perf_counter() - began_s)
    p50, p99 = np.percentile(np.array(took_s[reads // 10 :]) * 1e6, [50, 99])
    print(f"afterclick {what} p50_us={p50:.0f} p99_us={p99:.0f}")


def key_of(number: int) -> bytes:
    return (number % VISITORS).to_bytes(16, "big")


def records() -> list[bytes | None]:
    rng = np.random.default_rng(SEED)
    rows = np.zeros((VISITORS * EVENTS, touches.TOUCH_COLUMNS), np.int64)
    rows[:, touches.ROW] = np.repeat(np.arange(VISITORS), EVENTS)
    rows[:, touches.MAJOR], rows[:, touches.MINOR_INDEX] = 1, np.arange(VISITORS * EVENTS)
    rows[:, touches.TIME_MS] = NOW_MS - np.tile(np.arange(EVENTS)[::-1], VISITORS) * 20_000
    rows[:, touches.KIND] = rng.choice([1, 1, 1, 2, 3, 5], VISITORS * EVENTS)
    rows[:, touches.AMOUNT] = 1
    rows[:, touches.ITEM] = rng.integers(1, ITEMS, VISITORS * EVENTS)
    return apply_to_visitors([None] * VISITORS, rows, item_hash=np.zeros(ITEMS + 1, np.uint32), log_id=1)


if __name__ == "__main__":
    main()
