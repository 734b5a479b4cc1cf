"""`afterclick pulsar start|stop|status`: a real Apache Pulsar on this machine."""

import typer

app = typer.Typer(help="A real Apache Pulsar on this machine.", no_args_is_help=True)
