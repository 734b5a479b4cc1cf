"""Question: which settings of a model, or weights of the blend, rank the validation parts best?

Data: the validation parts of set A `serenade_example` and set B `yoochoose_100k`, from the folder named by
AFTERCLICK_DATASETS; the test parts are never read. Score: HR@20 + MRR@20, summed over both sets. Seeded; a random draw
around the best so far. Run: `python benchmarks/search_settings.py ials|session-knn|transitions|blend [seconds]`
"""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from recommender.blend import LENGTHS, BlendParameters, blend, length_class
from recommender.evaluation.builders import ModelParameters, train
from recommender.evaluation.clicks import Spec, read_clicks
from recommender.evaluation.metrics import Metrics, measure, ranks_of
from recommender.evaluation.run import fallback, rank_all
from recommender.evaluation.targets import UNKNOWN, session_targets, training_events
from recommender.models.item_table import ItemTable

DAY_MS = 86_400_000.0
SPACES: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "ials": (
        "ials",
        {
            "factors": [64, 128, 192],
            "alpha": [None, 30.0, 100.0, 300.0, 1000.0],
            "regularization": [10.0, 30.0, 50.0, 80.0, 120.0],
            "iterations": [5, 8, 12, 16],
            "decay": [0.4, 0.7, 0.85, 1.0, 1.3],
            "last": [8, 15, 30],
        },
    ),
    "session-knn": (
        "session_knn",
        {
            "sessions_per_item": [500, 1000, 2000],
            "neighbours": [100, 200, 500, 1000],
            "last": [8, 15, 30],
            "recency": [1.5, 2.0, 3.0, 4.0, 6.0],
            "age": [0.5, 1.0, 2.0, 4.0],
            "reach": [1.0, 2.0, 3.0, 6.0],
            "before": [0.5, 0.7, 1.0],
            "self_weight": [0.7, 1.0, 1.5, 2.0],
            "rarity": [0.5, 1.0, 1.5],
            "rarity_answer": [0.5, 0.75, 1.0],
        },
    ),
    "transitions": (
        "transitions",
        {
            "steps": [5, 10, 15],
            "reverse": [0.3, 0.6, 0.8, 1.0],
            "norm": [0.5, 0.7, 0.85, 1.0],
            "last": [4, 8, 12, 20],
            "decay": [0.35, 0.5, 0.7, 1.0],
            "half_life_ms": [DAY_MS * days for days in (2, 4, 7, 14, 30)],
        },
    ),
}
MEMBERS = ("session-knn", "transitions", "ials", "own-session")
WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0)


class ValidationSet:
    """One set, read once."""

    def __init__(self, file: Path) -> None:
        items = ItemTable()
        self.events = training_events(read_clicks(Spec(file, ("train",))), items)
        self.targets = session_targets(read_clicks(Spec(file, ("valid",))), items)
        self.items = len(items)
        self.filler = fallback(self.events, self.items)

    def score(self, model: str, parameters: ModelParameters) -> Metrics:
        """Train and rank."""
        trained = train(model, self.events, items=self.items, parameters=parameters)
        return measure(ranks_of(rank_all(trained, self.targets, k=20, filler=self.filler), self.targets.labels))

    def members_lists(self) -> list[tuple[int, list[Any], int]]:
        """Per target the class of its session's length, every member's list, and the label."""
        models = [train(name, self.events, items=self.items, parameters=ModelParameters()) for name in MEMBERS]
        blocked = np.zeros(self.items, np.bool_)
        asked = []
        for question, label in enumerate(self.targets.labels):
            prefix, current = self.targets.prefix(question), self.targets.current(question)
            blocked[current] = current != UNKNOWN
            lists = [model.scores(prefix, BlendParameters().depth, blocked) for model in models]
            blocked[current] = False
            asked.append((length_class(len(prefix.rows)), lists, int(label)))
        return asked


def search_model(name: str, sets: dict[str, ValidationSet], seconds: float) -> None:
    key, space = SPACES[name]
    draw, best_score, best = random.Random(1), -1.0, getattr(ModelParameters(), key)
    parameters, trials, end_s = best, 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        whole = msgspec.structs.replace(ModelParameters(), **{key: parameters})
        figures = {set_name: each.score(name, whole) for set_name, each in sets.items()}
        score = sum(figure.hr + figure.mrr for figure in figures.values())
        trials += 1
        if score > best_score:
            best_score, best = score, parameters
            told = " ".join(f"{set_name}={figure.hr:.4f}/{figure.mrr:.4f}" for set_name, figure in figures.items())
            print(f"{name} trial={trials} score={score:.4f} {told} {msgspec.to_builtins(best)}", flush=True)
        fields = list(space) if trials < 40 else draw.sample(list(space), draw.choice((1, 1, 2)))
        parameters = msgspec.structs.replace(best, **{field: draw.choice(space[field]) for field in fields})


def search_blend(sets: dict[str, ValidationSet]) -> None:
    asked = {name: each.members_lists() for name, each in sets.items()}
    for place in range(len(LENGTHS) + 1):
        of_class = [[(lists, label) for at, lists, label in each if at == place] for each in asked.values()]
        weights = climb(lambda tried, of_class=of_class: sum(class_score(each, tried) for each in of_class))
        print(f"blend class={place} {dict(zip(MEMBERS, weights, strict=True))}", flush=True)


def climb(score: Callable[[list[float]], float]) -> list[float]:
    weights = [1.0, 0.5, 0.5, 0.1]
    best = score(weights)
    for _ in range(2):
        for member in range(len(weights)):
            for weight in WEIGHTS:
                tried = [*weights[:member], weight, *weights[member + 1 :]]
                reached = score(tried) if any(tried) else 0.0
                if reached > best + 1e-4:
                    best, weights = reached, tried
    return weights


def class_score(asked: list[tuple[list[Any], int]], weights: list[float]) -> float:
    total = 0.0
    for lists, label in asked:
        place = np.flatnonzero(blend(lists, weights, 20).rows == label)
        total += 1.0 + 1.0 / (1.0 + place[0]) if len(place) else 0.0
    return total / max(1, len(asked))


def main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 120.0
    folder = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))
    sets = {each: ValidationSet(folder / each / "events.parquet") for each in ("serenade_example", "yoochoose_100k")}
    search_blend(sets) if name == "blend" else search_model(name, sets, seconds)


if __name__ == "__main__":
    main()
