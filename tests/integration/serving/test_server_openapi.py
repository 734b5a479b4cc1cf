"""The description of the API, against the routes of a whole server."""

from starlette.routing import Route

from tests.integration.serving.serving_tools import Server


async def test_every_route_is_described_and_everything_described_is_a_route(server: Server) -> None:
    document = (await server.client.get("/openapi.json")).json()

    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    routed = {
        (method, route.path)
        for route in server.app.routes
        if isinstance(route, Route) and route.include_in_schema
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert described == routed
