"""The command line: `afterclick up`, `demo`, `doctor`, `replay`, `evaluate`, `rebuild`, `backfill` and others."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from afterclick import (
    commands_catalog,
    commands_data,
    commands_evaluate,
    commands_features,
    commands_load,
    commands_model,
    commands_pulsar,
    commands_rules,
)
from afterclick.console import errors_without_traceback
from afterclick.logs import configure_logs
from afterclick.settings import Settings, load_settings

app = typer.Typer(
    help="A clickstream personalization and recommendation engine: a click changes the next page.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(commands_pulsar.app, name="pulsar")
app.add_typer(commands_load.app, name="load")
app.add_typer(commands_rules.app, name="rules")
app.add_typer(commands_catalog.app, name="catalog")
app.add_typer(commands_evaluate.app, name="evaluate")
app.add_typer(commands_model.app, name="model")
app.add_typer(commands_features.app, name="features")
app.command()(commands_features.metadata)
app.command()(commands_load.replay)
app.command()(commands_data.rebuild)
app.command()(commands_data.backfill)

Config = Annotated[Path | None, typer.Option(help="Settings, a TOML file; see docs/configuration.md.")]
Bus = Annotated[str | None, typer.Option(help='"embedded", or pulsar://HOST:PORT.')]
Store = Annotated[str | None, typer.Option(help='"embedded", valkey://HOST:PORT, or valkey-cluster://HOST:PORT,...')]
DataDir = Annotated[str | None, typer.Option(help="Everything the system writes lies here.")]
Host = Annotated[str | None, typer.Option(help="Address the API listens on.")]
Port = Annotated[int | None, typer.Option(help="Port the API listens on; 0 takes a free one.")]


@app.command()
def up(
    config: Config = None,
    bus: Bus = None,
    store: Store = None,
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Run the system; prints one line with the address when it is ready. Ctrl-C stops all of it."""
    from afterclick.run import run_up

    with errors_without_traceback():
        settings = _settings(config, bus=bus, store=store, data_dir=data_dir, host=host, port=port)
        asyncio.run(run_up(settings))


@app.command()
def demo(
    config: Config = None,
    bus: Annotated[str, typer.Option(help='"embedded" or "pulsar" (fetched and started here), or a URL.')] = "embedded",
    data_dir: DataDir = None,
    port: Port = None,
    shop_port: Annotated[int, typer.Option(help="Port of the sample shop; 0 takes a free one.")] = 8081,
    rate: Annotated[float, typer.Option(help="Steps of simulated shoppers a second.")] = 20.0,
) -> None:
    """Run the system with a sample shop and simulated shoppers browsing it, and print the addresses to open."""
    from afterclick.demo import run_demo

    with errors_without_traceback():
        settings = _settings(
            config, bus=None, store=None, data_dir=data_dir or ".afterclick/demo", host=None, port=port
        )
        asyncio.run(run_demo(settings, bus=bus, shop_port=shop_port, steps_per_s=rate))


@app.command()
def doctor(config: Config = None, data_dir: DataDir = None) -> None:
    """Look at this machine and at the running system, and say what is missing."""
    from afterclick.doctor import examine

    with errors_without_traceback():
        raise typer.Exit(asyncio.run(examine(_settings(config, data_dir=data_dir))))


@app.command(name="compile")
def compile_kernels() -> None:
    """Compile the numerical kernels into their cache, so that no visitor waits for a compiler."""
    from afterclick.kernels import compile_all

    seconds = compile_all()
    typer.echo(f"Kernels compiled in {seconds:.1f} s")


def _settings(config: Path | None, **overrides: str | int | None) -> Settings:
    return load_settings(config, **overrides)


def main() -> None:
    """The console script."""
    configure_logs(for_a_person=True)
    app()


if __name__ == "__main__":
    main()
