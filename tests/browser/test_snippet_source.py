import gzip

from ingest.snippet import SNIPPET_BYTES_MAX, snippet_script
from ingest.snippet.source import strip_comment_lines


def test_the_served_script_fits_its_byte_budget() -> None:
    gzipped_bytes = len(gzip.compress(snippet_script(), 9))

    assert gzipped_bytes <= SNIPPET_BYTES_MAX == 5_000


def test_only_comment_lines_and_indentation_stay_behind() -> None:
    source = "// why\nfunction f() {\n  // because\n  return 'http://x';\n\n}\n"

    assert strip_comment_lines(source) == "function f() {\nreturn 'http://x';\n}\n"


def test_the_script_names_no_other_host() -> None:
    script = snippet_script().decode()

    assert "http://" not in script
    assert "https://" not in script
