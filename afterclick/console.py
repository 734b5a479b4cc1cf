"""What a person reads in the terminal: one line when ready, keys once, errors without a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from afterclick.errors import FrontDoorError
from api.keys import Keys


def say(line: str) -> None:
    """One line to standard output, at once."""
    print(line, flush=True)


def hint(line: str) -> None:
    """One line to standard error: what is good to know but not the result."""
    print(line, file=sys.stderr, flush=True)


def show_keys(keys: Keys, *, keys_file: str) -> None:
    """Once, at the first start."""
    hint("Keys of this installation, shown this once:")
    hint(f"  write key (may sit in a page):   {keys.write_key}")
    hint(f"  secret key (never in a page):    {keys.secret_key}")
    hint(f"  kept in {keys_file}, readable by you alone")


@contextmanager
def errors_without_traceback(*kinds: type[Exception]) -> Iterator[None]:
    """Print what went wrong and what to do, and exit with 2."""
    wanted: tuple[type[Exception], ...] = (FrontDoorError, *kinds)
    try:
        yield
    except wanted as error:
        hint(f"afterclick: {error}")
        raise typer.Exit(2) from error
