"""The metadata of features: what an entity, a feature view, a feature and an aggregation are, and their registry."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from feature_store.errors import UnknownFeatureError

Dtype = Literal["int64", "float64", "bool", "string", "int64_list", "float64_list", "string_list"]
Value = int | float | bool | str | None | list[int] | list[float] | list[str]
Function = Literal["count", "sum", "decayed_count", "unique_count", "last", "list", "derived"]


class Entity(msgspec.Struct, frozen=True):
    """What features are of; `key` says what names one of them."""

    name: str
    key: str
    description: str


class Aggregation(msgspec.Struct, frozen=True):
    """How events become the value, as Feast's: over `column`, by `function`, in a window that slides.

    `window_ms`: None for what is no window over time. `slide_ms`: 0 where the window slides with every millisecond.
    """

    column: str
    function: Function
    window_ms: int | None = None
    slide_ms: int = 0


class Feature(msgspec.Struct, frozen=True):
    """One feature, as a consumer names it: `entity:name`.

    `edge`: by how much the window may differ from an exact one. `events`: which events of the topic it is made from.
    """

    name: str
    entity: str
    dtype: Dtype
    unit: str
    aggregation: Aggregation
    edge: str
    default: Value
    owner: str
    description: str
    events: tuple[str, ...]
    tags: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """`entity:name`."""
        return f"{self.entity}:{self.name}"

    @property
    def window_ms(self) -> int | None:
        """The length of its window; None for what is no window over time."""
        return self.aggregation.window_ms


class Calculated(NamedTuple):
    """A feature and how its value is read from a moment of its entity (see `moments`)."""

    feature: Feature
    calculate: Callable[[Any], Value]


class FeatureView(msgspec.Struct, frozen=True):
    """The features that one kind of record holds, how long that is kept, and what topic it is made from.

    `moment`: makes of (records, now_ms, name_of) what the calculations read; see `reading.read_features`.
    """

    name: str
    entity: str
    ttl_ms: int
    source: str
    owner: str
    description: str
    calculated: tuple[Calculated, ...]
    moment: Callable[[Sequence[bytes | None], int, Callable[[int], str]], Any]

    @property
    def features(self) -> tuple[Feature, ...]:
        """Its features, in order."""
        return tuple(calculated.feature for calculated in self.calculated)


class AskedFeature(Protocol):
    """A feature that is computed from others of its entity and from data of the request."""

    @property
    def feature(self) -> Feature:
        """What it is."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Features of the same entity, by their bare names."""

    @property
    def calculate(self) -> Callable[[Mapping[str, Value], Mapping[str, Any]], Value]:
        """Of (values of the inputs by name, data of the request)."""


class Registry:
    """Every entity and view there is; a feature's name leads to its view and its calculation.

    Raises:
        ValueError: two features of one name, or a view of an entity that is not declared.
    """

    def __init__(
        self, entities: Iterable[Entity], views: Iterable[FeatureView], asked: Iterable[AskedFeature] = ()
    ) -> None:
        self.entities: Mapping[str, Entity] = {entity.name: entity for entity in entities}
        self.views = tuple(views)
        self._found: dict[str, tuple[FeatureView, Calculated]] = {}
        for view in self.views:
            if view.entity not in self.entities:
                raise ValueError(f"feature view {view.name}: wanted a declared entity; got {view.entity}; declare it")
            for calculated in view.calculated:
                name = calculated.feature.full_name
                if name in self._found:
                    raise ValueError(f"feature {name}: wanted it declared once; got it twice; rename one of them")
                self._found[name] = (view, calculated)
        self.asked: dict[str, AskedFeature] = {}
        for on_demand in asked:
            name = on_demand.feature.full_name
            if name in self:
                raise ValueError(f"feature {name}: wanted it declared once; got it twice; rename one of them")
            for wanted in on_demand.inputs:
                if f"{on_demand.feature.entity}:{wanted}" not in self._found:
                    raise ValueError(f"feature {name}: wanted inputs that are declared; got {wanted}")
            self.asked[name] = on_demand

    @property
    def features(self) -> tuple[Feature, ...]:
        """Every feature: view by view, then those that are computed on demand."""
        of_views = tuple(feature for view in self.views for feature in view.features)
        return (*of_views, *(on_demand.feature for on_demand in self.asked.values()))

    def __contains__(self, full_name: str) -> bool:
        return full_name in self._found or full_name in self.asked

    def find(self, full_name: str) -> tuple[FeatureView, Calculated]:
        """The view and the calculation of `entity:name`.

        Raises:
            UnknownFeatureError: no such feature is declared; names those that begin alike.
        """
        found = self._found.get(full_name)
        if found is None:
            beginning = full_name[: full_name.find(":") + 4]
            alike = ", ".join([name for name in self._found if name.startswith(beginning)][:5])
            raise UnknownFeatureError(
                f"feature: wanted one that is declared; got {full_name[:96]}; see `afterclick features list`"
                + (f", for example {alike}" if alike else "")
            )
        return found

    def declared(self, full_name: str) -> Feature:
        """The feature `entity:name`, of a view or on demand; raises as `find`."""
        asked = self.asked.get(full_name)
        return asked.feature if asked is not None else self.find(full_name)[1].feature

    def extended(
        self, entities: Iterable[Entity], views: Iterable[FeatureView], asked: Iterable[AskedFeature] = ()
    ) -> "Registry":
        """This registry with more in it; raises as the constructor."""
        more = [*self.asked.values(), *asked]
        return Registry([*self.entities.values(), *entities], [*self.views, *views], more)
