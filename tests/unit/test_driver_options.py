from pathlib import Path

import pytest

from loadtest.errors import OptionError
from loadtest.settings import LoadOptions, ReplayOptions, SaturationOptions

REPLAY = {"file": Path("c.csv"), "api_url": "http://127.0.0.1:1", "write_key": "w"}


@pytest.mark.parametrize(
    "wrong",
    [{"lanes": 0}, {"speed": 0.0}, {"speed": -1}, {"speed": "fast"}, {"times": "now"}, {"ask_every": -1}, {"limit": 0}],
)
def test_an_option_outside_its_limits_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=f"wanted {next(iter(wrong))} within its limits"):
        ReplayOptions(**(REPLAY | wrong))


def test_whole_numbers_may_stand_for_speeds_and_rates() -> None:
    load = LoadOptions(api_url="http://h", write_key="w", out=Path("o"), events_per_s=100, seconds=3, pids=(1, 2))

    assert ReplayOptions(**REPLAY, speed=60).speed == 60
    assert load.events_per_s == 100
    assert SaturationOptions(api_url="http://h", write_key="w", out=Path("o")).connections == 16
