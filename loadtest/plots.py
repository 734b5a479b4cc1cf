"""Draw a load run: latency by percentile, latency over time, answered rate over time."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from loadtest.load_report import per_second
from loadtest.open_loop import Measured

_POINTS = (0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)
_COLOURS = ("#1b6ca8", "#d1495b", "#3c8d5a")


def draw(folder: Path, streams: Mapping[str, Measured], *, seconds: float) -> list[Path]:
    """Write three SVG files into `folder`, making it; returns their paths. Streams without an answer are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {name: measured for name, measured in streams.items() if measured.answered.any()}
    return [
        _save(folder / "latency-percentiles.svg", _percentile_curve(drawn)),
        _save(folder / "latency-over-time.svg", _over_time(drawn, seconds)),
        _save(folder / "rate-over-time.svg", _rate(drawn, seconds)),
    ]


def _figure(title: str, across: str, up: str) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    return figure


def _percentile_curve(streams: Mapping[str, Measured]) -> Figure:
    figure = _figure("Latency from the intended start", "percentile", "ms")
    axes = figure.axes[0]
    # Nines are spread evenly: the tail is what one looks for.
    places = [-np.log10(1 - min(point, 99.995) / 100) for point in _POINTS]
    for (name, measured), colour in zip(streams.items(), _COLOURS, strict=False):
        times_ms = np.percentile(measured.latency_s[measured.answered] * 1e3, _POINTS)
        axes.plot(places, times_ms, marker="o", markersize=3, color=colour, label=name)
    axes.set_xticks(places, [f"{point:g}" for point in _POINTS])
    axes.set_yscale("log")
    if streams:
        axes.legend()
    return figure


def _over_time(streams: Mapping[str, Measured], seconds: float) -> Figure:
    figure = _figure("Latency over time, by intended start", "seconds", "ms")
    axes = figure.axes[0]
    for (name, measured), colour in zip(streams.items(), _COLOURS, strict=False):
        at, _, p50_ms, p99_ms = zip(*per_second(measured, seconds=seconds), strict=True)
        axes.plot(at, p50_ms, color=colour, label=f"{name} p50")
        axes.plot(at, p99_ms, color=colour, linestyle="--", label=f"{name} p99")
    axes.set_yscale("log")
    if streams:
        axes.legend()
    return figure


def _rate(streams: Mapping[str, Measured], seconds: float) -> Figure:
    figure = _figure("Answered, by intended start", "seconds", "per second")
    axes = figure.axes[0]
    for (name, measured), colour in zip(streams.items(), _COLOURS, strict=False):
        at, units, _, _ = zip(*per_second(measured, seconds=seconds), strict=True)
        axes.plot(at, units, color=colour, label=name)
    axes.set_ylim(bottom=0)
    if streams:
        axes.legend()
    return figure


def _save(path: Path, figure: Figure) -> Path:
    figure.savefig(path, format="svg")
    return path
