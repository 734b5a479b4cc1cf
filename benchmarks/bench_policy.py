"""What does the shop's policy add to one answer: nothing asked, 100 rules, diversity, new items, an explanation?

Question: CPU per personal top 20 at 10,000 items beside the bare blend, each part of the policy alone. Budget: next to
nothing without rules; microseconds with them. One thread; the crowd and model of `bench_recommend.py`, seeded; all
variants are asked in turns, so that a busy machine is busy for all of them.

    python benchmarks/bench_policy.py [--items 10000] [--answers 1000]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from bench_recommend import NOW_MS, SESSIONS, crowd, histories, model_of
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ingest.catalog import Product
from recommender.history import History
from recommender.kernels import compile_all
from recommender.live_model import LiveModel
from recommender.recommender import Recommender, prefix_of
from recommender.requests import RecommendRequest
from recommender.rule_set import RuleSet
from recommender.rules import Condition, Consequence, Rule
from recommender.settings import RecommenderSettings

CATEGORIES, TURNS = 50, 10


def rules(count: int) -> RuleSet:
    kinds = [Consequence.BOOST, Consequence.BURY, Consequence.HIDE]
    made = [
        Rule(
            f"rule-{number}",
            kinds[number % 3],
            categories=(f"category-{number % CATEGORIES}",),
            when=Condition(placements=("home",), categories=() if number < 3 else (f"category-{number}",)),
        )
        for number in range(count)
    ]
    return RuleSet([*made, Rule("pin", Consequence.PIN, items=("item-1", "item-2"), slot=3)])


def shop(model: LiveModel, *, described: bool = True, explore_share: float = 0.0) -> Recommender:
    recommender = Recommender(RecommenderSettings(explore_share=explore_share))
    recommender.use(model)
    for number, item_id in enumerate(model.items.ids if described else ()):
        recommender.describe(item_id, Product(item_id, category=f"category-{number % CATEGORIES}", price=5.0))
    return recommender


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--answers", type=int, default=1_000)
    options = parser.parse_args()
    compile_all()
    threadpool_limits(1, user_api="blas")
    events = crowd(options.items, SESSIONS)
    model = model_of(options.items, events)
    asked = histories(events, options.answers)
    ruled, new = shop(model), shop(model, explore_share=0.05)
    ruled.use_rules(rules(100))
    for number in range(500):
        new.describe(f"new-{number}", Product(f"new-{number}", category=f"category-{number % CATEGORIES}", price=5.0))
    plain, blocked = shop(model), np.zeros(options.items, np.bool_)
    request = RecommendRequest("v", n=20)
    prefixes = {id(h): prefix_of(model.items, h, request, NOW_MS, items_max=30) for h in asked}

    def ask(recommender: Recommender, **more: object) -> Callable[[History], object]:
        wanted = RecommendRequest("v", n=20, **more)  # type: ignore[arg-type]
        return lambda history: recommender.recommend(wanted, history, NOW_MS, 200.0)

    variants: dict[str, Callable[[History], object]] = {
        "blend_alone": lambda history: model.personal(prefixes[id(history)], 20, blocked),
        "no_catalogue": ask(shop(model, described=False)),
        "no_rules": ask(plain),
        "rules_100": ask(ruled),
        "diversity": ask(plain, diversity=0.3),
        "page_view": ask(plain, page_view_id="p"),
        "new_items_5_percent": ask(new),
        "explain": ask(plain, explain=True),
    }
    for call in variants.values():
        for history in asked[:50]:
            call(history)
    spent_us = {name: [] for name in variants}  # type: ignore[var-annotated]
    for turn in range(TURNS):
        part = asked[turn::TURNS]
        for name, call in variants.items():
            started_s = time.process_time()
            for history in part:
                call(history)
            spent_us[name].append((time.process_time() - started_s) / len(part) * 1e6)
    for name, each in spent_us.items():
        print(f"policy variant={name} items={options.items} cpu_us_median={np.median(each):.0f}")


if __name__ == "__main__":
    main()
