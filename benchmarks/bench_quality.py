"""Question: how good is each model, alone and blended, on the two public sets of the quality tables?

Data: set A `serenade_example` (train, then test) and set B `yoochoose_100k` (train and valid, then test), from the
folder named by AFTERCLICK_DATASETS. Settings are the committed defaults, searched on the validation parts.
Budget: A at least .69 / .30, B at least .59 / .24 (HR@20 / MRR@20).
Run: `python benchmarks/bench_quality.py [valid|test]`
"""

import os
import sys
from pathlib import Path

from recommender.evaluation import EvaluationOptions, run_evaluation
from recommender.evaluation.builders import MODEL_NAMES

SETS = {
    "A": ("serenade_example", {"valid": ("train", "valid"), "test": ("train", "test")}),
    "B": ("yoochoose_100k", {"valid": ("train", "valid"), "test": ("train+valid", "test")}),
}


def main() -> None:
    part = sys.argv[1] if len(sys.argv) > 1 else "test"
    folder = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))
    for name, (data_set, splits) in SETS.items():
        file = folder / data_set / "events.parquet"
        train, test = splits[part]
        for model in MODEL_NAMES:
            report = run_evaluation(EvaluationOptions(train=f"{file}:{train}", test=f"{file}:{test}", model=model))
            hr, mrr, ndcg = (report.figures[f"{metric}@20"] for metric in ("hr", "mrr", "ndcg"))
            errors = report.standard_errors
            print(
                f"quality set={name} part={part} model={model} hr20={hr:.4f} se={errors['hr@20']:.4f}"
                f" mrr20={mrr:.4f} se={errors['mrr@20']:.4f} ndcg20={ndcg:.4f} se={errors['ndcg@20']:.4f}"
                f" coverage={report.coverage:.3f} targets={report.targets}"
                f" seconds={report.seconds_training + report.seconds_ranking:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
