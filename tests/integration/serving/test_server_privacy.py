"""A person's data, read out and erased over HTTP."""

from datetime import datetime, timedelta

from feature_store.online_store import OnlineStore
from feature_store.settings import WorkerSettings
from ingest.topics import ANSWERS, EVENTS
from tests.integration.serving.serving_tools import SECRET, WRITE, Server, event
from tests.integration.windows.windows_tools import eventually, working

PATH = "/v1/visitors/{}"


async def post(server: Server, number: int, **fields: object) -> None:
    sent = event(message_id=f"message-{number:08d}", **fields)
    response = await server.client.post("/v1/events", json=sent, headers=WRITE)
    assert response.status_code == 202, response.text


async def test_a_user_is_read_out_with_their_browsers_and_erased_with_a_receipt(server: Server) -> None:
    store = OnlineStore(server.store_server.url)
    async with working(server.bus, store, WorkerSettings()):
        await post(server, 1, anonymous_id="phone", items=[{"item_id": "mug"}])
        await post(server, 2, anonymous_id="phone", user_id="ann@example.com", event="identify", items=[])
        await post(server, 3, anonymous_id="laptop", items=[{"item_id": "hat"}])
        await post(server, 4, anonymous_id="laptop", user_id="ann@example.com", event="identify", items=[])
        await post(server, 5, anonymous_id="other", items=[{"item_id": "tie"}])

        async def known(visitor: str) -> list[str]:
            found = (await server.client.get(PATH.format(visitor), headers=SECRET)).json()
            return sorted(told["item"] for record in found["records"] for told in record["events"])

        async def all_there() -> bool:
            return await known("ann@example.com") == ["hat", "mug"] and await known("other") == ["tie"]

        await eventually(all_there, "the worker to take the events in")
        exported = (await server.client.get(PATH.format("ann@example.com"), headers=SECRET)).json()
        receipt = (await server.client.delete(PATH.format("ann@example.com"), headers=SECRET)).json()

        async def all_gone() -> bool:
            # For a moment a worker may still write what it was reading; it deletes it when it hears of the erasure.
            return [await known(who) for who in ("ann@example.com", "phone", "laptop", "other")] == [
                [],
                [],
                [],
                ["tie"],
            ]

        await eventually(all_gone, "everything of the user to be gone")
        recent = (await server.client.get(PATH.format("phone") + "/recent", headers=SECRET)).json()
    await store.close()

    assert (exported["is_user"], exported["browsers"]) == (True, 2)
    assert (receipt["keys_erased"], receipt["records_deleted"], receipt["browsers_beyond"]) == (3, 5, False)
    erased_at = datetime.fromisoformat(receipt["erased_at"])
    ends = {name: datetime.fromisoformat(at) for name, at in receipt["retention_ends"].items()}
    assert ends[EVENTS.name] - erased_at == timedelta(days=7)
    assert receipt["gone_by"] == receipt["retention_ends"][ANSWERS.name]
    assert recent["items"] == []


async def test_the_write_key_reads_out_and_erases_nobody(server: Server) -> None:
    for method in ("GET", "DELETE"):
        response = await server.client.request(method, PATH.format("browser-1"), headers=WRITE)

        assert response.status_code == 403
        assert response.json()["type"].endswith("secret_key_required")


async def test_with_the_store_away_the_erasure_is_refused_and_can_be_repeated(server: Server) -> None:
    server.store_server.kill()

    response = await server.client.delete(PATH.format("browser-1"), headers=SECRET)

    assert response.status_code == 503
    assert "Retry-After" in response.headers
    server.store_server.start()

    async def answered() -> bool:
        return (await server.client.delete(PATH.format("browser-1"), headers=SECRET)).status_code == 200

    await eventually(answered, "the store to be asked again")
