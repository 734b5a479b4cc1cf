"""The ranker: what its kernels say is what LightGBM says, and it learns what the lists alone do not know."""

import sys
from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from recommender.errors import RankerRefusedError, RankerUnavailableError
from recommender.evaluation.builders import ModelParameters, ranked_models
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters as LiveParameters
from recommender.models.ials import IalsParameters
from recommender.models.protocol import Events, Prefix
from recommender.ranker import FEATURES, Ranker, Trees, attribute, from_arrays, to_arrays
from recommender.ranker.training import (
    RankerParameters,
    TrainingRows,
    before,
    first_asked,
    fit_ranker,
    fit_trees,
    questions_of,
)
from recommender.ranker.trees import default_trees, from_lightgbm, read_trees, score, write_trees

QUICK = ModelParameters(ials=IalsParameters(factors=8, iterations=3))


def fitted(*, leaves: int = 8, rounds: int = 40, seed: int = 1) -> tuple[lightgbm.Booster, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    values = random.normal(size=(3_000, len(FEATURES))).astype(np.float32)
    values[:, 3] = random.integers(0, 5, 3_000)
    labels = (values[:, 0] + values[:, 3] * values[:, 7] + random.normal(size=3_000) > 1.5).astype(np.float32)
    settings = {"objective": "lambdarank", "num_leaves": leaves, "use_missing": False, "verbose": -1, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(values, labels, group=[50] * 60), rounds), values


@pytest.mark.parametrize("leaves", [2, 3, 8])
def test_the_trees_score_as_lightgbm_does(leaves: int) -> None:
    booster, values = fitted(leaves=leaves)

    scores = score(from_lightgbm(booster.dump_model()), np.ascontiguousarray(values.T))

    np.testing.assert_allclose(scores, booster.predict(values), atol=1e-6, rtol=0)


def test_a_value_at_a_threshold_goes_left_as_in_lightgbm() -> None:
    booster, _ = fitted()
    trees = from_lightgbm(booster.dump_model())
    finite = trees.thresholds[np.isfinite(trees.thresholds)]
    values = np.zeros((3 * len(finite), len(FEATURES)), np.float32)
    near = (np.nextafter(finite, np.float32(-9)), finite, np.nextafter(finite, np.float32(9)))
    values[:] = np.concatenate(near)[:, None]

    np.testing.assert_allclose(score(trees, np.ascontiguousarray(values.T)), booster.predict(values), atol=1e-6, rtol=0)


def test_attributions_are_lightgbms_shap_values_and_sum_to_the_score() -> None:
    booster, values = fitted()
    trees, some = from_lightgbm(booster.dump_model()), values[:40]

    found = attribute(trees, np.ascontiguousarray(some.T))

    expected = np.asarray(booster.predict(some, pred_contrib=True))
    np.testing.assert_allclose(found.values, expected[:, :-1], atol=1e-9)
    assert found.base == pytest.approx(expected[0, -1])
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), booster.predict(some), atol=1e-9)


def test_trees_of_other_features_or_other_forms_are_refused(tmp_path: Any) -> None:
    arrays = to_arrays(default_trees())
    other = {**arrays, "names": np.frombuffer(b"one\ntwo", np.uint8)}
    torn = tmp_path / "trees.npz"
    torn.write_bytes(b"PK nothing")

    with pytest.raises(RankerRefusedError, match="features"):
        from_arrays(other)
    with pytest.raises(RankerRefusedError, match="missing"):
        from_arrays({"names": arrays["names"]})
    with pytest.raises(RankerRefusedError, match="width"):
        from_arrays({**arrays, "leaves": arrays["leaves"][:, :3]})
    with pytest.raises(RankerRefusedError, match=r"trees\.npz"):
        read_trees(torn)
    with pytest.raises(RankerRefusedError, match="leaves"):
        from_lightgbm(fitted(leaves=12, rounds=2)[0].dump_model())


