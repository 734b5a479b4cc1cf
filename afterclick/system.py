"""The whole system on one machine: which processes it is made of, in what order they start, and when it is ready."""

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from afterclick.errors import PartFailedError
from afterclick.folders import made_folder
from afterclick.ports import free_port
from afterclick.settings import Settings
from afterclick.supervisor import Part, Supervisor
from afterclick.valkey_server import AppendFsync, ValkeyServer
from api.keys import Keys, load_or_make_keys

_READERS = ("worker", "archive", "learner")
# One process a core, one thread: on a busy machine BLAS threads made an answer cost 12 ms of CPU instead of 1.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}

# What no visitor waits for stands back from what they wait for.
_NICE = {"learner": 5, "archive": 10, "engagements": 10}


class Running(msgspec.Struct, frozen=True):
    """A system that answers.

    Attributes:
        url: where the API listens.
        keys_are_new: they were made just now and should be shown, once.
    """

    url: str
    keys: Keys
    keys_are_new: bool


class System:
    """Starts and stops every part of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.supervisor = Supervisor(settings.run_dir)

    async def start(self) -> Running:
        """Start all parts, and return once suggestions are answered.

        Raises:
            PartFailedError: a part did not get ready; names its log.
        """
        keys, keys_are_new = load_or_make_keys(self._settings.data_dir)
        settings = await self._start_stores(self._settings)
        settings_file = _write_resolved(settings)
        env = {**_ONE_THREAD, "PROMETHEUS_MULTIPROC_DIR": str(_fresh_dir(settings.run_dir / "metrics"))}
        url = f"http://{_for_url(settings.api.host)}:{settings.api.port}"
        # The topics are made by whoever comes first; the learner makes nothing ready that answers wait for.
        servers = [
            _python_part(f"server-{i + 1}", "server", settings_file, env) for i in range(settings.system.servers)
        ]
        servers[0] = msgspec.structs.replace(servers[0], ready=lambda: _answers(url))
        names = (*_READERS, "engagements") if settings.triggers.enabled else _READERS
        readers = [_python_part(name, name, settings_file, env) for name in names]
        await self.supervisor.start(*readers, *servers)
        return Running(url, keys, keys_are_new)

    async def stop(self) -> None:
        """Stop every part; idempotent."""
        await self.supervisor.stop()

    async def _start_stores(self, settings: Settings) -> Settings:
        """Start what is embedded; the settings with real addresses in place of "embedded" and port 0."""
        promises: dict[str, AppendFsync] = {"bus": "always", "store": "everysec"}
        parts, urls = [], {}
        for name, appendfsync in promises.items():
            if getattr(settings.system, name) == "embedded":
                part, urls[name] = _valkey_part(name, settings, appendfsync)
                parts.append(part)
        await self.supervisor.start(*parts)
        return msgspec.structs.replace(
            settings,
            system=msgspec.structs.replace(settings.system, **urls),
            api=msgspec.structs.replace(settings.api, port=settings.api.port or free_port()),
        )


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold `data_dir` against a second system.

    Raises:
        PartFailedError: another one runs there.
        SettingsError: no folder can be made there.
    """
    made_folder(data_dir)
    with (data_dir / "lock").open("w") as lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PartFailedError(
                f"{data_dir} must belong to one system; another one runs there; stop it, or choose another --data-dir"
            ) from error
        yield


def _valkey_part(name: str, settings: Settings, appendfsync: AppendFsync) -> tuple[Part, str]:
    data_dir = settings.data_dir / name
    data_dir.mkdir(parents=True, exist_ok=True)
    # The bus trims itself at its limit; the server's own limit, above it, is there for what cannot be trimmed.
    memory_bytes_max = settings.bus.bytes_max * 5 // 4 if name == "bus" else None
    server = ValkeyServer(data_dir, free_port(), appendfsync, memory_bytes_max=memory_bytes_max)

    async def ready() -> bool:
        return await asyncio.to_thread(server.answers)

    return Part(f"valkey-{name}", server.argv, ready=ready), server.url


def _python_part(name: str, entry: str, settings_file: Path, env: dict[str, str]) -> Part:
    argv = (sys.executable, "-m", "afterclick.parts", entry, str(settings_file))
    return Part(name, argv, env, nice=_NICE.get(entry, 0))


def _write_resolved(settings: Settings) -> Path:
    path = settings.run_dir / "settings.json"
    path.write_bytes(msgspec.json.encode(settings))
    os.chmod(path, 0o600)
    return path


def _fresh_dir(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path.resolve()


def _for_url(host: str) -> str:
    return "127.0.0.1" if host in {"0.0.0.0", "::"} else host


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=1.0) as client:
            return (await client.get(f"{url}/health/ready")).status_code == 200
    except httpx.HTTPError:
        return False
