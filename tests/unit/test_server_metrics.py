import math

from loadtest.server_metrics import Histogram, parse_histogram

TEXT = """# HELP wait_seconds Waiting
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.01",route="a"} 1.0
wait_seconds_bucket{le="0.1",route="a"} 3.0
wait_seconds_bucket{le="+Inf",route="a"} 4.0
wait_seconds_bucket{route="b",le="0.01"} 1.0
wait_seconds_bucket{route="b",le="0.1"} 1.0
wait_seconds_bucket{route="b",le="+Inf"} 1.0
wait_seconds_count{route="a"} 4.0
other_seconds_bucket{le="+Inf"} 9.0
"""


def test_one_histogram_is_read_with_its_labels_summed_up() -> None:
    assert parse_histogram(TEXT, "wait_seconds") == Histogram({0.01: 2.0, 0.1: 4.0, math.inf: 5.0})
    assert parse_histogram(TEXT, "absent_seconds") is None


def test_percentiles_are_interpolated_inside_their_bucket() -> None:
    figures = Histogram({0.01: 50.0, 0.02: 100.0, math.inf: 100.0}).figures()

    assert (figures.count, figures.p50_ms, figures.p99_ms) == (100, 10.0, 19.8)


def test_only_what_came_since_is_counted() -> None:
    before, after = Histogram({0.01: 5.0, math.inf: 5.0}), Histogram({0.01: 5.0, math.inf: 8.0})

    assert after.since(before).figures().count == 3
    assert math.isinf(after.since(before).figures().p50_ms)
    assert after.since(after).figures().count == 0
