"""`afterclick replay` and `afterclick load`: drive a running system from outside, over HTTP."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from afterclick.console import errors_without_traceback, say
from loadtest.errors import InputFileError, LoadTestError
from loadtest.settings import ColumnNames, LoadOptions, ReplayOptions, SaturationOptions

app = typer.Typer(help="Drive the running system and report what was felt.", no_args_is_help=True)

Url = Annotated[str, typer.Option(help="Where the API listens.")]
DataDir = Annotated[Path, typer.Option(help="The installation's data folder; its keys.toml is read.")]
Text = str | None
Out = Annotated[Path, typer.Option(help="Folder for report.json, report.md and the plots.")]


def replay(
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or JSONL.")],
    url: Url = "http://127.0.0.1:8080",
    data_dir: DataDir = Path(".afterclick"),
    speed: Annotated[str, typer.Option(help='"max", or how many times faster than the file.')] = "max",
    times: Annotated[str, typer.Option(help="scaled, arrival or kept.")] = "arrival",
    time: Annotated[Text, typer.Option(help="Column of the time.")] = None,
    visitor: Annotated[Text, typer.Option(help="Column of the visitor.")] = None,
    session: Annotated[Text, typer.Option(help="Column of the session.")] = None,
    position: Annotated[Text, typer.Option(help="Column of the order in the session.")] = None,
    item: Annotated[Text, typer.Option(help="Column of the item.")] = None,
    event: Annotated[Text, typer.Option(help="Column of the kind.")] = None,
    quantity: Annotated[Text, typer.Option(help="Column of the quantity.")] = None,
    price: Annotated[Text, typer.Option(help="Column of the price.")] = None,
    title: Annotated[Text, typer.Option(help="Column of the title.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="A kind of the file and its event, as cart=add_to_cart.")
    ] = None,
    time_unit: Annotated[Literal["ms", "s", "us"], typer.Option(help="Unit of the time column.")] = "ms",
    split: Annotated[
        Text, typer.Option(help="Only rows with this value of the column split; join several by +.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many rows.")] = None,
    ask_every: Annotated[int, typer.Option(help="Ask for suggestions before each so-manieth event; 0: never.")] = 0,
    catalog: Annotated[bool, typer.Option(help="Fill the catalogue from the file first.")] = True,
    progress: Annotated[bool, typer.Option(help="Show the progress bar.")] = True,
    json: Annotated[Path | None, typer.Option(help="Write the report here, too.")] = None,
) -> None:
    """Replay a file of real clicks; a second run of the same file changes nothing."""
    # Here and below: polars and the drivers are 40 MB that `afterclick up` must not hold.
    from loadtest.replay import replay as run_replay
    from loadtest.system import read_keys

    with errors_without_traceback(LoadTestError, ValueError):
        keys = read_keys(data_dir)
        options = ReplayOptions(
            file=file,
            api_url=url,
            write_key=keys.write_key,
            secret_key=keys.secret_key,
            speed="max" if speed == "max" else _positive(speed),
            times=_times(times),
            columns=ColumnNames(
                time=time,
                visitor=visitor,
                session=session,
                position=position,
                item=item,
                event=event,
                quantity=quantity,
                price=price,
                title=title,
            ),
            kinds=_kinds(kind or []),
            time_unit=time_unit,
            split=split,
            limit=limit,
            ask_every=ask_every,
            catalog=catalog,
            progress=progress,
        )
        report = asyncio.run(run_replay(options))
        report.print(Console())
        if json is not None:
            report.write(json)


@app.command()
def run(
    out: Out = Path("build/load"),
    url: Url = "http://127.0.0.1:8080",
    data_dir: DataDir = Path(".afterclick"),
    source: Annotated[str, typer.Option(help='"shoppers" (simulated), or a file of real events.')] = "shoppers",
    events: Annotated[float, typer.Option(help="Events a second.")] = 200.0,
    recommendations: Annotated[float, typer.Option(help="Calls for suggestions a second.")] = 200.0,
    seconds: Annotated[float, typer.Option(help="How long.")] = 30.0,
    items: Annotated[int, typer.Option(help="Products of the simulated shop.")] = 10_000,
    batch: Annotated[int, typer.Option(help="Events in one POST.")] = 1,
) -> None:
    """Fixed rates whatever the answers do (open loop); latency counts from the intended start."""
    from loadtest.load import run_load
    from loadtest.system import read_keys

    with errors_without_traceback(LoadTestError, ValueError):
        keys = read_keys(data_dir)
        options = LoadOptions(
            api_url=url,
            write_key=keys.write_key,
            secret_key=keys.secret_key,
            out=out,
            events_per_s=events,
            recommendations_per_s=recommendations,
            seconds=seconds,
            batch_events=batch,
            source=source,
            items=items,
            data_dir=data_dir,
        )
        asyncio.run(run_load(options))
        _tell(out)


@app.command()
def saturate(
    out: Out = Path("build/saturation"),
    url: Url = "http://127.0.0.1:8080",
    data_dir: DataDir = Path(".afterclick"),
    seconds: Annotated[float, typer.Option(help="How long.")] = 10.0,
    connections: Annotated[int, typer.Option(help="Callers that ask as fast as they are answered.")] = 16,
    items: Annotated[int, typer.Option(help="Products of the simulated shop.")] = 10_000,
) -> None:
    """As many suggestions as the system gives (closed loop)."""
    from loadtest.load import run_saturation
    from loadtest.system import read_keys

    with errors_without_traceback(LoadTestError, ValueError):
        options = SaturationOptions(
            api_url=url,
            write_key=read_keys(data_dir).write_key,
            out=out,
            seconds=seconds,
            connections=connections,
            items=items,
            data_dir=data_dir,
        )
        asyncio.run(run_saturation(options))
        _tell(out)


def _tell(out: Path) -> None:
    say((out / "report.md").read_text())
    say(f"Report and plots: {out}")


def _times(text: str) -> Literal["scaled", "arrival", "kept"]:
    if text not in ("scaled", "arrival", "kept"):
        raise InputFileError(wanted="--times scaled, arrival or kept", got=text, next_step="see docs/replay.md")
    return text  # type: ignore[return-value]


def _positive(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if speed <= 0:
        raise InputFileError(
            wanted='--speed "max" or a number above 0', got=text, next_step="say how many times faster"
        )
    return speed


def _kinds(pairs: list[str]) -> dict[str, str]:
    kinds = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals:
            raise InputFileError(
                wanted="--kind FILE_KIND=EVENT", got=pair, next_step="for example --kind cart=add_to_cart"
            )
        kinds[ours] = theirs
    return kinds
