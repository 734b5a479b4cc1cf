"""A shop's own features, loaded from its file and joined to the built-in ones."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from feature_store.custom import WINDOWS, CountedView, OnDemand
from feature_store.definitions import Aggregation, Calculated, Entity, Feature, FeatureView, Registry
from feature_store.errors import PluginError
from feature_store.layouts import DAY_MS, DECAYED, HALF_LIFE_MS
from feature_store.moments import BucketsMoment
from feature_store.registry import REGISTRY

_TTL_MS = 60 * DAY_MS


class Plugin(NamedTuple):
    """What a shop declared: what the worker counts for it, and the registry with everything in it."""

    counted: tuple[CountedView, ...]
    registry: Registry


@lru_cache(maxsize=8)
def load_plugin(name: str) -> Plugin:
    """The shop's features: `name` is a module, or the path of a file that ends in `.py`; empty for none.

    Raises:
        PluginError: it cannot be loaded, or declares what cannot be; says what.
    """
    if not name:
        return Plugin((), REGISTRY)
    module = _imported(name)
    declared = getattr(module, "FEATURES", None)
    if not isinstance(declared, list | tuple):
        raise PluginError(f"{name}: wanted a list FEATURES; got {type(declared).__name__}; see docs/custom-features.md")
    try:
        return _joined(name, declared)
    except ValueError as error:
        raise PluginError(f"{name}: {error}") from error


def _imported(name: str) -> ModuleType:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        spec = importlib.util.spec_from_file_location(Path(name).stem, name)
        if spec is None or spec.loader is None:
            raise PluginError(f"features_module: wanted a Python file; got {name}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module
    except PluginError:
        raise
    except Exception as error:  # the shop's code may fail in any way, and the start must say where
        raise PluginError(
            f"features_module: wanted to load {name}; got {type(error).__name__}: {error}; mend it or clear the setting"
        ) from error


def _joined(name: str, declared: Sequence[object]) -> Plugin:
    counted = [part for part in declared if isinstance(part, CountedView)]
    calculated = [part for part in declared if isinstance(part, Calculated)]
    asked = [part for part in declared if isinstance(part, OnDemand)]
    if len(counted) + len(calculated) + len(asked) != len(declared):
        raise ValueError("wanted only CountedView, computed(...) and on_demand(...) in FEATURES; got something else")
    entities = [Entity(view.name, "what `key` gives", view.description) for view in counted]
    base = REGISTRY.extended(entities, [_counted_view(view) for view in counted])
    views = [_computed_view(name, base, entity, calculated) for entity in dict.fromkeys(_entity(c) for c in calculated)]
    return Plugin(tuple(counted), base.extended([], views, asked))


def _entity(calculated: Calculated) -> str:
    return calculated.feature.entity


def _computed_view(name: str, base: Registry, entity: str, calculated: Sequence[Calculated]) -> FeatureView:
    of_entity = next((view for view in base.views if view.entity == entity), None)
    if of_entity is None:
        raise ValueError(f"wanted features of a declared entity; got {entity}")
    return FeatureView(
        f"{Path(name).stem}_{entity}",
        entity,
        of_entity.ttl_ms,
        of_entity.source,
        calculated[0].feature.owner,
        f"computed by {Path(name).stem} from the state of the {entity}",
        tuple(part for part in calculated if part.feature.entity == entity),
        of_entity.moment,
    )


def _counted_view(view: CountedView) -> FeatureView:
    calculated = [
        _count(view, metric, event, window) for metric, event in view.counts.items() for window in view.windows
    ]
    calculated += [_decayed(view, metric, event) for metric, event in view.counts.items()]
    moment = partial(_moment_of, view)
    return FeatureView(view.name, view.name, _TTL_MS, "events", view.owner, view.description, tuple(calculated), moment)


def _moment_of(view: CountedView, records: Sequence[bytes | None], now_ms: int, _: object) -> BucketsMoment:
    return BucketsMoment(view.layout, records, now_ms)


def _count(view: CountedView, metric: str, event: str, window: str) -> Calculated:
    resolution, window_ms = WINDOWS[window]
    bucket_ms = view.layout.resolutions[resolution].bucket_ms
    feature = Feature(
        f"{metric}_{window}",
        view.name,
        "int64",
        "events",
        Aggregation("event", "count", window_ms, bucket_ms),
        f"never less; more by what lies in at most {bucket_ms // 1000} s before",
        0,
        view.owner,
        f"`{event}` events of the {view.name} in the last {window}",
        (event,),
        ("custom",),
    )
    return Calculated(feature, partial(_count_of, metric=metric, resolution=resolution, window_ms=window_ms))


def _decayed(view: CountedView, metric: str, event: str) -> Calculated:
    feature = Feature(
        f"{metric}_decayed",
        view.name,
        "float64",
        "events",
        Aggregation("event", "decayed_count", HALF_LIFE_MS),
        "each event's weight to 0.05 %; events older than 7 half-lives may be left out",
        0.0,
        view.owner,
        f"`{event}` events of the {view.name}, each weighing half as much after every 7 days",
        (event,),
        ("custom",),
    )
    return Calculated(feature, partial(_decayed_of, metric=metric))


def _count_of(moment: BucketsMoment, metric: str, resolution: int, window_ms: int) -> int:
    return moment.count(metric, resolution, window_ms)


def _decayed_of(moment: BucketsMoment, metric: str) -> float:
    return moment.decayed(metric, DECAYED)
