"""Settings: one file, overrides by environment, and errors that name the key."""

from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterclick.errors import SettingsError
from afterclick.settings_file import parse_duration_ms, read_sections


class Shop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int = 8000
    flush_ms: int = 20
    lateness_ms_max: int | Literal["unlimited"] = 1000
    name: str = "x"


SECTIONS = {"shop": Shop}


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "afterclick.toml"
    path.write_text(text)
    return path


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path, "[shop]\nport = 1\nname = 'file'\n")

    shop = read_sections(path, env={"AFTERCLICK_SHOP_PORT": "2"}, sections=SECTIONS)["shop"]

    assert (shop.port, shop.name) == (2, "file")


def test_durations_are_written_with_their_unit(tmp_path: Path) -> None:
    path = _write(tmp_path, "[shop]\nflush = '2s'\nlateness_max = 'unlimited'\n")

    shop = read_sections(path, env={}, sections=SECTIONS)["shop"]

    assert (shop.flush_ms, shop.lateness_ms_max) == (2000, "unlimited")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[shop]\nprot = 1\n", "did you mean port"),
        ("[shpo]\n", "did you mean shop"),
        ("[shop]\nport = 'many'\n", "section [shop]"),
        ("[shop]\nflush = 'soon'\n", "shop.flush"),
        ("[shop\n", "must be TOML"),
    ],
)
def test_a_bad_setting_stops_the_start_and_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = _write(tmp_path, text)

    with pytest.raises(SettingsError) as caught:
        read_sections(path, env={}, sections=SECTIONS)

    assert named in str(caught.value)


def test_an_override_of_no_section_is_refused() -> None:
    with pytest.raises(SettingsError, match="AFTERCLICK_SHPO_PORT"):
        read_sections(None, env={"AFTERCLICK_SHPO_PORT": "2"}, sections=SECTIONS)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        read_sections(Path("nowhere.toml"), env={}, sections=SECTIONS)


@given(st.integers(0, 10**6))
def test_seconds_are_a_thousand_milliseconds(count: int) -> None:
    assert parse_duration_ms(f"{count}s") == 1000 * parse_duration_ms(f"{count}ms")
