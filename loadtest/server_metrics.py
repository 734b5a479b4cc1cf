"""Read one histogram of the system's own `/metrics`."""

import re
from itertools import pairwise

import msgspec

from loadtest.client import Client
from loadtest.errors import ConnectionLostError

_SAMPLE = re.compile(r"^(?P<name>\w+)_bucket\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_BOUND = re.compile(r'(?:^|,)le="([^"]+)"')


class HistogramFigures(msgspec.Struct, frozen=True):
    """Of `count` observations, in milliseconds, each interpolated inside its bucket; infinite beyond the last bound."""

    count: int
    p50_ms: float
    p99_ms: float


class Histogram(msgspec.Struct, frozen=True):
    """Cumulative counts by upper bound in seconds, ascending; the last bound is infinite."""

    counts: dict[float, float]

    def since(self, before: "Histogram | None") -> "Histogram":
        """What was observed after `before`."""
        earlier = before.counts if before is not None else {}
        return Histogram({bound: count - earlier.get(bound, 0.0) for bound, count in self.counts.items()})

    def figures(self) -> HistogramFigures:
        """Count and percentiles; zeros for nothing observed."""
        total = max(self.counts.values(), default=0.0)
        if total <= 0:
            return HistogramFigures(0, 0.0, 0.0)
        return HistogramFigures(int(total), self._quantile_ms(0.5 * total), self._quantile_ms(0.99 * total))

    def _quantile_ms(self, rank: float) -> float:
        steps = [(0.0, 0.0), *sorted(self.counts.items())]
        for (low, below), (high, upto) in pairwise(steps):
            if upto >= rank:
                share = (rank - below) / (upto - below) if upto > below else 1.0
                return round((low + (high - low) * share) * 1e3, 3)
        return float("inf")


def parse_histogram(text: str, name: str) -> Histogram | None:
    """The histogram `name` in Prometheus' text form, its labels summed up; None when it is not there."""
    counts: dict[float, float] = {}
    for sample in _SAMPLE.finditer(text):
        bound = _BOUND.search(sample["labels"])
        if sample["name"] == name and bound is not None:
            at = float(bound[1])
            counts[at] = counts.get(at, 0.0) + float(sample["value"])
    return Histogram(dict(sorted(counts.items()))) if counts else None


async def read_histogram(client: Client, name: str) -> Histogram | None:
    """The histogram as it stands; None when it cannot be read (no secret key, nothing observed yet, no answer)."""
    try:
        response = await client.request("GET", "/metrics")
    except ConnectionLostError:
        return None
    return parse_histogram(response.body.decode("utf-8", "replace"), name) if response.status == 200 else None
