"""Matrix factorization for clicks (iALS): `implicit` trains the item factors, our fold-in answers with them."""

from typing import Any

import msgspec
import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from recommender.fold_in import STEPS_DEFAULT, FoldInSettings, Vector, fold_in_prefix
from recommender.models.protocol import (
    EMPTY,
    KIND_WEIGHT,
    NOTHING_BLOCKED,
    Blocked,
    Events,
    Prefix,
    Rows,
    Scored,
    State,
    grown,
    plain,
)
from recommender.scan import best_by_product


class IalsParameters(msgspec.Struct, frozen=True):
    """Settings, tuned on the validation parts of several public sets.

    Attributes:
        factors: length of a vector.
        alpha: confidence per unit of weight; None: by the size of the catalogue, see `for_catalogue`.
        regularization: of both sides.
        iterations: of a fit.
        decay: of an event's weight per step back when a visitor is folded in.
        steps: of conjugate gradient in a fold-in.
        last: how many of the newest events are folded in.
        seed: of the factors a fit begins with.
    """

    factors: int = 128
    alpha: float | None = None
    regularization: float = 50.0
    iterations: int = 8
    decay: float = 1.0
    steps: int = STEPS_DEFAULT
    last: int = 15
    seed: int = 7


def for_catalogue(parameters: IalsParameters, items: int) -> IalsParameters:
    """`parameters` with alpha set: a twentieth of the number of items, between 100 and 1000.

    Searched apart, 3,000 items wanted 100 and 18,000 items 1000; between them nothing gives a jump a reason.
    """
    if parameters.alpha is not None:
        return parameters
    return msgspec.structs.replace(parameters, alpha=min(1000.0, max(100.0, items / 20)))


class Fit(msgspec.Struct, frozen=True):
    """What a fit gives: shape (n_items, f) and (n_sessions, f), float32."""

    item_vectors: NDArray[np.float32]
    session_vectors: NDArray[np.float32]


def session_matrix(events: Events, *, items: int) -> csr_matrix:
    """Sessions × items: the largest weight a session gave an item. Row `s` is the `s`-th smallest session number."""
    weights = KIND_WEIGHT[events.kinds]
    kept = weights > 0
    numbers, session = np.unique(events.sessions, return_inverse=True)
    order = np.lexsort((weights[kept], events.rows[kept], session[kept]))
    cells = np.stack([session[kept][order], events.rows[kept][order]])
    # Sorted by weight last, so the last of equal cells is the largest.
    last = np.append(np.any(cells[:, 1:] != cells[:, :-1], axis=0), True) if cells.size else np.zeros(0, bool)
    matrix = csr_matrix((weights[kept][order][last], (cells[0, last], cells[1, last])), shape=(len(numbers), items))
    matrix.sort_indices()
    return matrix


def fit_ials(
    matrix: csr_matrix,
    parameters: IalsParameters,
    *,
    threads: int = 0,
    start: NDArray[np.float32] | None = None,
) -> Fit:
    """Train; the same input and parameters give the same factors, whatever `threads`.

    Args:
        matrix: sessions × items, weights > 0, from `session_matrix`; not modified.
        parameters: of the model.
        threads: that share out the rows; 0: one per core. BLAS gets one, for its sums depend on how many there are.
        start: shape (n_items, f), item factors to begin with instead of random ones; not modified.
    """
    items = matrix.shape[1]
    parameters = for_catalogue(parameters, items)
    if matrix.nnz == 0:
        shape = (matrix.shape[0], parameters.factors)
        return Fit(np.zeros((items, parameters.factors), np.float32), np.zeros(shape, np.float32))
    # `implicit` takes the stored value for the whole confidence, and ours is 1 + alpha * weight.
    confidence = matrix.copy()
    confidence.data = (1.0 + _alpha(parameters) * confidence.data).astype(np.float32)
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=parameters.factors,
            regularization=parameters.regularization,
            alpha=1.0,
            iterations=parameters.iterations,
            num_threads=threads,
            random_state=parameters.seed,
        )
        if start is not None:
            random = np.random.default_rng(parameters.seed)
            model.user_factors = (random.random((matrix.shape[0], parameters.factors), np.float32) - 0.5) * 0.01
            model.item_factors = start.astype(np.float32, copy=True)
        model.fit(confidence, show_progress=False)
    return Fit(np.array(model.item_factors), np.array(model.user_factors))


