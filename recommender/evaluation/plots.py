"""Plots of the reports, as PNG; colours that stay apart in grey and for the colour-blind (Okabe and Ito)."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from recommender.blend import LENGTHS
from recommender.evaluation.compare_models import ComparisonReport
from recommender.evaluation.prequential_study import PrequentialReport, rolling_share
from recommender.evaluation.rolling import RollingReport
from recommender.evaluation.run import EvaluationReport

matplotlib.use("Agg")
from matplotlib import pyplot

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_POINTS = 40


def plot_evaluation(report: EvaluationReport, folder: Path) -> Path:
    """Left: the share of targets within the first so many places; right: hits by how much was known of the session."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5))
    k, ranks = report.options.k, report.ranks
    places = np.arange(1, k + 1)
    left.plot(places, [(ranks[ranks > 0] <= place).sum() / max(1, len(ranks)) for place in places], color=_COLOURS[0])
    left.set(xlabel="length of the list", ylabel="hit rate", title=report.options.model, ylim=(0, None))
    classes = np.searchsorted(LENGTHS, np.maximum(1, report.prefix_lengths))
    names = ["1", "2", "3-4", "5-8", "9+"]
    hits = [float((ranks[classes == at] > 0).mean()) if (classes == at).any() else 0.0 for at in range(len(names))]
    right.bar(names, hits, color=_COLOURS[0])
    right.set(xlabel="events of the session so far", ylabel=f"HR@{k}", title="by what was known")
    return _save(figure, folder / "evaluation.png")


def plot_comparison(report: ComparisonReport, folder: Path) -> Path:
    """Every figure's gain with its 95 % interval."""
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    shown = {
        name: difference
        for name, difference in report.differences.items()
        if name.split("@")[0] in ("hr", "mrr", "ndcg", "recall", "map")
    }
    gains = [difference.gain for difference in shown.values()]
    ends = [
        [difference.gain - difference.low for difference in shown.values()],
        [difference.high - difference.gain for difference in shown.values()],
    ]
    axes.errorbar(gains, list(shown), xerr=ends, fmt="o", color=_COLOURS[0], capsize=3)
    axes.axvline(0.0, color="grey", linewidth=0.8)
    axes.invert_yaxis()
    axes.set(xlabel="gain (95 % interval)", title=f"{report.against} against {report.options.model}")
    return _save(figure, folder / "comparison.png")


def plot_rolling(report: RollingReport, folder: Path) -> Path:
    """Hit rate and reciprocal rank, window by window, with standard errors."""
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    numbers = np.arange(1, len(report.windows) + 1)
    for name, colour in zip((f"hr@{report.options.k}", f"mrr@{report.options.k}"), _COLOURS, strict=False):
        means = [window.figures[name] for window in report.windows]
        errors = [window.standard_errors[name] for window in report.windows]
        axes.errorbar(numbers, means, yerr=errors, label=name.upper(), color=colour, marker="o", capsize=3)
    axes.set(xlabel="window", title=report.options.model, ylim=(0, None), xticks=numbers)
    axes.legend()
    return _save(figure, folder / "rolling.png")


def plot_prequential(reports: dict[str, PrequentialReport], path: Path) -> Path:
    """Per stream the hit rate along the run, a line a way."""
    figure, grid = pyplot.subplots(1, len(reports), figsize=(4.5 * len(reports), 3.5), squeeze=False)
    for axes, (title, report) in zip(grid[0], reports.items(), strict=True):
        window = max(1, report.targets // _POINTS)
        curves = rolling_share(report.hits, window=window)
        for (way, points), colour in zip(curves.items(), _COLOURS, strict=False):
            axes.plot((np.arange(len(points)) + 0.5) * window, points, label=way, color=colour)
        axes.set(xlabel="targets since the cut", ylabel=f"HR@{report.options.k}", title=title, ylim=(0, None))
        axes.legend()
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
