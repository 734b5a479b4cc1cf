"""What does one answer cost in the recommender, and what does following the model cost between answers?

Question: CPU for one personal top 20 (by the ranker, and by the blend, of session kNN, transitions, iALS and the own
session), for the cheaper rungs, and for one slice of a delta, at 10,000 and 100,000 items.
Budget: `list_blend` under 150 µs at 10,000 items, 600 µs at 100,000, 7 ms at 1,000,000, recall at least .99;
`list_ranker` under 350 and 800 µs; a slice under 200 µs; one thread. The others are whole answers, policy and all.
Method: a seeded crowd with tastes (sessions of 2 to 12 views in one of 200 neighbourhoods of the catalogue) teaches the
model; the vectors are random, for their values do not change the work. Histories are sessions of the same crowd.

    python benchmarks/bench_recommend.py [--items 10000 100000] [--answers 2000]
"""

import argparse
import time
from collections.abc import Callable
from itertools import islice

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.blend import Blend
from recommender.history import EMPTY_HISTORY, History
from recommender.kernels import compile_all
from recommender.live_model import LiveModel
from recommender.model_log import EVENTS_BLOCK, FACTORS_BLOCK, Delta
from recommender.model_parameters import ModelParameters
from recommender.models.ials import Ials
from recommender.models.own_session import OwnSession
from recommender.models.protocol import Events, Prefix
from recommender.quantized import ServedIals
from recommender.recommender import Recommender, prefix_of
from recommender.requests import RecommendRequest
from recommender.settings import RecommenderSettings

SEED, SESSIONS, NEIGHBOURHOODS = 7, 60_000, 200
NOW_MS = 1_700_000_000_000


def crowd(items: int, sessions: int) -> Events:
    rng = np.random.default_rng(SEED)
    lengths = rng.integers(2, 13, sessions)
    numbers = np.repeat(np.arange(sessions), lengths)
    home = np.repeat(rng.integers(0, NEIGHBOURHOODS, sessions), lengths)
    width = items // NEIGHBOURHOODS
    within = np.minimum(rng.zipf(1.3, len(numbers)) - 1, width - 1)
    rows = (home * width + within).astype(np.int32)
    return Events(numbers, rows, np.ones(len(rows), np.uint8), NOW_MS + np.arange(len(rows)) * 200)


def model_of(items: int, events: Events) -> LiveModel:
    model = LiveModel("bench", ModelParameters())
    for row in range(items):
        model.items.add(f"item-{row}")
    vectors = np.random.default_rng(SEED).normal(size=(items, model.parameters.ials.factors)).astype(np.float32) * 0.1
    model.replace_ials(ServedIals(model.parameters.ials, vectors))
    model.learn(events)
    return model


def histories(events: Events, count: int) -> list[History]:
    picked = np.random.default_rng(SEED + 1).choice(events.sessions.max(), count)
    found = []
    for session in picked:
        at = slice(*np.searchsorted(events.sessions, [session, session + 1]))
        rows = events.rows[at]
        found.append(History(tuple(f"item-{row}" for row in rows), events.times_ms[at], events.kinds[at]))
    return found


def percentiles(name: str, calls: list[Callable[[], object]]) -> None:
    for call in calls[:200]:
        call()
    took_us = []
    cpu_s = time.process_time()
    for call in calls:
        started_s = time.perf_counter()
        call()
        took_us.append((time.perf_counter() - started_s) * 1e6)
    cpu_us = (time.process_time() - cpu_s) / len(calls) * 1e6
    p50, p99 = np.percentile(took_us, [50, 99])
    print(f"{name} cpu_us={cpu_us:.0f} p50_us={p50:.0f} p99_us={p99:.0f} n={len(calls)}")


def lists_alone(model: LiveModel, prefixes: list[Prefix]) -> None:
    """Without policy; and how much of the exact list (float32 products throughout) is in the one served."""
    items, nothing = len(model.items), np.zeros(len(model.items), np.bool_)
    percentiles(f"list_blend items={items}", [lambda p=p: model.personal(p, 20, nothing) for p in prefixes])
    percentiles(f"list_ranker items={items}", [lambda p=p: model.ranked(p, 20, nothing) for p in prefixes])
    exact = Ials(model.ials.parameters, model.ials.factors.live)
    plain = Blend((model.session_knn, model.transitions, exact, OwnSession()), model.parameters.blend)
    hits = wanted = 0
    for prefix in prefixes[:200]:
        best = set(plain.scores(prefix, 20, nothing).rows.tolist())
        hits += len(best & set(model.personal(prefix, 20, nothing).rows.tolist()))
        wanted += len(best)
    print(f"recall_blend items={items} at_20={hits / wanted:.4f} n=200")


def deltas(model: LiveModel, events: Events, count: int) -> list[Delta]:
    made = []
    for number in range(count):
        arrays = {name: array[number * 20 : number * 20 + 20] for name, array in events._asdict().items()}
        if number % 2:
            rows = np.unique(arrays["rows"])
            arrays = {"rows": rows, "vectors": model.ials.factors.vectors[rows] * np.float32(1.01)}
        block = FACTORS_BLOCK if number % 2 else EVENTS_BLOCK
        made.append(Delta(model.version, number + 1, block, NOW_MS, arrays))
    return made


def run(items: int, answers: int) -> None:
    events = crowd(items, SESSIONS)
    model = model_of(items, events)
    recommender = Recommender(RecommenderSettings())
    recommender.use(model)
    request = RecommendRequest("v", n=20)
    asked = histories(events, answers)
    lists_alone(model, [prefix_of(model.items, h, request, NOW_MS, items_max=30) for h in asked])
    ask = recommender.recommend
    percentiles(f"ranker items={items}", [lambda h=h: ask(request, h, NOW_MS, 200.0) for h in asked])
    prefixed = RecommendRequest("v", n=20, item="item-1")
    percentiles(f"ranker_page_item items={items}", [lambda h=h: ask(prefixed, h, NOW_MS, 200.0) for h in asked])
    percentiles(f"neighbours items={items}", [lambda h=h: ask(request, h, NOW_MS, 1.5) for h in asked])
    percentiles(f"no_history items={items}", [lambda: ask(request, EMPTY_HISTORY, NOW_MS, 200.0)] * answers)
    explained = RecommendRequest("v", n=20, explain=True)
    percentiles(
        f"explained items={items}", [lambda h=h: ask(explained, h, NOW_MS, 200.0) for h in asked[: answers // 4]]
    )
    rng = np.random.default_rng(SEED)
    rerank = recommender.rerank
    for size in (100, 1_000):
        lists = [[f"item-{row}" for row in rng.integers(items, size=size)] for _ in range(50)]
        percentiles(
            f"rerank_of_{size} items={items}",
            [lambda h=h, c=lists[n % 50]: rerank(c, request, h, NOW_MS, 200.0) for n, h in enumerate(asked)],
        )
    slices = (step for delta in deltas(model, events, 400) for step in model.apply(delta))
    percentiles(f"delta_slice items={items}", [lambda: list(islice(slices, 1))] * 400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--answers", type=int, default=2_000)
    options = parser.parse_args()
    compile_all()
    # As a serving process has it, see `ModelFollower.run`.
    threadpool_limits(1, user_api="blas")
    for items in options.items:
        run(items, options.answers)


if __name__ == "__main__":
    main()
