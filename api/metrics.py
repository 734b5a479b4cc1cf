"""The API's own numbers, and every process's in Prometheus' text form."""

import os

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


def exposition() -> bytes:
    """Every metric in Prometheus' text form; of every process when PROMETHEUS_MULTIPROC_DIR is set."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
