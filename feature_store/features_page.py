"""The page `docs/features.md`, made from the definitions; the module prints it."""

from feature_store.definitions import FEATURES, Feature

_HEAD = """# Features

Made from `feature_store/definitions.py` by `python -m feature_store.features_page`; do not edit by hand.

A consumer names a feature `entity:name`. Windows are placed by event time, ignore the order in which events arrive, and
are counted when they are read, at whatever instant is asked for. Events that came later than the allowed lateness
(`late`) move no window. An item's, a placement's and an event name's records are kept by partition and summed
when read.
"""

_TITLES = {
    "visitor": "Visitor (key: 16 bytes of keyed hash)",
    "item": "Item (key: item id)",
    "placement": "Placement (key: its name; events that carry a `recommendation_id`)",
    "event_name": "Event name (the whole shop)",
}


def features_page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_table(entity, title) for entity, title in _TITLES.items())])


def _table(entity: str, title: str) -> str:
    rows = [_row(feature) for feature in FEATURES if feature.entity == entity]
    head = "| feature | type | unit | default | what | edge of the window |\n|---|---|---|---|---|---|"
    return "\n".join([f"## {title}", "", head, *rows, ""])


def _row(feature: Feature) -> str:
    cells = (
        f"`{feature.full_name}`",
        feature.dtype,
        feature.unit,
        feature.default,
        feature.description,
        feature.edge,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(features_page(), end="")
