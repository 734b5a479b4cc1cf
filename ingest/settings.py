"""Every limit and duration of the room, read once by the composition root: `[collector]`, `[dedup]`, `[archive]`."""

from typing import Annotated, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]


class CollectorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the collector takes and how long it holds on."""

    body_bytes_max: Positive = 500_000
    event_bytes_max: Positive = 32_768
    batch_events_max: Positive = 1_000
    future_ms_max: Annotated[int, msgspec.Meta(ge=0)] = 300_000
    """A clock may run ahead by this much; such an event counts as of now. Beyond it, it is rejected."""
    lateness_ms_max: Positive | Literal["unlimited"] = 86_400_000
    """Without the secret key, older events are rejected; with it they pass, marked `late`. A day covers a browser that
    was closed with events in its queue and opened again the next evening."""
    pending_records_max: Positive = 20_000
    """Records waiting for the bus, over all requests; beyond it a request is answered 503."""
    publish_records_max: Positive = 5_000
    """Records in one publish."""
    accept_ms_max: Positive = 5_000
    """How long a request waits for the bus before it is answered 503."""
    retry_after_s: Positive = 5
    rejected_bytes_max: Positive = 32_768
    """What one entry of `events-rejected` keeps of the event; of a larger one only its names."""


class DedupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far apart two occurrences of a `message_id` still are one event."""

    window_ms: Positive = 3_600_000
    ids_max: Positive = 1_000_000
    """Entries of one partition looked back over; 40 bytes each while they are remembered."""
    clock_slack_ms: Annotated[int, msgspec.Meta(ge=0)] = 60_000
    """By how much the times of acceptance of one partition may disagree with their order (several collectors)."""


class ArchiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the archive lies, and when it writes."""

    url: str = ""
    """A folder, or `s3://bucket/prefix`, `gs://…`, `az://…`; "": `archive/events` in the data folder."""
    options: dict[str, str] = {}
    """Of the object store (`aws_endpoint_url`, `aws_region`, …); keys are better given by the environment."""
    flush_ms: Positive = 5_000
    flush_entries: Positive = 20_000
    """Entries held in memory, repeats included, over all partitions, before they are written: about 1.5 kB each."""
    lock_wait_ms: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """How long a starting archive waits for another one on the same folder to go."""
    compact_every_ms: Positive = 60_000
    """How often small files are looked through for what may go into the lake."""
    compact_wait_ms: Annotated[int, msgspec.Meta(ge=0)] = 3_600_000
    """How long an event may lie in a small file, at most; those of an hour that is over go sooner."""
    compact_bytes: Positive = 32 * 1_048_576
    """Small files of one partition and hour that come to this much go into the lake at once; bounds a merge."""
    keep_small_ms: Positive = 600_000
    """How long small files stay after the lake has their events: for readers that had listed them."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The room's settings."""

    collector: CollectorSettings = CollectorSettings()
    dedup: DedupSettings = DedupSettings()
    archive: ArchiveSettings = ArchiveSettings()
