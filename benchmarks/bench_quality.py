"""Question: how good is each model, alone, blended and ranked, on the public sets of the quality tables?

Data, from the folder named by AFTERCLICK_DATASETS: set A `serenade_example` (train, then test), set B `yoochoose_100k`
(train and valid, then test), D `diginetica` (train, then valid), Y `yoochoose1_64` (its newest 7 % of sessions asked).
D and Y have no test part here, and are asked by `valid` only. Settings are the committed defaults, searched on the
validation parts.
Budget: the ranker on the test parts, HR@20 / MRR@20: A at least .715 / .399, B at least .623 / .285; on D and Y above
every model it ranks.
Run: `python benchmarks/bench_quality.py [valid|test] [--sets A B D Y] [--models ranker ials ...]`
"""

import argparse
import os
from pathlib import Path
from typing import Any

from recommender.evaluation import EvaluationOptions, run_evaluation
from recommender.evaluation.builders import MODEL_NAMES

SETS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "A": {
        "valid": ("serenade_example/events.parquet:train", {"test": "serenade_example/events.parquet:valid"}),
        "test": ("serenade_example/events.parquet:train", {"test": "serenade_example/events.parquet:test"}),
    },
    "B": {
        "valid": ("yoochoose_100k/events.parquet:train", {"test": "yoochoose_100k/events.parquet:valid"}),
        "test": ("yoochoose_100k/events.parquet:train+valid", {"test": "yoochoose_100k/events.parquet:test"}),
    },
    "D": {"valid": ("diginetica/sessions_train.parquet:train", {"test": "diginetica/sessions_train.parquet:valid"})},
    "Y": {"valid": ("yoochoose1_64/sessions_train.parquet", {"holdout": 0.07})},
}


def measure(name: str, part: str, model: str, folder: Path) -> None:
    train, asked = SETS[name][part]
    if "test" in asked:
        asked = {"test": f"{folder}/{asked['test']}"}
    report = run_evaluation(EvaluationOptions(train=f"{folder}/{train}", model=model, **asked))
    hr, mrr, ndcg = (report.figures[f"{metric}@20"] for metric in ("hr", "mrr", "ndcg"))
    errors = report.standard_errors
    print(
        f"quality set={name} part={part} model={model} hr20={hr:.4f} se={errors['hr@20']:.4f}"
        f" mrr20={mrr:.4f} se={errors['mrr@20']:.4f} ndcg20={ndcg:.4f} se={errors['ndcg@20']:.4f}"
        f" coverage={report.coverage:.3f} targets={report.targets}"
        f" seconds={report.seconds_training + report.seconds_ranking:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", default="test", choices=("valid", "test"))
    parser.add_argument("--sets", nargs="+", default=["A", "B"], choices=tuple(SETS))
    parser.add_argument("--models", nargs="+", default=list(MODEL_NAMES), choices=tuple(MODEL_NAMES))
    options = parser.parse_args()
    folder = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))
    for name in options.sets:
        for model in options.models if options.part in SETS[name] else ():
            measure(name, options.part, model, folder)


if __name__ == "__main__":
    main()
