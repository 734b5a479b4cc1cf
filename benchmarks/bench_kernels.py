"""Question: what does each step of an answer and of an update cost, in CPU time of one thread?

Budget: fold-in under 25 µs; exact top 20 of 10,000 items under 150 µs, of 100,000 under 2 ms; an update of factors
under 100 µs. Data: seeded, drawn at random, 20 events a visitor. Run: `python benchmarks/bench_kernels.py`
"""

import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from feature_store.kinds import Kind
from recommender.fold_in import fold_in
from recommender.incremental import LearningIals
from recommender.kernels import compile_all
from recommender.models.ials import IalsParameters
from recommender.models.protocol import Events, Prefix
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import Transitions
from recommender.scan import best_by_product

REPEATS = 51


def median_us(call: Callable[[], object], *, calls: int = 20) -> float:
    """CPU microseconds of one call: the median of 51 rounds."""
    runs = []
    for _ in range(REPEATS):
        begin_s = time.process_time()
        for _ in range(calls):
            call()
        runs.append((time.process_time() - begin_s) / calls * 1e6)
    return statistics.median(runs)


def events(count: int, items: int, *, begin: int = 0, seed: int = 7) -> Events:
    random = np.random.default_rng(seed)
    rows = (items * random.random(count) ** 3).astype(np.int32)
    return Events(np.arange(count) // 4 + begin, rows, np.full(count, Kind.VIEW, np.uint8), np.arange(count) + 1)


def answering(items: int, factors: int) -> None:
    random = np.random.default_rng(7)
    vectors = (random.normal(size=(items, factors)) / np.sqrt(factors)).astype(np.float32)
    gram = (vectors.T @ vectors + 10.0 * np.eye(factors)).astype(np.float32)
    rows = random.integers(0, items, 20).astype(np.int32)
    weights = np.exp(-np.arange(20, dtype=np.float32))
    vector = fold_in(gram, vectors, rows, weights, alpha=100.0)
    folding_us = median_us(lambda: fold_in(gram, vectors, rows, weights, alpha=100.0))
    scanning_us = median_us(lambda: best_by_product(vectors, vector, 20))
    print(f"answer items={items} factors={factors} fold_in_us={folding_us:.1f} scan_top20_us={scanning_us:.1f}")


def neighbouring(items: int) -> None:
    prefix = Prefix(np.arange(20, dtype=np.int32), np.full(20, Kind.VIEW, np.uint8), np.zeros(20, np.int64))
    for model in (SessionKnn(), Transitions()):
        model.update_many(events(200_000, items))
        cost_us = median_us(lambda model=model: model.scores(prefix, 100))
        print(f"{model.name} items={items} sessions=50000 top100_us={cost_us:.1f}")


def learning(items: int, factors: int) -> None:
    model = LearningIals.fitted(
        events(100_000, items), items=items, parameters=IalsParameters(factors=factors, iterations=2)
    )
    batch = 256
    stream = iter([events(batch, items, begin=25_000 + 64 * number, seed=number) for number in range(40)])
    runs = []
    for more in stream:
        begin_s = time.process_time()
        model.update_many(more)
        runs.append((time.process_time() - begin_s) / batch * 1e6)
    cost_us = statistics.median(runs)
    print(f"update items={items} factors={factors} batch={batch} us={cost_us:.1f} events_per_s={1e6 / cost_us:.0f}")


def main() -> None:
    compile_all()
    print(f"kernels python={platform.python_version()} machine={platform.machine()} repeats={REPEATS}")
    for items, factors in ((10_000, 64), (10_000, 128), (100_000, 64)):
        answering(items, factors)
    neighbouring(10_000)
    for factors in (64, 128):
        learning(10_000, factors)


if __name__ == "__main__":
    main()