class ItemFactors:
    """Item vectors with their Gram matrix, kept together under changes of single rows.

    Attributes:
        vectors: shape (capacity, f); rows from `len(self)` on are zero.
        wide_gram: shape (f, f), float64, `vectors' vectors + regularization * I`.
        gram: the same in float32, for the kernels.
    """

    def __init__(self, vectors: NDArray[np.float32], *, regularization: float) -> None:
        self.vectors = np.array(vectors, np.float32, order="C")
        self.regularization = regularization
        self._items = len(vectors)
        self.rebuild()

    def __len__(self) -> int:
        return self._items

    @property
    def live(self) -> NDArray[np.float32]:
        """Shape (len(self), f): a view, not to be changed."""
        return self.vectors[: self._items]

    def reserve(self, items: int) -> None:
        """Make room for rows below `items`; new rows are zero."""
        self.vectors = grown(self.vectors, items)
        self._items = max(self._items, items)

    def set_rows(self, rows: Rows, vectors: NDArray[np.float32]) -> None:
        """Replace the vectors of `rows` (distinct, any may be new), the Gram matrix with them."""
        if len(rows) == 0:
            return
        self.reserve(int(rows.max()) + 1)
        before = self.vectors[rows].astype(np.float64)
        after = vectors.astype(np.float64)
        self.wide_gram += after.T @ after - before.T @ before
        self.vectors[rows] = vectors
        self.gram = self.wide_gram.astype(np.float32)

    def rebuild(self) -> None:
        """The Gram matrix from scratch, in float64: changes of many rows leave rounding behind."""
        wide = self.live.astype(np.float64)
        self.wide_gram = wide.T @ wide + self.regularization * np.eye(wide.shape[1])
        self.gram = self.wide_gram.astype(np.float32)


class Ials:
    """A fit, served: a visitor is folded in from what they did, then every item is scored.

    Without a learner beside it `update` only makes room: a new item has a zero vector and is never answered.
    """

    name = "ials"

    def __init__(self, parameters: IalsParameters | None = None, vectors: NDArray[np.float32] | None = None) -> None:
        parameters = parameters if parameters is not None else IalsParameters()
        if vectors is None:
            vectors = np.zeros((0, parameters.factors), np.float32)
        self.parameters = for_catalogue(parameters, len(vectors))
        self.factors = ItemFactors(vectors, regularization=self.parameters.regularization)

    def update(self, session: int, row: int, kind: int, time_ms: int, /) -> None:
        """Make room for a new item."""
        self.factors.reserve(row + 1)

    def update_many(self, events: Events, /) -> None:
        """Make room for new items."""
        self.factors.reserve(int(events.rows.max(initial=-1)) + 1)

    def vector(self, prefix: Prefix) -> Vector:
        """Shape (f,): who did `prefix`, in the present basis; zeros when none of its items has a vector."""
        rows, kinds = plain(prefix.rows, np.int32), plain(prefix.kinds, np.uint8)
        factors = self.factors
        vector: Vector = _vector(factors.gram, factors.vectors, len(factors), rows, kinds, self.settings())
        return vector

    def settings(self) -> FoldInSettings:
        """How kernels fold a visitor in."""
        p = self.parameters
        return FoldInSettings(p.last, np.float32(p.decay), np.float32(_alpha(p)), p.steps)

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """All items by inner product; scores below zero are possible at the end of a long list."""
        vector = self.vector(prefix)
        if not vector.any():
            return EMPTY
        return best_by_product(self.factors.live, vector, n, blocked)

    def block(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """The vectors of `rows`, for `set_block` of a replica."""
        return {"rows": rows, "vectors": self.factors.vectors[rows]}

    def set_block(self, block: State) -> None:
        """Take over another's `block`; doing it twice is doing it once."""
        self.factors.set_rows(block["rows"], block["vectors"])

    def state(self) -> dict[str, NDArray[Any]]:
        """The vectors; parameters travel beside them."""
        return {"vectors": self.factors.live.copy()}

    def load(self, state: State, /) -> None:
        """Take over a `state()`."""
        self.factors = ItemFactors(state["vectors"], regularization=self.parameters.regularization)


@njit(cache=True, nogil=True)
def _vector(gram, factors, items, prefix, kinds, settings):  # type: ignore[no-untyped-def]
    return fold_in_prefix(gram, factors, items, prefix, kinds, settings)


def compile_kernels() -> None:
    """Compile (or load from the cache) every kernel of this model."""
    Ials().vector(Prefix(np.zeros(1, np.int32), np.ones(1, np.uint8), np.ones(1, np.int64)))


def _alpha(parameters: IalsParameters) -> float:
    assert parameters.alpha is not None, "for_catalogue sets it"
    return parameters.alpha
