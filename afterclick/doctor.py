"""Look at this machine and at the running system, and say what is missing and what to do about it."""

import asyncio
import platform
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

import httpx

from afterclick.console import say
from afterclick.settings import Settings

_DISK_BYTES_MIN = 2 * 1024**3


class _Finding(NamedTuple):
    ok: bool
    what: str
    next_step: str = ""


async def examine(settings: Settings) -> int:
    """Print one line a check; 0 when nothing needed is missing."""
    findings = [check(settings) for check in _CHECKS]
    findings += await _running(settings)
    for finding in findings:
        say(
            f"{'ok     ' if finding.ok else 'missing'}  {finding.what}"
            + (f"; {finding.next_step}" if not finding.ok else "")
        )
    return 0 if all(finding.ok for finding in findings) else 1


def _python(_settings: Settings) -> _Finding:
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return _Finding(
        ok, f"Python {platform.python_version()}", "Afterclick needs 3.11 or 3.12; make setup PYTHON=python3.11"
    )


def _disk(settings: Settings) -> _Finding:
    place = settings.data_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return _Finding(
        free > _DISK_BYTES_MIN, f"{free / 1024**3:.1f} GiB free for {settings.data_dir}", "make room: 2 GiB at least"
    )


def _java(settings: Settings) -> _Finding:
    if not settings.system.bus.startswith("pulsar"):
        return _Finding(True, "Java and Maven not needed: the bus is embedded")
    found = [name for name in ("java", "mvn") if shutil.which(name)]
    return _Finding(
        len(found) == 2,
        "Java and Maven for `afterclick pulsar start`",
        "apt-get install -y openjdk-17-jre-headless maven",
    )


def _lightgbm(settings: Settings) -> _Finding:
    if not (settings.learner.refit and settings.learner.refit_ranker):
        return _Finding(True, "LightGBM not needed: the ranker is not refitted")
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        step = "apt-get install -y libgomp1; until then the shipped ranker answers, and is not refitted"
        return _Finding(False, f"LightGBM for refits of the ranker ({error})", step)
    return _Finding(True, f"LightGBM {lightgbm.__version__} for refits of the ranker")


_CHECKS: tuple[Callable[[Settings], _Finding], ...] = (_python, _disk, _java, _lightgbm)


async def _running(settings: Settings) -> list[_Finding]:
    url = f"http://{settings.api.host}:{settings.api.port}"
    try:
        async with httpx.AsyncClient(timeout=2.0) as client:
            ready = await client.get(f"{url}/health/ready")
    except httpx.HTTPError as error:
        return [_Finding(False, f"a system at {url} ({type(error).__name__})", "start one with `afterclick up`")]
    await asyncio.sleep(0)
    return [_Finding(ready.status_code == 200, f"the system at {url} is ready", f"it says: {ready.text[:200]}")]
