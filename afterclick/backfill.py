"""`afterclick backfill`: replay the archive into the running system's online store, or into a table."""

import time
from datetime import UTC, datetime
from pathlib import Path

from afterclick.errors import SettingsError
from afterclick.rebuild import resolved_settings
from afterclick.settings import Settings
from feature_store.asked_features import by_entity
from feature_store.backfill_store import backfill_store
from feature_store.backfill_table import Backfilled, backfill_table
from feature_store.online_store import OnlineStore
from feature_store.pair_features import ITEM_PAIR_VIEW
from feature_store.plugins import load_plugin
from ingest.archive_below import archived_below
from ingest.bus import open_bus

INTO_STORE = "store"


def instant_ms(text: str) -> int:
    """Unix milliseconds, or a date or date and time as ISO 8601 has it, in UTC where it names no zone.

    Raises:
        SettingsError: it is neither.
    """
    if text.isdigit():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(
            f'a time must look like "2026-07-14", "2026-07-14T09:30" or Unix ms, got "{text}"'
        ) from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


async def backfill_running(settings: Settings, features: list[str], *, from_ms: int) -> int:
    """Backfill the store of the system in `settings.data_dir`, all of it without `features`; returns how many events.

    Raises:
        PartFailedError: no system runs there.
        UnknownFeatureError: a feature that is not declared.
    """
    resolved = resolved_settings(settings)
    plugin = load_plugin(resolved.store.features_module)
    named = features or [
        # A pair of items has no records of its own.
        feature.full_name
        for view in plugin.registry.views
        if view.name != ITEM_PAIR_VIEW.name
        for feature in view.features
    ]
    entities = list(by_entity(named, plugin.registry, [view.name for view in plugin.counted]))
    place = resolved.open_archive()
    bus = await open_bus(resolved.system.bus, settings=resolved.bus, below=archived_below(place))
    store = OnlineStore(resolved.system.store, resolved.store)
    try:
        return await backfill_store(
            bus, store, place, entities, from_ms=from_ms, settings=resolved.worker, dedup=resolved.dedup
        )
    finally:
        await store.close()
        await bus.close()


def backfill_file(
    settings: Settings, features: list[str], out: Path, *, from_ms: int, to_ms: int | None, processes: int
) -> Backfilled:
    """Backfill a table from the archive of `settings`, up to `to_ms` or now.

    Raises:
        SettingsError: no features, or features of several entities.
        UnknownFeatureError: a feature that is not declared.
    """
    plugin = load_plugin(settings.store.features_module)
    entities = by_entity(features, plugin.registry, [view.name for view in plugin.counted])
    if len(entities) != 1:
        raise SettingsError(
            f"--features must name features of one entity for a table, got {', '.join(entities) or 'none'}; "
            "for example --features item:view_24h,item:conversion"
        )
    return backfill_table(
        settings.open_archive(),
        features,
        out,
        from_ms=from_ms,
        to_ms=time.time_ns() // 1_000_000 if to_ms is None else to_ms,
        processes=processes,
        features_module=settings.store.features_module,
        future_ms_max=settings.worker.future_ms_max,
    )
