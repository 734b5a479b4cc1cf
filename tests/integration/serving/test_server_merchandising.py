"""What the merchandiser decides: over HTTP, on a real bus, folded alike by every replica."""

import asyncio
from typing import Any

import httpx

from ingest.identity import visitor_key
from recommender.merchandising import Ledger, MerchandisingLog
from recommender.merchandising.kinds import KINDS
from tests.integration.serving.serving_tools import KEYS, SECRET, WRITE, Server

EXPERIMENT = {
    "id": "diverse-home",
    "placements": ["home"],
    "variants": [{"name": "control", "share": 0.5}, {"name": "diverse", "share": 0.5, "diversity": 0.3}],
}


async def put(server: Server, document: dict[str, Any], **edit: Any) -> httpx.Response:
    body = {"id": "diverse-home", "document": document} | edit
    return await server.client.post("/v1/experiments", json=body, headers=SECRET)


async def test_a_change_is_there_when_it_is_answered(server: Server) -> None:
    made = await put(server, EXPERIMENT, who="ann")

    got = await server.client.get("/v1/experiments/diverse-home", headers=SECRET)
    assert made.status_code == 200
    assert got.json() == made.json()
    assert got.json()["version"] == 1
    assert got.json()["who"] == "ann"
    assert got.json()["document"] == EXPERIMENT


async def test_a_change_made_on_an_older_version_is_refused(server: Server) -> None:
    await put(server, EXPERIMENT)
    await put(server, EXPERIMENT | {"holdout": 0.1}, edits=1)

    late = await put(server, EXPERIMENT | {"holdout": 0.2}, edits=1)

    assert late.status_code == 409
    assert "`edits` 2" in late.json()["wanted"]
    got = await server.client.get("/v1/experiments/diverse-home", headers=SECRET)
    assert got.json()["document"]["holdout"] == 0.1


async def test_of_two_changes_at_once_one_is_refused(server: Server) -> None:
    await put(server, EXPERIMENT)

    answers = await asyncio.gather(*(put(server, EXPERIMENT | {"holdout": 0.01 * i}, edits=1) for i in range(1, 5)))

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_what_is_no_experiment_is_refused_with_the_reason(server: Server) -> None:
    halves = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.4}]

    answer = await put(server, EXPERIMENT | {"variants": halves})

    assert answer.status_code == 422
    assert "sum to 1" in answer.json()["got"]
    listed = await server.client.get("/v1/experiments", headers=SECRET)
    assert listed.json() == {"documents": []}


async def test_the_audit_says_who_changed_what_and_undo_is_a_new_entry(server: Server) -> None:
    await put(server, EXPERIMENT, who="ann")
    await put(server, EXPERIMENT | {"holdout": 0.1}, edits=1, who="ben")

    undone = await server.client.post(
        "/v1/experiments/diverse-home/undo", json={"edits": 2, "who": "cy"}, headers=SECRET
    )

    assert undone.json()["version"] == 3
    assert undone.json()["document"] == EXPERIMENT
    changes = (await server.client.get("/v1/merchandising/audit", headers=SECRET)).json()["changes"]
    assert [change["who"] for change in changes] == ["cy", "ben", "ann"]
    assert changes[0]["restores"] == 1
    assert changes[1]["before"] == EXPERIMENT
    assert changes[2]["before"] is None


async def test_a_deleted_document_is_gone_and_can_be_brought_back(server: Server) -> None:
    await put(server, EXPERIMENT)

    removed = await server.client.delete("/v1/experiments/diverse-home", params={"edits": 1}, headers=SECRET)
    undone = await server.client.post("/v1/experiments/diverse-home/undo", json={"edits": 2}, headers=SECRET)

    assert removed.json()["document"] is None
    assert undone.json()["document"] == EXPERIMENT


async def test_an_export_imported_again_changes_nothing_and_a_file_decides_everything(server: Server) -> None:
    await put(server, EXPERIMENT)
    exported = (await server.client.get("/v1/merchandising", headers=SECRET)).json()

    again = await server.client.put("/v1/merchandising", json=exported, headers=SECRET)
    other = {"experiments": {"second": EXPERIMENT | {"id": "second"}}}
    replaced = await server.client.put("/v1/merchandising?who=git", json=other, headers=SECRET)

    assert exported["experiments"] == {"diverse-home": EXPERIMENT}
    assert again.json() == {"unchanged": 1, "outcomes": []}
    assert [outcome["status"] for outcome in replaced.json()["outcomes"]] == ["applied", "applied"]
    listed = (await server.client.get("/v1/experiments", headers=SECRET)).json()["documents"]
    assert [(document["id"], document["who"]) for document in listed] == [("second", "git")]


