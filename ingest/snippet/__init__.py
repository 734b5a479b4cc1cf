"""The script a shop pastes into its pages, ready to be served."""

from ingest.snippet.source import SNIPPET_BYTES_MAX, snippet_script

__all__ = ["SNIPPET_BYTES_MAX", "snippet_script"]
