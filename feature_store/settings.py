"""Every limit and duration of the room, read once by the composition root: `[feature_store]`."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the online store is talked to."""

    connect_ms_max: Positive = 1_000
    timeout_ms: Positive = 5_000
    """What a worker waits for one answer; readers bring their own deadline."""
    inflight_commands_max: Positive = 10_000
    """Commands sent and not yet answered on one connection; beyond it callers are told the store is unavailable."""
    reconnect_pause_ms: Positive = 100
    """After a failed connection the next tries fail at once for this long, so that no request queues up behind one."""
    records_per_call_max: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 250
    """Records in one compare-and-set call: about 1 ms of the store's only thread, which readers wait for."""
    keys_per_read_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 500
    known_users_max: Positive = 20_000
    """Users whose list of browsers a reader remembers; for another one's browser it asks once more."""
    features_module: str = ""
    """The shop's own features: a module, or the path of a Python file; see docs/custom-features.md."""
    items_max: Annotated[int, msgspec.Meta(ge=1, le=4_000_000_000)] = 5_000_000
    """Items that get an index; later ones are counted, kept nowhere, and never suggested."""
    item_index_gap: Positive = 10_000
    """On a cluster: item numbers left out after the node that gives them restarted, more than it may have forgotten."""


class WorkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the worker holds and how long it waits."""

    batch_events_max: Positive = 5_000
    """The more at a time, the fewer writes for a record; a batch takes about a tenth of a second."""
    batch_lines_max: Positive = 20_000
    """Events and their items in one read and write of the store."""
    receive_wait_ms: Positive = 200
    cache_records_max: Positive = 40_000
    """Records kept in memory between batches, over all partitions; about 1 kB each."""
    item_cache_max: Positive = 1_000_000
    """Item ids whose index is kept in memory."""
    placements_max: Positive = 1_000
    """Placement names that get records of their own; all later ones share "(other)"."""
    conflict_retries_max: Positive = 8
    backoff_ms_min: Positive = 20
    backoff_ms_max: Positive = 2_000
    future_ms_max: NotNegative = 3_600_000
    """An event further ahead of its acceptance is refused: it would push everything else out of the windows."""
    visitor_ttl_ms: Positive = 30 * 86_400_000
    """A visitor of whom nothing comes for this long is forgotten; every event begins it anew."""
    identity_ttl_ms: Positive = 400 * 86_400_000
    """Longer than a visitor's: who comes back often is identified seldom. Every `identify` begins it anew."""
    item_ttl_ms: Positive = 60 * 86_400_000
    """Eight half-lives and a bit: after it nothing is left of what the record held."""
    close_ms_max: Positive = 5_000
    """How long a worker that ends waits for the bus; then its partitions go to others when its lease runs out."""
    store_loss_window_ms: Positive = 60_000
    """How far a store may have fallen back when it is restarted or a replica is promoted."""
    checkpoint_ms: Positive = 1_000
    watch_look_ms: Positive = 5_000
    """How often the stream is looked at for what is out of the ordinary."""
    watch_once_ms: Positive = 3_600_000
    """The same trouble is told at most once in this time."""
    watch_surge_items_max: Positive = 16
    """The most viewed items, which are looked at for a rush."""
    watch_priced_items_max: Positive = 100_000
    """Items whose usual price each worker remembers."""
    catch_up_lease_ms: Positive = 15_000


class ParitySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the online store is held against the archive, and how often."""

    every_ms: Positive = 300_000
    """One partition is looked at each time, in turn."""
    visitors: NotNegative = 32
    items: NotNegative = 16
    """Entities of a sample; with both 0 nothing is checked."""
    lookback_ms: Annotated[int, msgspec.Meta(ge=7_200_000)] = 26 * 3_600_000
    """How far back a check reads the archive: what bounds its cost. Visitors first seen before are not checked, nor are
    features of windows that do not fit into it."""
    settle_ms: Positive = 15_000
    """How long a record may wait for the archive to come to its position; then it is not checked this time."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The room's settings."""

    store: StoreSettings = StoreSettings()
    worker: WorkerSettings = WorkerSettings()
