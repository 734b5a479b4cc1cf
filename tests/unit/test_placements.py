"""Where suggestions stand, and what each place asks for."""

from pathlib import Path

import msgspec
import pytest

from afterclick.errors import SettingsError
from afterclick.settings_file import read_sections
from api.settings import ApiSettings
from recommender.placements import PLACEMENTS_DEFAULT, Placement, Placements
from recommender.requests import Logic


def test_names_alone_have_what_is_usual_for_them() -> None:
    table = ApiSettings(placements="cart, attic").placement_table

    assert table == {"cart": PLACEMENTS_DEFAULT["cart"], "attic": Placement()}


def test_a_settings_file_describes_them(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('[api.placements.cart]\nlogic = "complementary"\nfallbacks = ["trending"]\nfilter = "price < 50"\n')

    api = read_sections(path, env={}, sections={"api": ApiSettings})["api"]

    assert api.placement_table == {"cart": Placement(Logic.COMPLEMENTARY, (Logic.TRENDING,), filter="price < 50")}


def test_a_filter_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('[api.placements.cart]\nfilter = "prize < 50"\n')

    with pytest.raises(SettingsError, match=r"column 1.*did you mean `price`"):
        read_sections(path, env={}, sections={"api": ApiSettings})


def test_a_decision_lies_over_the_settings_until_it_is_taken_back() -> None:
    placements = Placements({"cart": Placement()})
    decided = Placement(Logic.TRENDING)

    placements.decide({"cart": decided, "new": decided})
    assert (placements.get("cart"), placements.get("new"), list(placements)) == (decided, decided, ["cart", "new"])
    placements.decide({})
    assert (placements.get("cart"), placements.get("new")) == (Placement(), None)


def test_every_default_can_be_written_down_and_read_again() -> None:
    for placement in PLACEMENTS_DEFAULT.values():
        assert msgspec.json.decode(msgspec.json.encode(placement), type=Placement) == placement
