"""Feature values from records at an instant: the one function that serving, training rows and parity checks share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from feature_store.definitions import FeatureView, Registry, Value
from feature_store.registry import REGISTRY


def read_features(
    entity: str,
    records: Sequence[bytes | None],
    names: Sequence[str],
    now_ms: int,
    *,
    name_of: Callable[[int], str],
    registry: Registry = REGISTRY,
    request: Mapping[str, Any] | None = None,
) -> list[Value]:
    """The values of `names`, in order, as they are at `now_ms`; a pure function of its arguments.

    Args:
        entity: whose features these are.
        records: as stored: of a visitor that of each browser, of anything else those of all partitions; None where
            there is none, which leaves every feature at its default.
        names: features of `entity`, with it in front ("visitor:view_1h") or without ("view_1h").
        now_ms: the instant. Records should hold no event after it: what is counted in buckets may tell of them.
        name_of: item id, or name of a category, by its number.
        registry: which features there are.
        request: what on-demand features are computed from, besides others of the entity.

    Raises:
        UnknownFeatureError: one is not declared.
        RecordFormatError: a record of a version or layout that this release does not read.
    """
    prefix = entity + ":"
    moments: dict[str, Any] = {}

    def value_of(name: str) -> Value:
        full_name = name if name.startswith(prefix) else prefix + name
        asked = registry.asked.get(full_name)
        if asked is not None:
            return asked.calculate({wanted: value_of(wanted) for wanted in asked.inputs}, request or {})
        view, calculated = registry.find(full_name)
        moment = moments.get(view.name)
        if moment is None:
            moment = moments[view.name] = view.moment(records, now_ms, name_of)
        return calculated.calculate(moment)

    return [value_of(name) for name in names]


def read_view(
    view: FeatureView, records: Sequence[bytes | None], now_ms: int, *, name_of: Callable[[int], str]
) -> dict[str, Value]:
    """Every feature of `view` by its name; otherwise as `read_features`."""
    moment = view.moment(records, now_ms, name_of)
    return {calculated.feature.name: calculated.calculate(moment) for calculated in view.calculated}
