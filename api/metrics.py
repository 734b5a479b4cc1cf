"""The API's own numbers: for Prometheus, and the latest answers' times for the dashboard."""

import os
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)

METRICS_TYPE = CONTENT_TYPE_LATEST

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

REQUESTS = Counter("afterclick_api_requests_total", "Requests answered", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "afterclick_api_request_seconds", "From the first byte to the last", ["route"], buckets=_BUCKETS_S
)
UNEXPECTED = Counter("afterclick_api_unexpected_errors_total", "Exceptions nobody foresaw, answered with 500", ["type"])
ANSWERS = Counter("afterclick_api_recommendations_total", "Answers, by rung", ["served_by", "degraded"])

LATENCY_SAMPLES_MAX = 20_000


class RecentTimes:
    """How long the latest answers of this process took; the oldest is forgotten first.

    Bounded by count: above 330 answers a second it reaches back less than a minute, which percentiles do not mind.
    """

    def __init__(self, *, window_s: float = 60.0, samples_max: int = LATENCY_SAMPLES_MAX) -> None:
        self._window_s = window_s
        self._samples: deque[tuple[float, float]] = deque(maxlen=samples_max)

    def add(self, took_ms: float) -> None:
        """One answer took `took_ms`."""
        self._samples.append((time.monotonic(), took_ms))

    def percentiles_ms(self, quantiles: Sequence[float]) -> tuple[list[float], int]:
        """The quantiles (0 to 1) over the window, and of how many answers; empty when there were none."""
        since_s = time.monotonic() - self._window_s
        times_ms = [took_ms for at_s, took_ms in self._samples if at_s >= since_s]
        if not times_ms:
            return [], 0
        return [float(value) for value in np.quantile(times_ms, quantiles, method="higher")], len(times_ms)


def exposition() -> bytes:
    """Every metric in Prometheus' text form; of every process when PROMETHEUS_MULTIPROC_DIR is set."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
