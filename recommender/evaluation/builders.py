"""Train each model by its name, as the evaluation and the benchmarks compare them."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from recommender.blend import Blend, BlendParameters
from recommender.errors import EvaluationInputError
from recommender.models.ials import Ials, IalsParameters, fit_ials, session_matrix
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Model
from recommender.models.session_knn import SessionKnn, SessionKnnParameters
from recommender.models.transitions import TransitionParameters, Transitions


class ModelParameters(msgspec.Struct, frozen=True):
    """Every model's settings, as the report writes them down."""

    ials: IalsParameters = IalsParameters()
    session_knn: SessionKnnParameters = SessionKnnParameters()
    transitions: TransitionParameters = TransitionParameters()
    blend: BlendParameters = BlendParameters()


def train(name: str, events: Events, *, items: int, parameters: ModelParameters, threads: int = 0) -> Model:
    """The model `name` after learning `events`.

    Args:
        name: one of `MODEL_NAMES`.
        events: in order; not modified.
        items: how many rows there are.
        parameters: of every model; the ones `name` is not made of are ignored.
        threads: of the fit; 0: one per core.

    Raises:
        EvaluationInputError: nobody knows `name`.
    """
    builder = _BUILDERS.get(name)
    if builder is None:
        raise EvaluationInputError(
            wanted=f"a model named {', '.join(MODEL_NAMES)}", got=repr(name), next_step="name one of those"
        )
    return builder(events, items, parameters, threads)


def used_parameters(name: str, parameters: ModelParameters) -> dict[str, Any]:
    """What of `parameters` the model `name` uses, as plain values."""
    parts = {"ials": "ials", "session-knn": "session_knn", "transitions": "transitions"}
    if name == "blend":
        used: dict[str, Any] = msgspec.to_builtins(parameters)
        return used
    return {name: msgspec.to_builtins(getattr(parameters, parts[name]))} if name in parts else {}


def _popularity(events: Events, _items: int, _parameters: ModelParameters, _threads: int) -> Model:
    model = Popularity()
    model.update_many(events)
    return model


def _transitions(events: Events, _items: int, parameters: ModelParameters, _threads: int) -> Model:
    model = Transitions(parameters.transitions)
    model.update_many(events)
    return model


def _session_knn(events: Events, _items: int, parameters: ModelParameters, _threads: int) -> Model:
    model = SessionKnn(parameters.session_knn)
    model.update_many(events)
    return model


def _ials(events: Events, items: int, parameters: ModelParameters, threads: int) -> Model:
    fit = fit_ials(session_matrix(events, items=items), parameters.ials, threads=threads)
    return Ials(parameters.ials, fit.item_vectors)


def _own_session(_events: Events, _items: int, parameters: ModelParameters, _threads: int) -> Model:
    return OwnSession(with_current=parameters.transitions.keep_repeats)


def _blend(events: Events, items: int, parameters: ModelParameters, threads: int) -> Model:
    wanted = [name for name in _BUILDERS if any(parameters.blend.weights.get(name, ()))]
    models = [_BUILDERS[name](events, items, parameters, threads) for name in wanted]
    return Blend(models, parameters.blend)


_BUILDERS: Mapping[str, Callable[[Events, int, ModelParameters, int], Model]] = {
    "popularity": _popularity,
    "transitions": _transitions,
    "session-knn": _session_knn,
    "ials": _ials,
    "own-session": _own_session,
    "blend": _blend,
}

MODEL_NAMES = tuple(_BUILDERS)
"""What `evaluate --model` takes."""
