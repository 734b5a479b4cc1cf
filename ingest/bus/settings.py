"""The bus's limits and deadlines; one struct for both adapters."""

from typing import Annotated

import msgspec

_Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=600_000)]


class BusSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every limit of the bus.

    Attributes:
        send_deadline_ms: a publish that is not durable by then gets `BusUnavailableError` as its verdict.
        pack_entries_max, pack_bytes_max: a pack is closed at either; a record larger than the latter is refused.
        pending_packs_max: packs on their way to the broker; a publish beyond it waits, within the send deadline.
        receive_packs_max: packs a subscription fetches ahead, per partition.
        ack_interval_ms: acknowledgements are gathered for so long; a crash in between repeats them.
        lease_ms: embedded: a consumer that does not renew within it loses its partitions.
        bytes_max: embedded: beyond it the oldest that may go is trimmed, else publishes get `BusFullError`.
        admin_timeout_ms: Pulsar: one call to the admin API.
        compaction_bytes: Pulsar: a table topic is compacted when so much has gathered.
    """

    send_deadline_ms: _Milliseconds = 3_000
    pack_entries_max: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1_000
    pack_bytes_max: Annotated[int, msgspec.Meta(ge=1_024, le=4_194_304)] = 1_048_576
    pending_packs_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    receive_packs_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 128
    ack_interval_ms: _Milliseconds = 100
    lease_ms: Annotated[int, msgspec.Meta(ge=200, le=600_000)] = 3_000
    bytes_max: Annotated[int, msgspec.Meta(ge=1_048_576)] = 201_326_592
    admin_timeout_ms: _Milliseconds = 10_000
    compaction_bytes: Annotated[int, msgspec.Meta(ge=1_024)] = 4_194_304
