"""`afterclick rebuild`: what is done with files and stores, not with a running server."""

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
