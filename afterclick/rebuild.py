"""`afterclick rebuild`: wipe the running system's online store and build it again from archive and bus."""

import msgspec

from afterclick.errors import PartFailedError
from afterclick.settings import Settings
from feature_store.online_store import OnlineStore
from feature_store.rebuild import rebuild_online_store
from ingest.archive_below import archived_below
from ingest.bus import open_bus


async def rebuild_running(settings: Settings) -> int:
    """Rebuild what the system in `settings.data_dir` uses; returns how many events were applied.

    Raises:
        PartFailedError: no system runs there.
    """
    resolved = resolved_settings(settings)
    bus = await open_bus(resolved.system.bus, settings=resolved.bus, below=archived_below(resolved.open_archive()))
    store = OnlineStore(resolved.system.store, resolved.store)
    try:
        return await rebuild_online_store(bus, store, resolved.worker, dedup=resolved.dedup)
    finally:
        await store.close()
        await bus.close()


def resolved_settings(settings: Settings) -> Settings:
    """Those of the system that runs in `settings.data_dir`, with the addresses it has taken.

    Raises:
        PartFailedError: no system runs there.
    """
    resolved_file = settings.run_dir / "settings.json"
    if not resolved_file.exists():
        raise PartFailedError(
            f"a running system's {resolved_file} is wanted, there is none; start one with `afterclick up --data-dir …`"
        )
    return msgspec.json.decode(resolved_file.read_bytes(), type=Settings)
