"""Matrix factorization that learns every click: between refits, touched and new items are solved as they are touched.

What an item is defined against: the vectors of its newest sessions, each folded in from its own items in the present
basis, and the Gram matrix of all sessions held. A click refolds one session and solves its newest items; a new item
has a row from its first click and a vector as soon as one of its sessions holds an item that has one.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from recommender.incremental_kernels import item_pairs, learn, record_many, settle
from recommender.models.ials import Fit, Ials, IalsParameters, fit_ials, session_matrix
from recommender.models.protocol import KIND_WEIGHT, Events, Rows, State, grown, plain_events
from recommender.models.session_ring import NO_SESSION


class IncrementalLimits(msgspec.Struct, frozen=True):
    """Settings.

    Attributes:
        sessions_max: newest sessions held; an older one no longer defines any item.
        items_max: newest distinct items of a session.
        pairs_max: newest sessions that define an item; where more had it, each stands for several.
        steps: of conjugate gradient in each solve, which begins where the vector stands.
        rare_max: an item that so many sessions define, or fewer, is solved whenever one of them moves.
        sweep: further items solved per event, round and round the catalogue.
    """

    sessions_max: int = 65_536
    items_max: int = 30
    pairs_max: int = 64
    steps: int = 4
    rare_max: int = 32
    sweep: int = 2


class LearningIals(Ials):
    """iALS that learns event by event; `changed_rows` says what a replica must be told."""

    def __init__(
        self,
        parameters: IalsParameters | None = None,
        vectors: NDArray[np.float32] | None = None,
        *,
        limits: IncrementalLimits | None = None,
    ) -> None:
        super().__init__(parameters, vectors)
        self.limits = limits if limits is not None else IncrementalLimits()
        sessions, size = self.limits.sessions_max, self.parameters.factors
        self._numbers = np.full(sessions, NO_SESSION, np.int64)
        self._lengths = np.zeros(sessions, np.int32)
        self._rows = np.zeros((sessions, self.limits.items_max), np.int32)
        self._weights = np.zeros((sessions, self.limits.items_max), np.float32)
        self._session_vectors = np.zeros((sessions, size), np.float32)
        self._pair_sessions = np.zeros((0, self.limits.pairs_max), np.int64)
        self._pair_weights = np.zeros((0, self.limits.pairs_max), np.float32)
        self._pair_counts = np.zeros(0, np.int64)
        self._frequencies = np.zeros(0, np.int32)
        self._changed = np.zeros(0, np.bool_)
        self._counters = np.zeros(2, np.int64)
        self._sum_sessions()
        self._reserve(len(self.factors))

    @classmethod
    def fitted(
        cls,
        events: Events,
        *,
        items: int,
        parameters: IalsParameters | None = None,
        limits: IncrementalLimits | None = None,
        start: NDArray[np.float32] | None = None,
        threads: int = 0,
    ) -> "LearningIals":
        """A refit on `events`, ready to go on learning after them.

        Args:
            events: in order, session numbers growing; not modified.
            items: how many rows there are.
            parameters, limits: of the model.
            start: shape (n, f), factors to begin the fit with; rows beyond n begin at zero.
            threads: of the fit.
        """
        parameters = parameters if parameters is not None else IalsParameters()
        begin = None
        if start is not None:
            begin = np.zeros((items, parameters.factors), np.float32)
            begin[: len(start)] = start[:items]
        fit = fit_ials(session_matrix(events, items=items), parameters, threads=threads, start=begin)
        model = cls(parameters, fit.item_vectors, limits=limits)
        model.adopt(fit, events)
        return model

    def adopt(self, fit: Fit, events: Events) -> None:
        """Hold the sessions that `fit` was made of (its rows are the sorted session numbers), newest kept."""
        events = plain_events(events)
        self._reserve(int(events.rows.max(initial=-1)) + 1)
        numbers = np.unique(events.sessions)
        record_many(
            *(self._numbers, self._lengths, self._rows, self._weights, self._session_vectors),
            *(self._session_gram, self._session_delta, self._pair_sessions, self._pair_weights, self._pair_counts),
            *(self._frequencies, events.sessions, events.rows, KIND_WEIGHT[events.kinds]),
        )
        kept = numbers[-self.limits.sessions_max :]
        slots = kept % self.limits.sessions_max
        self._session_vectors[slots] = fit.session_vectors[-len(kept) :]
        self._sum_sessions()

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Learn one event."""
        self.update_many(
            Events(
                np.array([session], np.int64),
                np.array([row], np.int32),
                np.array([kind], np.uint8),
                np.array([time_ms], np.int64),
            )
        )

    def update_many(self, events: Events, /) -> None:
        """Learn many; one call costs less than many calls, and means the same."""
        if len(events.rows) == 0:
            return
        events = plain_events(events)
        self._reserve(int(events.rows.max()) + 1)
        factors, limits = self.factors, self.limits
        learn(
            *(self._numbers, self._lengths, self._rows, self._weights),
            *(self._session_vectors, self._session_wide, self._session_gram, self._session_delta),
            *(factors.vectors, factors.wide_gram, factors.gram, self._item_delta),
            *(self._pair_sessions, self._pair_weights, self._pair_counts, self._frequencies, self._changed),
            *(self._counters, events.sessions, events.rows, KIND_WEIGHT[events.kinds]),
            *(np.float32(self.parameters.alpha or 0.0), limits.steps, limits.rare_max, limits.sweep, len(factors)),
        )

    def changed_rows(self) -> Rows:
        """The rows whose vectors moved since this was last asked."""
        rows = np.flatnonzero(self._changed).astype(np.int32)
        self._changed[rows] = False
        return rows

    def exact_vector(self, row: int) -> NDArray[np.float64]:
        """Shape (f,): the exact solve of what defines `row` now, in float64; zeros when no held session had it."""
        slots, curvature, target = item_pairs(
            *(self._numbers, self._pair_sessions, self._pair_weights, self._pair_counts, self._frequencies),
            *(row, np.float32(self.parameters.alpha or 0.0)),
        )
        wide = self._session_vectors.astype(np.float64)
        gram = wide.T @ wide + self.parameters.regularization * np.eye(wide.shape[1])
        seen = wide[slots]
        left = gram + seen.T @ (curvature[:, None].astype(np.float64) * seen)
        return np.linalg.solve(left, seen.T @ target.astype(np.float64))

    def set_block(self, block: State) -> None:
        """Take over another's vectors; what defines them here stays."""
        settle(self.factors.wide_gram, self.factors.gram, self._item_delta)
        super().set_block(block)

    def state(self) -> dict[str, NDArray[Any]]:
        """Vectors, sessions and what defines each item."""
        used = np.flatnonzero(self._numbers != NO_SESSION)
        items = len(self.factors)
        return {
            "vectors": self.factors.live.copy(),
            "session_numbers": self._numbers[used],
            "session_lengths": self._lengths[used],
            "session_rows": self._rows[used],
            "session_weights": self._weights[used],
            "session_vectors": self._session_vectors[used],
            "pair_sessions": self._pair_sessions[:items].copy(),
            "pair_weights": self._pair_weights[:items].copy(),
            "pair_counts": self._pair_counts[:items].copy(),
            "counters": self._counters.copy(),
        }

    def load(self, state: State, /) -> None:
        """Take over a `state()` made under the same limits."""
        self.__init__(self.parameters, np.array(state["vectors"], np.float32), limits=self.limits)  # type: ignore[misc]
        slots = state["session_numbers"] % self.limits.sessions_max
        self._numbers[slots] = state["session_numbers"]
        self._lengths[slots] = state["session_lengths"]
        self._rows[slots] = state["session_rows"]
        self._weights[slots] = state["session_weights"]
        self._session_vectors[slots] = state["session_vectors"]
        items = len(self.factors)
        self._pair_sessions[:items] = state["pair_sessions"]
        self._pair_weights[:items] = state["pair_weights"]
        self._pair_counts[:items] = state["pair_counts"]
        self._counters[:] = state["counters"]
        held = np.arange(self.limits.items_max) < self._lengths[:, None]
        self._frequencies[:items] = np.bincount(self._rows[held], minlength=items)[:items]
        self._sum_sessions()

    def _sum_sessions(self) -> None:
        # Its whole size would be taken twice over in float64; the slots in use are enough.
        wide = self._session_vectors[self._numbers != NO_SESSION].astype(np.float64)
        self._session_wide = wide.T @ wide + self.parameters.regularization * np.eye(wide.shape[1])
        self._session_gram = self._session_wide.astype(np.float32)
        self._session_delta = np.zeros_like(self._session_gram)
        self._item_delta = np.zeros_like(self._session_gram)

    def _reserve(self, items: int) -> None:
        self.factors.reserve(items)
        self._pair_sessions = grown(self._pair_sessions, items)
        self._pair_weights = grown(self._pair_weights, items)
        self._pair_counts = grown(self._pair_counts, items)
        self._frequencies = grown(self._frequencies, items)
        self._changed = grown(self._changed, items)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this model."""
    limits = IncrementalLimits(sessions_max=2, items_max=2, pairs_max=2)
    model = LearningIals(IalsParameters(factors=2), limits=limits)
    one = np.ones(1, np.int32)
    events = Events(one.astype(np.int64), one, one.astype(np.uint8), one.astype(np.int64))
    model.update_many(events)
    model.adopt(Fit(np.zeros((2, 2), np.float32), np.zeros((1, 2), np.float32)), events)
    model.exact_vector(0)
    model.set_block(model.block(np.zeros(1, np.int32)))
