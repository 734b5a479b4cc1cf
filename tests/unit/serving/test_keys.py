"""Keys made at the first start and kept."""

import stat
from pathlib import Path

import pytest

from api.errors import KeysFileError
from api.keys import load_or_make_keys


def test_keys_are_made_once_and_then_kept(tmp_path: Path) -> None:
    first, made = load_or_make_keys(tmp_path / "data")
    second, made_again = load_or_make_keys(tmp_path / "data")

    assert made
    assert not made_again
    assert first == second
    assert len({first.write_key, first.secret_key, first.visitor_secret}) == 3


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    load_or_make_keys(tmp_path)

    assert stat.S_IMODE((tmp_path / "keys.toml").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.toml"]


@pytest.mark.parametrize("text", ["", "write_key = 3", 'write_key = "short"', "not toml ="])
def test_a_broken_file_stops_the_start_and_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.toml").write_text(text)

    with pytest.raises(KeysFileError, match="restore the file"):
        load_or_make_keys(tmp_path)

    assert (tmp_path / "keys.toml").read_text() == text


def test_keys_never_show_in_a_log(tmp_path: Path) -> None:
    keys, _ = load_or_make_keys(tmp_path)

    assert keys.secret_key not in f"{keys!r} {keys}"
