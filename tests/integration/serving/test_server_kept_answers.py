"""The time machine: what was kept of an answer makes it again, after a refit, other rules and a restart."""

from contextlib import aclosing
from typing import Any

import msgspec
import numpy as np

from afterclick.valkey_server import ValkeyServer
from api.answers import ServedAnswer
from api.kept import again
from api.settings import ApiSettings
from feature_store.kinds import Kind
from ingest.topics import ANSWERS
from recommender.live_model import LiveModel
from recommender.model_parameters import ModelParameters
from recommender.models.ials import IalsParameters
from recommender.models.protocol import Events
from recommender.models.session_knn import SessionKnnParameters
from recommender.models.transitions import TransitionParameters
from tests.integration.serving.serving_tools import SECRET, WRITE, Server, serving

_NOW_MS = 1_700_000_000_000
_ITEMS = [f"item-{number}" for number in range(200)]
_ANSWERS = 1_000
_PARAMETERS = ModelParameters(
    transitions=TransitionParameters(sessions_max=256),
    session_knn=SessionKnnParameters(sessions_max=256, postings_max=4_096),
    ials=IalsParameters(factors=16),
)


def _model(version: str, seed: int) -> LiveModel:
    rng = np.random.default_rng(seed)
    model = LiveModel(version, _PARAMETERS)
    for item_id in _ITEMS:
        model.items.add(item_id)
    rows = rng.zipf(1.3, 2_000) % len(_ITEMS)
    sessions = np.sort(rng.integers(0, 250, len(rows)))
    kinds = np.full(len(rows), Kind.VIEW, np.uint8)
    model.learn(Events(sessions, rows.astype(np.int32), kinds, _NOW_MS + np.arange(len(rows))))
    vectors = rng.normal(size=(len(_ITEMS), 16)).astype(np.float32)
    model.ials.set_block({"rows": np.arange(len(_ITEMS), dtype=np.int32), "vectors": vectors})
    return model


async def _rule(server: Server, **fields: Any) -> None:
    body = {"id": fields["rule_id"], "document": fields}
    response = await server.client.post("/v1/rules", json=body, headers=SECRET)
    assert response.status_code == 200, response.text


async def _logged(server: Server) -> list[ServedAnswer]:
    found = []
    for partition in range(await server.bus.partitions(ANSWERS)):
        reading = server.bus.read(ANSWERS, partition, start="earliest", until_now=True)
        async with aclosing(reading) as deliveries:  # type: ignore[type-var]
            async for delivery in deliveries:
                payloads = [entry.payload for entry in delivery.entries if entry.payload is not None]
                found += [msgspec.json.decode(payload, type=ServedAnswer) for payload in payloads]
    return found


async def test_a_thousand_answers_are_made_again_of_the_log_alone(valkeys: tuple[ValkeyServer, ValkeyServer]) -> None:
    rng = np.random.default_rng(1)
    async with serving(*valkeys, settings=ApiSettings(answers_kept_share=1.0)) as first:
        await first.put(
            *[{"item_id": item_id, "price": 1.0 + n, "category": "ab"[n % 2]} for n, item_id in enumerate(_ITEMS)]
        )
        first.recommender.use(_model("v1", seed=1))
        await _rule(first, rule_id="push", consequence="boost", categories=["a"], factor=1.5)
        await _rule(first, rule_id="first", consequence="pin", items=["item-150"], slot=3)
        for number in range(_ANSWERS):
            asked = {
                "visitor": f"browser-{number}",
                "placement": ("home", "product-page", "cart")[number % 3],
                "item": _ITEMS[rng.integers(len(_ITEMS))],
                "n": int(rng.integers(1, 30)),
                "budget_ms": 1_000,
                "diversity": (0.0, 0.3)[number % 2],
            }
            assert (await first.client.get("/v1/recommendations", params=asked, headers=WRITE)).status_code == 200

    async with serving(*valkeys, settings=ApiSettings()) as second:
        second.recommender.use(_model("v2", seed=2))
        await _rule(second, rule_id="hidden", consequence="hide", categories=["b"])
        answers = await _logged(second)
        one = next(answer for answer in answers if answer.served_by in ("ranker", "blend", "related"))
        query = {"recommendation_id": one.recommendation_id}
        explained = (await second.client.get("/v1/explain", params=query, headers=SECRET)).json()

    assert len(answers) == _ANSWERS
    assert {answer.model_version for answer in answers} == {"v1"}
    assert len({answer.served_by for answer in answers}) > 1
    assert [answer.recommendation_id for answer in answers if not again(answer).same] == []
    assert explained["made_of"]["again"]["same"]
    candidates = explained["made_of"]["lists"][0]["candidates"]
    assert set(one.item_ids) - {candidate["id"] for candidate in candidates} <= {"item-150"}
    assert any(candidate["models"] for candidate in candidates)


async def test_what_was_altered_in_the_log_makes_another_answer(valkeys: tuple[ValkeyServer, ValkeyServer]) -> None:
    async with serving(*valkeys, settings=ApiSettings(answers_kept_share=0.0)) as server:
        await server.put(*[{"item_id": item_id, "price": 5.0} for item_id in _ITEMS])
        server.recommender.use(_model("v1", seed=1))
        asked = {"visitor": "browser-1", "item": "item-1", "n": 6, "budget_ms": 1_000}
        plain = await server.client.get("/v1/recommendations", params=asked, headers=WRITE)
        kept = await server.client.get("/v1/recommendations", params=asked | {"explain": "true"}, headers=WRITE)
        query = {"recommendation_id": plain.json()["recommendation_id"]}
        unkept = (await server.client.get("/v1/explain", params=query, headers=SECRET)).json()

    async with serving(*valkeys, settings=ApiSettings()) as server:
        answers = {answer.recommendation_id: answer for answer in await _logged(server)}
    answer = answers[kept.json()["recommendation_id"]]
    models = answer.kept[0].lists[0].models
    assert models is not None
    other = msgspec.structs.replace(models, margins=models.margins[8:] + models.margins[:8])
    lists = (msgspec.structs.replace(answer.kept[0].lists[0], models=other), *answer.kept[0].lists[1:])
    altered = msgspec.structs.replace(answer, kept=(msgspec.structs.replace(answer.kept[0], lists=lists),))

    assert again(answer).same
    assert not again(altered).same
    assert unkept["made_of"] is None
    assert "this one was neither" in unkept["not_kept"]
