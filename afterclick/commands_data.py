"""`afterclick rebuild` and `afterclick backfill`: what is done with files and stores, not with a running server."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from afterclick.console import errors_without_traceback, say

Text = str | None


def rebuild(
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None,
    data_dir: Annotated[Text, typer.Option(help="The installation's data folder.")] = None,
) -> None:
    """Wipe the online store of the running system and build it again from archive and bus."""
    from afterclick.rebuild import rebuild_running
    from afterclick.settings import load_settings
    from feature_store.errors import FeatureStoreError
    from ingest.errors import IngestError

    with errors_without_traceback(FeatureStoreError, IngestError):
        events = asyncio.run(rebuild_running(load_settings(config, data_dir=data_dir)))
        say(f"Online store rebuilt from {events} events")


def backfill(
    features: Annotated[
        Text, typer.Option(help="Names as item:view_24h, with commas; without it, for a store: all.")
    ] = None,
    into: Annotated[str, typer.Option(help='"store", or a file of Parquet to write.')] = "store",
    since: Annotated[str, typer.Option("--from", help="Events accepted since: a date, a time, or Unix ms.")] = "0",
    to: Annotated[
        Text, typer.Option("--to", help="Of a table: events accepted up to then; the values' instant.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Of a table: partitions are shared out among so many.", min=1)] = 2,
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file.")] = None,
    data_dir: Annotated[Text, typer.Option(help="The installation's data folder.")] = None,
) -> None:
    """Replay the archive through the windows: into the running system's store, beside live traffic, or into a table."""
    from afterclick.backfill import INTO_STORE, backfill_file, backfill_running, instant_ms
    from afterclick.errors import SettingsError
    from afterclick.settings import load_settings
    from feature_store.errors import FeatureStoreError
    from ingest.errors import IngestError

    with errors_without_traceback(FeatureStoreError, IngestError):
        settings = load_settings(config, data_dir=data_dir)
        named = [name.strip() for name in (features or "").split(",") if name.strip()]
        if into != INTO_STORE:
            until_ms = None if to is None else instant_ms(to)
            done = backfill_file(
                settings, named, Path(into), from_ms=instant_ms(since), to_ms=until_ms, processes=processes
            )
            say(f"{done.entities} entities in {into}, from {done.events} events, in {done.seconds:.1f} s")
            return
        if to is not None:
            raise SettingsError("--to is for a table: the store is always brought up to now; leave it away")
        events = asyncio.run(backfill_running(settings, named, from_ms=instant_ms(since)))
        say(f"Online store backfilled from {events} events")
