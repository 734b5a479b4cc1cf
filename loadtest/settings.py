"""What a replay and a load run are told: one frozen struct each, every limit in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from loadtest.errors import OptionError

Times = Literal["scaled", "arrival", "kept"]

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class _Checked(msgspec.Struct, frozen=True):
    """Options come from flags and scripts, so their limits are checked where they are made."""

    def __post_init__(self) -> None:
        for name, wanted in get_type_hints(type(self), include_extras=True).items():
            value: Any = getattr(self, name)
            if isinstance(value, Path | msgspec.Struct):
                continue
            try:
                # An int is a float to every caller and to none of msgspec's strict unions.
                msgspec.convert(float(value) if type(value) is int and "float" in str(wanted) else value, wanted)
            except msgspec.ValidationError as error:
                raise OptionError(
                    wanted=f"{name} within its limits", got=f"{value!r} ({error})", next_step=f"correct {name}"
                ) from error


class ColumnNames(msgspec.Struct, frozen=True):
    """Which column holds what; None: the first of the usual names (`files.USUAL_NAMES`) that the file has."""

    time: str | None = None
    visitor: str | None = None
    session: str | None = None
    position: str | None = None
    item: str | None = None
    event: str | None = None
    quantity: str | None = None
    price: str | None = None
    title: str | None = None
    category: str | None = None
    brand: str | None = None


class ReplayOptions(_Checked, frozen=True, kw_only=True):
    """One replay of one file.

    Attributes:
        speed: "max" (as fast as it is taken) or how many times faster than the file's own clock.
        times: `scaled`: the file's gaps, divided by a numeric speed, moved so that the last event is about now;
            `arrival`: stamped when it arrives; `kept`: the file's own times.
        secret_key: fills the catalogue; sends the events too where `times` is not `arrival`, for history older than
            the allowed lateness needs it.
        kinds: the file's kinds to event names ("skip" leaves a kind out), over the usual ones.
        event_default: the event name of every row where the file has no kinds at all.
        split: only rows whose column `split` has one of these values, joined by "+"; None: all.
        spacing_ms: the gap between rows of a file without times.
        ask_every: ask for suggestions before each so-manieth event and score them against it; 0: never.
        settle_ms: an ask waits until the visitor's last acknowledged event is this old: people click more slowly.
        freshness_every: watch a new visitor of each so-manieth batch until an answer is made of their click; 0: off.
        lanes: visitors are hashed to lanes; a lane sends one batch at a time, which keeps each visitor's order.
        lane_batches_max: batches that wait in one lane before the reader pauses; bounds how far lanes drift apart.
        linger_ms: at a numeric speed, how long an event may wait for others of its lane.
        send_deadline_s: how long a batch is sent again on 429, 503 or a lost connection before the replay gives up.
    """

    file: Path
    api_url: str
    write_key: str
    secret_key: str | None = None
    speed: Seconds | Literal["max"] = "max"
    times: Times = "arrival"
    columns: ColumnNames = ColumnNames()
    kinds: Mapping[str, str] = {}
    event_default: str = "view_item"
    split: str | None = None
    limit: Count | None = None
    time_unit: Literal["ms", "s", "us"] = "ms"
    spacing_ms: Count = 1000
    currency: str | None = None
    catalog: bool = True
    catalog_lines_max: Count = 1000
    ask_every: Annotated[int, msgspec.Meta(ge=0)] = 0
    ask_n: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    placement: str = "home"
    settle_ms: Annotated[int, msgspec.Meta(ge=0)] = 100
    freshness_every: Annotated[int, msgspec.Meta(ge=0)] = 50
    batch_events_max: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    lanes: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    lane_batches_max: Count = 2
    linger_ms: Annotated[int, msgspec.Meta(ge=0)] = 20
    request_timeout_s: Seconds = 10.0
    send_deadline_s: Seconds = 120.0
    progress: bool = True


class LoadOptions(_Checked, frozen=True, kw_only=True):
    """One open-loop run: a fixed rate whatever the answers do.

    Attributes:
        events_per_s: events sent a second, each batch counted by its events.
        recommendations_per_s: asks a second.
        warmup_s: sent at the full rate, left out of the figures.
        source: "shoppers" (simulated) or a file of real events.
        in_flight_max: requests under way at once; a start that finds it full is counted as `dropped`.
        pids: the system's processes; empty: found by the listening port (and `data_dir`).
        seed_events: events sent before the warm-up, so that visitors have histories.
    """

    api_url: str
    write_key: str
    secret_key: str | None = None
    out: Path
    events_per_s: Annotated[float, msgspec.Meta(ge=0)] = 200.0
    recommendations_per_s: Annotated[float, msgspec.Meta(ge=0)] = 200.0
    seconds: Seconds = 30.0
    warmup_s: Annotated[float, msgspec.Meta(ge=0)] = 3.0
    batch_events: Annotated[int, msgspec.Meta(ge=1, le=500)] = 1
    n: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    placement: str = "home"
    source: str = "shoppers"
    columns: ColumnNames = ColumnNames()
    kinds: Mapping[str, str] = {}
    items: Count = 10_000
    visitors: Count = 2_000
    seed_events: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    fill_catalog: bool = True
    seed: int = 7
    connections: Count = 64
    in_flight_max: Count = 2_000
    request_timeout_s: Seconds = 5.0
    pids: tuple[int, ...] = ()
    data_dir: Path | None = None
    plots: bool = True
    title: str = "Load run"


class SaturationOptions(_Checked, frozen=True, kw_only=True):
    """A closed loop: `connections` callers ask as fast as they are answered, for `seconds`."""

    api_url: str
    write_key: str
    out: Path
    seconds: Seconds = 10.0
    warmup_s: Annotated[float, msgspec.Meta(ge=0)] = 2.0
    connections: Count = 16
    n: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    placement: str = "home"
    items: Count = 10_000
    visitors: Count = 2_000
    seed: int = 7
    request_timeout_s: Seconds = 5.0
    pids: tuple[int, ...] = ()
    data_dir: Path | None = None
    title: str = "Saturation run"
