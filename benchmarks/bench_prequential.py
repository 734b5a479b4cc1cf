"""Question: what is learning every click worth to the whole blend, against a frozen model and one refitted daily?

Data, from the folder named by AFTERCLICK_DATASETS: `yoochoose_100k` and `serenade_example` (three days, then the
rest) and `uci_online_retail` (baskets; its last two weeks).
Every way ranks each target first and learns it afterwards; settings are the committed defaults.
Budget: on `yoochoose_100k` per event at least .12 above the frozen model from its third day on.
Run: `python benchmarks/bench_prequential.py [SET …] [--plot FILE]`
"""

import argparse
import os
import time
from pathlib import Path

from recommender.evaluation.plots import plot_prequential
from recommender.evaluation.prequential_study import PrequentialOptions, PrequentialReport, run_prequential_study

SETS: dict[str, tuple[str, dict[str, float]]] = {
    "yoochoose_100k": ("events.parquet", {"days": 3.0}),
    "serenade_example": ("events.parquet", {"days": 3.0}),
    "uci_online_retail": ("events_to_2011-09-30.parquet", {"days": 289.0}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    folder = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))
    reports = {}
    for name in given.sets:
        started_s = time.perf_counter()
        file, cut = SETS[name]
        report = run_prequential_study(PrequentialOptions(train=str(folder / name / file), threads=1, **cut))
        reports[name] = report
        tell(name, report, time.perf_counter() - started_s)
    if given.plot:
        plot_prequential(reports, given.plot)


def tell(name: str, report: PrequentialReport, seconds: float) -> None:
    for way, figures in report.figures.items():
        line = f"prequential set={name} way={way} targets={report.targets} events_before={report.events_before}"
        line += f" hr20={figures['hr@20']:.4f} mrr20={figures['mrr@20']:.4f}"
        if way in report.gains:
            gain = report.gains[way]
            line += f" gain={gain['hr@20'].gain:+.4f} se={gain['hr@20'].standard_error:.4f}"
            line += f" gain_mrr={gain['mrr@20'].gain:+.4f} se_mrr={gain['mrr@20'].standard_error:.4f}"
        print(f"{line} new_hits={report.new_hits[way]}/{report.new_targets} refits={report.refits}", flush=True)
    for age in report.ages:
        rates = " ".join(f"{way}={rate:.4f}" for way, rate in age.hit_rates.items())
        told = f"gain={age.gain.gain:+.4f} se={age.gain.standard_error:.4f}"
        print(f"prequential set={name} days_after_cut={age.from_days} targets={age.targets} {rates} {told}", flush=True)
    print(f"prequential set={name} seconds={seconds:.0f}", flush=True)


if __name__ == "__main__":
    main()
