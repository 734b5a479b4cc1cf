"""`afterclick pulsar start|stop|status`: a real Apache Pulsar on this machine."""

import typer

app = typer.Typer(help="A real Apache Pulsar on this machine.", no_args_is_help=True)


@app.command()
def start() -> None:
    """Fetch (the first time), configure and start a Pulsar that listens on this machine only."""
    raise typer.Exit(3)


@app.command()
def status() -> None:
    """Say whether it runs, and where."""
    raise typer.Exit(3)
