"""`afterclick pulsar start|stop|status`: a real Apache Pulsar on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from afterclick.console import errors_without_traceback, hint, say
from afterclick.pulsar_server import ADMIN_PORT, BROKER_PORT, pulsar_status, start_pulsar, stop_pulsar

app = typer.Typer(help="A real Apache Pulsar on this machine.", no_args_is_help=True)

DataDir = Annotated[Path, typer.Option(help="Where its data lies.")]
_DATA_DIR = Path(".afterclick/pulsar")


@app.command()
def start(
    data_dir: DataDir = _DATA_DIR,
    port: Annotated[int, typer.Option(help="Port of the broker.")] = BROKER_PORT,
    admin_port: Annotated[int, typer.Option(help="Port of the admin API.")] = ADMIN_PORT,
) -> None:
    """Fetch (the first time, 245 MB), configure and start a Pulsar that listens on this machine only."""
    with errors_without_traceback():
        hint("Starting Apache Pulsar; the first time it is fetched (245 MB) …")
        server = start_pulsar(data_dir, port, admin_port)
        say(f"Pulsar is ready; run `afterclick up --bus '{server.url}'`")


@app.command()
def stop(data_dir: DataDir = _DATA_DIR) -> None:
    """Stop the Pulsar that `start` started."""
    with errors_without_traceback():
        say("Pulsar stopped" if stop_pulsar(data_dir) else f"No Pulsar runs on {data_dir}")


@app.command()
def status(data_dir: DataDir = _DATA_DIR) -> None:
    """Say whether it runs, and where; exits with 1 when it does not."""
    running = pulsar_status(data_dir)
    if running is None:
        say(f"No Pulsar runs on {data_dir}")
        raise typer.Exit(1)
    say(f"Pulsar runs: pulsar://127.0.0.1:{running.broker_port}?admin=http://127.0.0.1:{running.admin_port}")
