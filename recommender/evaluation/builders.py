"""Train each model by its name, as the evaluation and the benchmarks compare them."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from recommender.blend import Blend, BlendParameters
from recommender.errors import EvaluationInputError, RankerUnavailableError
from recommender.models.attention import AttentionParameters
from recommender.models.attention_training import attention_of
from recommender.models.bought_together import BoughtTogether
from recommender.models.ials import Ials, IalsParameters, fit_ials, session_matrix
from recommender.models.own_session import OwnSession
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Model
from recommender.models.session_knn import SessionKnn, SessionKnnParameters
from recommender.models.transitions import TransitionParameters, Transitions
from recommender.models.trends import Trends
from recommender.ranker.model import RankedModels, Ranker
from recommender.ranker.training import RankerParameters, fit_ranker
from recommender.ranker.trees import default_trees

_log = structlog.get_logger(__name__)


class ModelParameters(msgspec.Struct, frozen=True):
    """Every model's settings, as the report writes them down."""

    ials: IalsParameters = IalsParameters()
    session_knn: SessionKnnParameters = SessionKnnParameters()
    transitions: TransitionParameters = TransitionParameters()
    blend: BlendParameters = BlendParameters()
    attention: AttentionParameters = AttentionParameters()
    ranker: RankerParameters = RankerParameters()
    ranker_attention: bool = True


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


def ranked_models(events: Events, items: int, parameters: ModelParameters, threads: int = 0) -> RankedModels:
    """What a ranker ranks the lists of, after learning `events`; arguments as in `train`."""
    popularity, knn, transitions, ials = (
        Popularity(),
        SessionKnn(parameters.session_knn),
        Transitions(parameters.transitions),
        _ials(events, items, parameters, threads),
    )
    for model in (popularity, knn, transitions):
        model.update_many(events)
    own = OwnSession(with_current=parameters.transitions.keep_repeats)
    attention = attention_of(events, items, parameters.attention) if parameters.ranker_attention else None
    return RankedModels(popularity, knn, transitions, ials, own, attention)


def used_parameters(name: str, parameters: ModelParameters) -> dict[str, Any]:
    """What of `parameters` the model `name` uses, as plain values."""
    parts = {"ials": "ials", "session-knn": "session_knn", "transitions": "transitions", "attention": "attention"}
    if name in ("blend", "ranker", "ranker-shipped"):
        used: dict[str, Any] = msgspec.to_builtins(parameters)
        return used
    return {name: msgspec.to_builtins(getattr(parameters, parts[name]))} if name in parts else {}


def _attention(events: Events, items: int, parameters: ModelParameters, _threads: int) -> Model:
    return attention_of(events, items, parameters.attention)


def _ranker(events: Events, items: int, parameters: ModelParameters, threads: int) -> Model:
    def build(past: Events) -> RankedModels:
        return ranked_models(past, items, parameters, threads)

    keep_repeats = parameters.transitions.keep_repeats
    try:
        trees = fit_ranker(events, build, parameters.ranker, items=items, keep_repeats=keep_repeats)
    except RankerUnavailableError as error:
        _log.warning("ranking by the shipped trees", reason=str(error))
        trees = default_trees()
    return Ranker(build(events), trees)


def _shipped_ranker(events: Events, items: int, parameters: ModelParameters, threads: int) -> Model:
    return Ranker(ranked_models(events, items, parameters, threads), default_trees())


def _popularity(events: Events, _items: int, _parameters: ModelParameters, _threads: int) -> Model:
    model = Popularity()
    model.update_many(events)
    return model


def _trends(events: Events, _items: int, _parameters: ModelParameters, _threads: int) -> Model:
    model = Trends()
    model.update_many(events)
    return model


def _bought_together(events: Events, _items: int, _parameters: ModelParameters, _threads: int) -> Model:
    model = BoughtTogether()
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


def _ials(events: Events, items: int, parameters: ModelParameters, threads: int) -> Ials:
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
    "trends": _trends,
    "bought-together": _bought_together,
    "transitions": _transitions,
    "session-knn": _session_knn,
    "ials": _ials,
    "own-session": _own_session,
    "attention": _attention,
    "blend": _blend,
    "ranker": _ranker,
    "ranker-shipped": _shipped_ranker,
}

MODEL_NAMES = tuple(_BUILDERS)
"""What `evaluate --model` takes."""
