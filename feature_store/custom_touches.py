"""What events change in the records of a shop's own counted views."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Counter

from feature_store import keys
from feature_store.custom import CountedView
from feature_store.touch_gathering import Gathering, PlacedEvent, Touched, places_of
from ingest.events import Event, Item

_FAILURES = Counter(
    "afterclick_feature_store_custom_failures_total", "Lines that a counted view's key function failed on", ["view"]
)
_KEY_CHARACTERS_MAX = 128


class CustomTouch(NamedTuple):
    """A line of an event that a view counts: for which key, as the list of names has it, and as which metric."""

    view: int
    place: int
    name: str
    metric: int


def custom_touches(placed: Sequence[PlacedEvent], views: Sequence[CountedView]) -> list[CustomTouch]:
    """What `views` count of the events. A key function that fails is counted, and its line with nobody."""
    found = []
    for view_number, view in enumerate(views):
        counts = list(view.counts.values())
        for place, (event, _, _) in enumerate(placed):
            if event.event not in counts:
                continue
            for item in event.items:
                key = _key_of(view, event, item)
                if key:
                    name = keys.custom_name(view.name, key)
                    found += [
                        CustomTouch(view_number, place, name, metric)
                        for metric, counted in enumerate(counts)
                        if counted == event.event
                    ]
    return found


def gather_custom(
    placed: Sequence[PlacedEvent],
    touches: Sequence[CustomTouch],
    views: Sequence[CountedView],
    *,
    number_of: Mapping[str, int],
) -> list[Touched]:
    """The touches as the kernels take them; `number_of` each name, 0 for one that is kept nowhere."""
    if not touches:
        return []
    gathered = [Gathering(view.family, 3) for view in views]
    for view, place, name, metric in touches:
        number = number_of[name]
        if number:
            partition = placed[place].partition
            row = gathered[view].row(partition << 32 | number, partition, keys.custom_key, partition, number)
            gathered[view].flat += (row, place, metric)
    places = places_of(placed)
    return [gathering.touched(places) for gathering in gathered if gathering.flat]


def _key_of(view: CountedView, event: Event, item: Item) -> str | None:
    try:
        key = view.key(event, item)
    except Exception:  # the shop's code: one line must not stop the partition, and a replay skips the same
        _FAILURES.labels(view.name).inc()
        return None
    return None if key is None else str(key)[:_KEY_CHARACTERS_MAX]
