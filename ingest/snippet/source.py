"""Read `snippet.js` and make it small: comment lines and indentation stay behind."""

from importlib.resources import files

SNIPPET_BYTES_MAX = 5_000
"""What a visitor's browser may have to load, gzipped; a test holds it."""


def snippet_script() -> bytes:
    """The script as `/snippet.js` serves it (UTF-8, `text/javascript`); read once at start, it never changes."""
    return strip_comment_lines(files("ingest.snippet").joinpath("snippet.js").read_text("utf-8")).encode()


def strip_comment_lines(source: str) -> str:
    """`source` without indentation, empty lines and lines that are a `//` comment; nothing else changes.

    Every statement keeps its own line, so this needs no parser. No string in `snippet.js` spans lines.
    """
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//")) + "\n"
