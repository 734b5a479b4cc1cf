"""The processes of the system under load: which they are, what they compute, what memory is theirs."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil


class ProcessMemory(msgspec.Struct, frozen=True):
    """One process. `pss_bytes`: its proportional set size, pages shared with others counted in shares."""

    pid: int
    name: str
    pss_bytes: int
    rss_bytes: int


class ProcessCpu(msgspec.Struct, frozen=True):
    """One process over a measured time; `cores` is CPU seconds per second."""

    pid: int
    name: str
    cpu_s: float
    cores: float


def system_pids(api_url: str, *, data_dir: Path | None = None) -> tuple[int, ...]:
    """The processes of the system that listens at `api_url`, the driver's own left out; empty when none is found.

    From the listener up to its supervisor and down to all children; with `data_dir`, whoever names it too.
    """
    own = {psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())}
    found: set[int] = set()
    for pid in (*_listeners(urlsplit(api_url).port), *_naming(data_dir)):
        if pid not in own:
            found.update(_family(pid, own))
    return tuple(sorted(found - own))


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """CPU time, user and system, of each process so far; those that are gone are left out."""
    times: dict[int, float] = {}
    for process in _alive(pids):
        spent = process.cpu_times()
        times[process.pid] = spent.user + spent.system
    return times


def machine_cpu_seconds() -> float:
    """CPU time that all processes together have had since the machine's start, its waits for a disk left out."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def cpu_between(before: dict[int, float], after: dict[int, float], *, seconds: float) -> list[ProcessCpu]:
    """What each process computed, most first; one that began in between counts from zero, an ended one is left out."""
    rows = [(pid, spent - before.get(pid, 0.0)) for pid, spent in after.items()]
    named = [ProcessCpu(pid, process_name(pid), round(spent, 3), round(spent / seconds, 3)) for pid, spent in rows]
    return sorted(named, key=lambda row: -row.cpu_s)


def pss_table(pids: Iterable[int]) -> list[ProcessMemory]:
    """Memory by process, most first. Linux only: PSS is read from `/proc/<pid>/smaps_rollup`."""
    rows = []
    for process in _alive(pids):
        memory = process.memory_full_info()
        rows.append(ProcessMemory(process.pid, process_name(process.pid), memory.pss, memory.rss))
    return sorted(rows, key=lambda row: -row.pss_bytes)


def process_name(pid: int) -> str:
    """A short name a reader knows: the program and its first words, without paths."""
    try:
        words = psutil.Process(pid).cmdline()
    except psutil.Error:
        return "gone"
    return short_name(words)


def short_name(words: Sequence[str]) -> str:
    """The first four words of a command line that say something: no interpreter, no flags, folders or settings."""
    names = [Path(word).name.strip() for word in words if not word.startswith("-") and len(word) < 200]
    telling = [name for name in names if name and not name.endswith((".json", ".toml", ".conf"))]
    if len(telling) > 1 and telling[0].startswith("python"):
        telling = telling[1:]
    return " ".join(telling[:4])[:60] or "unnamed"


def _listeners(port: int | None) -> Iterator[int]:
    for connection in psutil.net_connections(kind="tcp"):
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid is not None:
            yield connection.pid


def _naming(data_dir: Path | None) -> Iterator[int]:
    if data_dir is None:
        return
    wanted = str(data_dir.resolve())
    for process in psutil.process_iter(["cmdline"]):
        if any(wanted in word for word in process.info["cmdline"] or ()):
            yield process.pid


def _family(pid: int, own: set[int]) -> set[int]:
    """`pid`, its ancestors up to the topmost one that is part of Afterclick, and all of their children."""
    try:
        process = psutil.Process(pid)
        top = process
        for parent in process.parents():
            if parent.pid in own or "afterclick" not in " ".join(parent.cmdline()):
                break
            top = parent
        return {top.pid, *(child.pid for child in top.children(recursive=True))}
    except psutil.Error:
        return set()


def _alive(pids: Iterable[int]) -> Iterator[psutil.Process]:
    for pid in pids:
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue
