"""The page `docs/features.md`, made from the definitions; the module prints it."""

from feature_store.definitions import Feature, FeatureView, Registry
from feature_store.registry import REGISTRY

_HEAD = """# Features

Made from the definitions in `feature_store/` by `python -m feature_store.features_page`; do not edit by hand.

A consumer names a feature `entity:name`. Windows are placed by event time, ignore the order in which events arrive, and
are counted when they are read, at whatever instant is asked for. Events that came later than the allowed lateness
(`late`) move no window. The records of all but visitors are kept by partition and summed when read. An item's category
and price are those that the event itself names.
"""


def features_page(registry: Registry = REGISTRY) -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(view, registry) for view in registry.views)])


def _section(view: FeatureView, registry: Registry) -> str:
    entity = registry.entities[view.entity]
    kept_days = view.ttl_ms // 86_400_000
    lines = [
        f"## {view.name}",
        "",
        f"{view.description[0].upper()}{view.description[1:]}. Entity: {entity.name}, {entity.description}; key: "
        f"{entity.key}. From the topic `{view.source}`, kept {kept_days} days after the last event; "
        f"owner: {view.owner}.",
        "",
        "| feature | type | unit | default | what | edge |",
        "|---|---|---|---|---|---|",
        *(_row(feature) for feature in view.features),
        "",
    ]
    return "\n".join(lines)


def _row(feature: Feature) -> str:
    default = "empty" if feature.default == [] else str(feature.default).lower()
    cells = (f"`{feature.full_name}`", feature.dtype, feature.unit or "–", default, feature.description, feature.edge)
    return f"| {' | '.join(str(cell) for cell in cells)} |"


if __name__ == "__main__":
    print(features_page(), end="")