def test_a_file_gives_the_trees_back(tmp_path: Any) -> None:
    trees = default_trees()

    write_trees(tmp_path / "trees.npz", trees)

    for one, two in zip(trees, read_trees(tmp_path / "trees.npz"), strict=True):
        np.testing.assert_array_equal(one, two)


def walks(*, sessions: int = 900, items: int = 40) -> Events:
    """Visitors go on by one, or, from the third click on, back to where they began: the lists cannot tell which."""
    random = np.random.default_rng(3)
    begins = random.integers(0, items, sessions)
    rows = np.stack([begins, (begins + 1) % items, (begins + 2) % items, begins], axis=1)
    return Events(
        np.repeat(np.arange(sessions), 4),
        rows.ravel().astype(np.int32),
        np.ones(4 * sessions, np.uint8),
        np.arange(1, 4 * sessions + 1) * 1_000,
    )


def learnt(events: Events) -> tuple[Ranker, Trees]:
    trees = fit_ranker(
        events,
        lambda past: ranked_models(past, 40, QUICK, 1),
        RankerParameters(share=0.3, leaf_rows_min=20, rounds=40, questions_min=50, l2=1.0, feature_share=1.0),
        items=40,
    )
    return Ranker(ranked_models(events, 40, QUICK, 1), trees), trees


def test_the_ranker_learns_from_the_sessions_what_comes_next() -> None:
    ranker, _ = learnt(walks())

    third = Prefix(np.array([5, 6, 7], np.int32), np.ones(3, np.uint8), np.zeros(3, np.int64))
    second = Prefix(np.array([5, 6], np.int32), np.ones(2, np.uint8), np.zeros(2, np.int64))

    assert ranker.scores(third, 1).rows.tolist() == [5]
    assert ranker.scores(second, 1).rows.tolist() == [7]


def test_the_same_sessions_give_the_same_trees() -> None:
    (_, one), (_, two) = learnt(walks()), learnt(walks())

    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)


def test_no_question_is_asked_of_a_session_that_was_learnt() -> None:
    events = walks(sessions=100)

    first = first_asked(events, 0.2)
    past = before(events, first)
    asked = questions_of(events, first, RankerParameters(), keep_repeats=False)

    assert first == 80
    assert int(past.sessions.max()) == 79
    assert len(asked) == 20 * 3


def test_repeats_are_asked_for_only_when_they_are_kept() -> None:
    rows = np.array([1, 1, 2], np.int32)
    events = Events(np.zeros(3, np.int64), rows, np.ones(3, np.uint8), np.arange(3))

    collapsed = questions_of(events, 0, RankerParameters(), keep_repeats=False)
    kept = questions_of(events, 0, RankerParameters(), keep_repeats=True)

    assert [question.label for question in collapsed] == [2]
    assert [question.label for question in kept] == [1, 2]


def test_too_few_questions_are_said_so() -> None:
    table = TrainingRows(np.zeros((9, len(FEATURES)), np.float32), np.zeros(9, np.float32), np.array([9]))

    with pytest.raises(RankerUnavailableError, match="wanted 300 questions to learn from; got 1"):
        fit_trees(table, RankerParameters())


def test_without_lightgbm_the_fit_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    table = TrainingRows(np.zeros((9, len(FEATURES)), np.float32), np.zeros(9, np.float32), np.array([9]))

    with pytest.raises(RankerUnavailableError, match="libgomp1"):
        fit_trees(table, RankerParameters(questions_min=1))


def test_a_snapshot_brings_the_trees_and_others_are_passed_over() -> None:
    model = LiveModel("v1", LiveParameters())
    booster, _ = fitted(rounds=3)
    model.use_trees(from_lightgbm(booster.dump_model()))
    arrays = {name.removeprefix("ranker."): array for name, array in model.arrays().items() if "ranker." in name}
    other = {**arrays, "names": np.frombuffer(b"one\ntwo", np.uint8)}

    one, two = LiveModel("v2", LiveParameters()), LiveModel("v2", LiveParameters())
    one.load_trees(arrays)
    two.load_trees(other)

    assert len(one.trees.leaves) == 3
    assert len(two.trees.leaves) == len(default_trees().leaves)
