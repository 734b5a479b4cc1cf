"""`afterclick model list` and `model serve`: which versions of the model there are, and which one answers."""

import time
from pathlib import Path
from typing import Annotated

import typer

from afterclick.console import errors_without_traceback, say

app = typer.Typer(help="The versions of the model, and which one answers.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option(help="Settings, a TOML file.")]
DataDir = Annotated[str | None, typer.Option(help="The installation's data folder.")]


@app.command(name="list")
def list_versions(config: Config = None, data_dir: DataDir = None) -> None:
    """Every version kept: when it was written, what it learnt from, how well it foretold what came."""
    from rich.console import Console
    from rich.table import Table

    from recommender.model_choice import kept_versions, read_choice

    with errors_without_traceback():
        folder = _folder(config, data_dir)
        chosen = read_choice(folder)
        table = Table(title=f"Models in {folder}")
        for column in ("version", "written", "items", "events", "data", "HR@20", "MB", ""):
            table.add_column(column, justify="left" if column in ("version", "written", "data", "") else "right")
        for place, kept in enumerate(kept_versions(folder)):
            serves = kept.version == chosen if chosen is not None else place == 0
            state = "serves" if serves else ""
            size = f"{kept.size_bytes / 1e6:.1f}"
            if kept.meta is None:
                table.add_row(kept.version, "", "", "", "", "", size, f"refused: {kept.refused}")
                continue
            meta = kept.meta
            score = f"{meta.metrics['hr@20']:.3f} of {meta.metrics['targets']:.0f}" if "hr@20" in meta.metrics else ""
            data = f"{_date(meta.data_from_ms)} to {_date(meta.data_to_ms)}"
            items = str(meta.items)
            table.add_row(kept.version, _date(meta.made_at_ms), items, str(meta.events), data, score, size, state)
        Console(width=160).print(table)


@app.command()
def serve(
    version: Annotated[str, typer.Argument(help='A version of `model list`, or its beginning; "newest" goes on.')],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Serve a version in every running replica, within a second or two; it stands still until `newest` is served."""
    from recommender.errors import RecommenderError
    from recommender.model_choice import NEWEST, choose

    with errors_without_traceback(RecommenderError):
        chosen = choose(_folder(config, data_dir), version)
        say(
            "Replicas serve the newest model and follow the learner" if chosen == NEWEST else f"Replicas serve {chosen}"
        )


def _folder(config: Path | None, data_dir: str | None) -> Path:
    from afterclick.settings import load_settings

    return load_settings(config, data_dir=data_dir).model_dir


def _date(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_ms / 1000)) if time_ms else ""