async def test_another_replica_has_every_change_within_a_second(server: Server) -> None:
    await put(server, EXPERIMENT)
    replica = MerchandisingLog(server.bus, Ledger(KINDS))
    following = asyncio.create_task(replica.follow())
    await asyncio.wait_for(replica.ready.wait(), 5)

    await put(server, EXPERIMENT | {"holdout": 0.1}, edits=1)

    async with asyncio.timeout(1):
        while (document := replica.ledger.get("experiment", "diverse-home")) is None or document.version < 2:
            await asyncio.sleep(0.005)
    following.cancel()


async def test_the_write_key_opens_none_of_it(server: Server) -> None:
    assert (await server.client.get("/v1/experiments", headers=WRITE)).status_code == 403
    assert (await server.client.put("/v1/merchandising", json={}, headers=WRITE)).status_code == 403


async def test_while_the_bus_is_down_a_change_is_a_503(server: Server) -> None:
    server.bus_server.kill()

    answer = await put(server, EXPERIMENT)

    assert answer.status_code == 503
    assert answer.headers["retry-after"]


async def test_a_placement_decided_here_is_asked_for_at_once(server: Server) -> None:
    await server.put(*({"item_id": f"item-{number}"} for number in range(5)))
    ask = {"visitor": "v", "placement": "banner", "budget_ms": 1_000}
    before = await server.client.get("/v1/recommendations", params=ask, headers=WRITE)

    body = {"id": "banner", "document": {"logic": "trending", "n": 2}}
    made = await server.client.post("/v1/placements", json=body, headers=SECRET)

    after = await server.client.get("/v1/recommendations", params=ask, headers=WRITE)
    assert before.status_code == 422
    assert made.status_code == 200
    assert len(after.json()["items"]) == 2
    listed = (await server.client.get("/v1/placements", headers=SECRET)).json()
    assert "banner" in str(listed)


async def test_a_document_must_call_itself_what_it_is_called(server: Server) -> None:
    answer = await put(server, EXPERIMENT | {"id": "other"})

    assert answer.status_code == 422
    assert "diverse-home" in answer.json()["got"]


async def test_the_shop_learns_its_visitors_keys(server: Server) -> None:
    answer = await server.client.post("/v1/visitors/keys", json={"ids": ["ann", "ben"]}, headers=SECRET)

    wanted = [visitor_key(name, secret=KEYS.visitor_secret_bytes).hex() for name in ("ann", "ben")]
    assert answer.json() == {"keys": wanted}
    assert (await server.client.post("/v1/visitors/keys", json={"ids": []}, headers=SECRET)).status_code == 422


async def _shop(server: Server) -> list[str]:
    await server.put(*({"item_id": f"item-{number}", "brand": "b" if number == 7 else "a"} for number in range(10)))
    return await _shown(server)


async def _shown(server: Server) -> list[str]:
    ask = {"visitor": "v", "placement": "home", "n": 4, "budget_ms": 1_000}
    answer = await server.client.get("/v1/recommendations", params=ask, headers=WRITE)
    return [item["id"] for item in answer.json()["items"]]


async def test_a_pin_stands_first_in_the_next_answer_and_is_gone_when_undone(server: Server) -> None:
    before = await _shop(server)
    pin = {"rule_id": "pin-7", "consequence": "pin", "items": ["item-7"]}

    made = await server.client.post("/v1/rules", json={"id": "pin-7", "document": pin}, headers=SECRET)
    pinned = await _shown(server)
    await server.client.post("/v1/rules/pin-7/undo", json={"edits": 1}, headers=SECRET)

    assert made.status_code == 200, made.text
    assert before[0] != "item-7"
    assert pinned[0] == "item-7"
    assert await _shown(server) == before


async def test_a_preview_shows_both_pages_and_changes_nothing(server: Server) -> None:
    before = await _shop(server)
    body = {
        "query": {"visitor": "v", "placement": "home", "n": 4},
        "rules": [
            {"rule_id": "pin-7", "consequence": "pin", "items": ["item-7"]},
            {"rule_id": "hide-first", "consequence": "hide", "items": [before[0]]},
        ],
    }

    answer = (await server.client.post("/v1/rules/preview", json=body, headers=SECRET)).json()

    assert [item["id"] for item in answer["before"]["items"]] == before
    assert answer["after"]["items"][0]["id"] == "item-7"
    assert before[0] in answer["went"]
    assert "item-7" in answer["came"]
    assert set(answer["after"]["rules"]) >= {"pin-7", "hide-first"}
    assert await _shown(server) == before
    missing = {"query": body["query"], "without": ["no-such-rule"]}
    refused = await server.client.post("/v1/rules/preview", json=missing, headers=SECRET)
    assert refused.status_code == 422
