"""Products sent to a whole server."""

import time

from tests.integration.serving.serving_tools import SECRET, WRITE, Server

NDJSON = {"Content-Type": "application/x-ndjson"}


async def test_a_product_comes_back_as_it_was_sent(server: Server) -> None:
    mug = {"item_id": "mug", "title": "Mug", "price": 4.5, "currency": "EUR", "image": "/mug.jpg", "url": "/mug"}

    sent = await server.put(mug)
    found = await server.client.get("/v1/catalog/mug", headers=SECRET)

    assert sent.json() == {
        "accepted": 1,
        "rejected": 0,
        "verdicts": [{"line": 1, "status": "accepted", "item_id": "mug"}],
    }
    assert found.json() == mug


async def test_each_line_gets_its_verdict(server: Server) -> None:
    lines = b'{"item_id":"mug"}\n\n{"item_id":"cup","price":-1}\nnot json\n{"item_id":"jug"}\n'

    response = await server.client.post("/v1/catalog", content=lines, headers=SECRET | NDJSON)

    verdicts = response.json()["verdicts"]
    assert response.status_code == 200
    assert [(v["line"], v["status"], v.get("item_id")) for v in verdicts] == [
        (1, "accepted", "mug"),
        (3, "rejected", "cup"),
        (4, "rejected", None),
        (5, "accepted", "jug"),
    ]
    assert verdicts[1]["wanted"] == "`price`: a number >= 0"
    assert verdicts[1]["got"] == "-1"


async def test_nothing_right_is_a_problem_with_the_verdicts(server: Server) -> None:
    response = await server.put({"item_id": "mug", "availability": "maybe"})

    problem = response.json()
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert "in_stock" in problem["wanted"]
    assert problem["got"] == '"maybe"'
    assert problem["verdicts"][0]["status"] == "rejected"


async def test_an_unavailable_item_is_not_suggested_once_the_call_is_answered(server: Server) -> None:
    await server.put(*({"item_id": name} for name in ("mug", "cup", "jug")))
    asked = {"visitor": "v", "placement": "home"}

    before = await server.client.get("/v1/recommendations", params=asked, headers=WRITE)
    started_s = time.monotonic()
    await server.put({"item_id": "cup", "availability": "out_of_stock"})
    took_s = time.monotonic() - started_s
    after = await server.client.get("/v1/recommendations", params=asked, headers=WRITE)

    assert {item["id"] for item in before.json()["items"]} == {"mug", "cup", "jug"}
    assert {item["id"] for item in after.json()["items"]} == {"mug", "jug"}
    # The promise is one second on a quiet machine; this one may be busy.
    assert took_s < 20


async def test_a_large_upload_is_whole_when_it_is_answered(server: Server) -> None:
    lines = b"\n".join(b'{"item_id":"item-%d","title":"Item"}' % number for number in range(5_000))

    response = await server.client.post("/v1/catalog", content=lines, headers=SECRET | NDJSON)

    assert response.json()["accepted"] == 5_000
    assert len(server.catalog) == 5_000


async def test_bad_uploads_are_refused(server: Server) -> None:
    post = server.client.post

    empty = await post("/v1/catalog", content=b"\n\n", headers=SECRET | NDJSON)
    broken = await post("/v1/catalog", content=b"[{", headers=SECRET | {"Content-Type": "application/json"})
    many = await post("/v1/catalog", content=b"{}\n" * 50_001, headers=SECRET | NDJSON)
    xml = await post("/v1/catalog", content=b"<a/>", headers=SECRET | {"Content-Type": "text/xml"})
    unknown = await server.client.get("/v1/catalog/nothing", headers=SECRET)

    assert [r.status_code for r in (empty, broken, many, xml, unknown)] == [400, 400, 413, 415, 404]
    assert many.json()["wanted"] == "at most 50000 products"


async def test_a_killed_bus_takes_no_products(server: Server) -> None:
    server.bus_server.kill()

    response = await server.put({"item_id": "mug"})

    assert response.status_code == 503
    assert "retry-after" in response.headers
