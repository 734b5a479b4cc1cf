"""Question: what is learning every click worth to matrix factorization alone, with refits off?

Data: the RecSys Challenge 2015 sample with times (`yoochoose_100k`, in the folder named by AFTERCLICK_DATASETS). The
model is fitted on the first three days and runs on, once frozen and once updated per event, both asked before each.
Budget: the gain clear of two standard errors; ten random vectors after every 1,000 updates at cosine .99 of their exact
solve. Run: `python benchmarks/bench_incremental_mf.py`
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from recommender.evaluation.clicks import Spec, read_clicks
from recommender.evaluation.metrics import gains, measure, standard_errors
from recommender.evaluation.prequential import run_prequential
from recommender.evaluation.targets import training_events
from recommender.incremental import LearningIals
from recommender.models.ials import Ials
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Events

DAY_MS = 86_400_000


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    norms = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / norms if norms else 1.0


def main() -> None:
    path = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data")) / "yoochoose_100k" / "events.parquet"
    if not path.is_file():
        sys.exit(f"wanted {path.name} of yoochoose_100k; got no such file; set AFTERCLICK_DATASETS to its folder")
    items = ItemTable()
    events = training_events(read_clicks(Spec(path, ())), items)
    first_day = int(events.times_ms.min()) // DAY_MS * DAY_MS
    cut = int(np.searchsorted(events.times_ms, first_day + 3 * DAY_MS))
    known = int(events.rows[:cut].max()) + 1
    live = LearningIals.fitted(Events(*(column[:cut] for column in events)), items=known)
    frozen = Ials(live.parameters, live.factors.live.copy())
    random, agreements, random_rows = np.random.default_rng(7), [], 10

    def agree(updates: int) -> None:
        if updates % 1000 == 0:
            with_vector = np.flatnonzero(live.factors.live.any(axis=1))
            drawn = random.choice(with_vector, random_rows, replace=False)
            agreements.extend(cosine(live.exact_vector(int(row)), live.factors.vectors[row]) for row in drawn)

    begin_s = time.perf_counter()
    run = run_prequential(
        {"frozen": frozen, "live": live},
        learning=frozenset({"live"}),
        events=events,
        items=len(items),
        begin=cut,
        after=agree,
    )
    seconds = time.perf_counter() - begin_s
    gain = gains(run.ranks["live"]) - gains(run.ranks["frozen"])
    errors = standard_errors(gain, run.clusters)
    new = run.labels >= known
    print(
        f"incremental_mf yoochoose_100k cut=3d targets={len(run.labels)}"
        f" frozen_hr20={measure(run.ranks['frozen']).hr:.4f} live_hr20={measure(run.ranks['live']).hr:.4f}"
        f" gain={gain[:, 0].mean():.4f} se={errors[0]:.4f} gain_mrr20={gain[:, 1].mean():.4f} se_mrr={errors[1]:.4f}"
        f" new_items={len(items) - known} with_vector={int(live.factors.live[known:].any(axis=1).sum())}"
        f" new_targets={int(new.sum())} new_hits={int((run.ranks['live'][new] > 0).sum())}"
        f" worst_cosine={min(agreements):.4f} of={len(agreements)} seconds={seconds:.1f}"
    )


if __name__ == "__main__":
    main()
