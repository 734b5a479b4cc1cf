"""Which of the events read may move the windows, and what is said of those that may not."""

from typing import NamedTuple

from prometheus_client import Counter

from feature_store.errors import EventRefusedError
from feature_store.event_touches import check_event
from feature_store.touch_gathering import PlacedEvent
from ingest.bus.contract import Entry
from ingest.dedup import Deduplicated

LATE = Counter("afterclick_feature_store_late_events_total", "Events older than the allowed lateness: no window moves")


class Refusal(NamedTuple):
    """An entry of the log that no record can take, and why."""

    entry: Entry
    partition: int
    error: EventRefusedError


class Applicable(NamedTuple):
    """What a delivery comes to: events to apply, in log order, entries to refuse, and how many were late."""

    placed: list[PlacedEvent]
    refused: list[Refusal]
    late_count: int


def applicable_events(survivors: Deduplicated, *, future_ms_max: int) -> Applicable:
    """Sort the entries of one delivery. Late ones are those that the collector marked, so that every replay agrees."""
    partition = survivors.delivery.partition
    refused = [Refusal(entry, partition, _no_event(reason)) for entry, reason in survivors.broken]
    placed: list[PlacedEvent] = []
    late_count = 0
    for entry, event in zip(survivors.entries, survivors.events, strict=True):
        if event.late:
            late_count += 1
            continue
        try:
            check_event(event, future_ms_max=future_ms_max)
        except EventRefusedError as error:
            refused.append(Refusal(entry, partition, error))
        else:
            placed.append(PlacedEvent(event, partition, entry.position))
    return Applicable(placed, refused, late_count)


def _no_event(reason: str) -> EventRefusedError:
    return EventRefusedError(
        "not-an-event",
        wanted="an event as the collector publishes it",
        got=reason,
        next_step="publish through the collector, or mend the entry and send it there",
    )
