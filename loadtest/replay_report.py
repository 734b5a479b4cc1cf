"""What a replay found: one struct, as JSON and as tables for a person."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from loadtest.asking import AskReport, Hits
from loadtest.freshness import FreshnessReport
from loadtest.percentiles import Percentiles


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """One replay.

    `rows` = `sent` + the sum of `unusable`; `sent` = `accepted` + the sum of `rejected`. `resent` counts events sent
    again because no answer was had; the server drops what it has already, so they change nothing.
    `behind_s_max`: by how much the replay fell behind its pace (0 at the greatest speed).
    """

    file: str
    digest: str
    speed: str
    times: str
    timed: bool
    rows: int
    unusable: Mapping[str, int]
    sent: int
    accepted: int
    rejected: Mapping[str, int]
    resent: int
    retries: Mapping[str, int]
    requests: int
    seconds: float
    events_per_s: float
    behind_s_max: float
    products: int
    products_rejected: int
    settle_ms: int
    asks: AskReport | None
    freshness: FreshnessReport

    def to_json(self) -> bytes:
        """Indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)

    def write(self, path: Path) -> None:
        """Write the JSON to `path`, making its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.to_json() + b"\n")

    def print(self, console: Console) -> None:
        """Print the tables."""
        # A title over a table wraps at the table's width; a line of its own does not.
        console.print(f"Replay of {self.file}, {self.times} times, speed {self.speed}")
        console.print(_sent_table(self))
        if self.asks is not None:
            console.print(_hits_table(self.asks))
        console.print(_times_table(self))


def _sent_table(report: ReplayReport) -> Table:
    table = Table("", "count")
    for name, value in _sent_rows(report):
        table.add_row(name, value)
    return table


def _sent_rows(report: ReplayReport) -> Iterator[tuple[str, str]]:
    yield "rows in the file", f"{report.rows:,}"
    for reason, count in report.unusable.items():
        yield f"  unusable: {reason}", f"{count:,}"
    yield "sent", f"{report.sent:,}"
    yield "accepted", f"{report.accepted:,}"
    yield "rejected", f"{sum(report.rejected.values()):,}"
    for code, count in report.rejected.items():
        yield f"  {code}", f"{count:,}"
    yield "sent again", f"{report.resent:,}"
    for reason, count in report.retries.items():
        yield f"  requests after {reason}", f"{count:,}"
    yield "products in the catalogue", f"{report.products:,}"
    if report.products_rejected:
        yield "  products refused", f"{report.products_rejected:,}"
    yield "seconds", f"{report.seconds:,.1f}"
    yield "events/s", f"{report.events_per_s:,.0f}"
    if report.behind_s_max:
        yield "behind its pace, at most", f"{report.behind_s_max:.2f} s"


def _hits_table(asks: AskReport) -> Table:
    table = Table("suggestions served", "asks", f"HR@{asks.n}", f"MRR@{asks.n}", title_justify="left")
    for title, group in (("", asks.hits), ("by rung: ", asks.by_rung), ("degraded: ", asks.by_degraded)):
        for name, hits in group.items():
            _add_hits(table, title + name, hits)
    for reason, count in asks.errors.items():
        table.add_row(f"failed: {reason}", f"{count:,}", "", "")
    return table


def _add_hits(table: Table, name: str, hits: Hits) -> None:
    table.add_row(name, f"{hits.asks:,}", f"{hits.hr:.4f}", f"{hits.mrr:.4f}")


def _times_table(report: ReplayReport) -> Table:
    table = Table("milliseconds", "count", "p50", "p90", "p99", "p99.9", "max", title_justify="left")
    if report.asks is not None:
        _add_times(table, "suggestions", report.asks.latency)
    freshness = report.freshness
    _add_times(table, "freshness: 202 to an answer made from it", freshness.watched)
    if freshness.timeouts:
        table.add_row("  not within 10 s", f"{freshness.timeouts:,}", *[""] * 5)
    if freshness.stopped is not None:
        table.add_row(f"  {freshness.stopped}", *[""] * 6)
    if freshness.worker is not None:
        worker = freshness.worker
        cells = (f"{worker.count:,}", f"{worker.p50_ms:.2f}", "", f"{worker.p99_ms:.2f}", "", "")
        table.add_row("freshness: collector to records (/metrics)", *cells)
    return table


def _add_times(table: Table, name: str, times: Percentiles) -> None:
    cells = (times.p50_ms, times.p90_ms, times.p99_ms, times.p99_9_ms, times.max_ms)
    table.add_row(name, f"{times.count:,}", *(f"{value:.2f}" for value in cells))
