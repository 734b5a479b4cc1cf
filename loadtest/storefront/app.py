"""Serve the sample shop: its own origin, its own pages; it never calls the API itself, visitors' browsers do."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from loadtest.storefront import pages
from loadtest.storefront.cart import CART_COOKIE, Cart, Orders, decode_cart, encode_cart, with_one_more, without
from loadtest.storefront.pictures import product_picture
from loadtest.storefront.products import ShopProduct, shop_products

_FORM_BYTES_MAX = 4_096
_DAY_S = 86_400


def build_shop(api_url: str, write_key: str, products: Sequence[ShopProduct] | None = None) -> Starlette:
    """The shop as an ASGI application.

    Args:
        api_url: where browsers find the API and `/snippet.js`, without a slash at the end.
        write_key: the key that may sit in a page.
        products: what is sold, in shelf order; `shop_products()` when None.
    """
    shop = _Shop(pages.Snippet(api_url.rstrip("/"), write_key), shop_products() if products is None else products)
    return Starlette(
        routes=[
            Route("/", shop.home),
            Route("/shelves/{category}", shop.category),
            Route("/search", shop.search),
            Route("/products/{item_id}", shop.product),
            Route("/images/{name}.svg", shop.image),
            Route("/cart", shop.cart),
            Route("/cart/add", shop.add, methods=["POST"]),
            Route("/cart/remove", shop.remove, methods=["POST"]),
            Route("/checkout", shop.checkout),
            Route("/checkout", shop.order, methods=["POST"]),
            Route("/orders/{order_id}", shop.ordered),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
            Route("/{path:path}", shop.missing),
        ]
    )


async def run_shop(
    host: str,
    port: int,
    *,
    api_url: str,
    write_key: str,
    stop: asyncio.Event,
    products: Sequence[ShopProduct] | None = None,
) -> None:
    """Serve the shop at `host:port` (a free port, not 0) until `stop` is set."""
    app = build_shop(api_url, write_key, products)
    server = _Server(
        uvicorn.Config(
            app, host, port, lifespan="off", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the shop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Shop:
    """The routes; each reads the request, picks products and hands them to a page."""

    def __init__(self, snippet: pages.Snippet, products: Sequence[ShopProduct]) -> None:
        self._snippet = snippet
        self._products = {product.item_id: product for product in products}
        self._categories = tuple(dict.fromkeys(product.category for product in products))
        self._orders = Orders()

    async def home(self, request: Request) -> Response:
        products = tuple(self._products.values())
        shelves = [(name, self._shelf(name)[0]) for name in self._categories]
        return HTMLResponse(pages.home_page(self._frame(request), shelves=shelves, fresh=products[2::20][:6]))

    async def category(self, request: Request) -> Response:
        name = request.path_params["category"]
        if name not in self._categories:
            return await self.missing(request)
        return HTMLResponse(pages.listing_page(self._frame(request), title=name, products=self._shelf(name)))

    async def search(self, request: Request) -> Response:
        term = request.query_params.get("q", "").strip()
        words = term.lower().split()
        found = [
            product
            for product in self._products.values()
            if words and all(word in f"{product.title} {product.category}".lower() for word in words)
        ]
        page = pages.listing_page(self._frame(request), title=f"“{term}”", products=found, search_term=term)
        return HTMLResponse(page)

    async def product(self, request: Request) -> Response:
        product = self._products.get(request.path_params["item_id"])
        if product is None:
            return await self.missing(request)
        return HTMLResponse(pages.product_page(self._frame(request), product))

    async def image(self, request: Request) -> Response:
        product = self._products.get(request.path_params["name"])
        if product is None:
            return Response(status_code=404)
        headers = {"Cache-Control": f"public, max-age={_DAY_S}"}
        return Response(product_picture(product), media_type="image/svg+xml", headers=headers)

    async def cart(self, request: Request) -> Response:
        return HTMLResponse(pages.cart_page(self._frame(request), pages.resolve(_cart_of(request), self._products)))

    async def add(self, request: Request) -> Response:
        product = self._products.get(await _item_id_of(request))
        if product is None or not product.available:
            return await self.missing(request)
        return _to_cart(with_one_more(_cart_of(request), product.item_id))

    async def remove(self, request: Request) -> Response:
        return _to_cart(without(_cart_of(request), await _item_id_of(request)))

    async def checkout(self, request: Request) -> Response:
        bought = pages.resolve(_cart_of(request), self._products)
        if not bought:
            return RedirectResponse("/cart", 303)
        return HTMLResponse(pages.checkout_page(self._frame(request), bought))

    async def order(self, request: Request) -> Response:
        cart = _cart_of(request)
        if not pages.resolve(cart, self._products):
            return RedirectResponse("/cart", 303)
        order_id = secrets.token_hex(6)
        self._orders.place(order_id, cart)
        response = RedirectResponse(f"/orders/{order_id}", 303)
        response.delete_cookie(CART_COOKIE)
        return response

    async def ordered(self, request: Request) -> Response:
        order_id = request.path_params["order_id"]
        if order_id not in self._orders.carts:
            return await self.missing(request)
        bought = pages.resolve(self._orders.carts[order_id], self._products)
        return HTMLResponse(pages.order_page(self._frame(request), order_id, bought))

    async def missing(self, request: Request) -> Response:
        return HTMLResponse(pages.missing_page(self._frame(request)), status_code=404)

    def _shelf(self, name: str) -> list[ShopProduct]:
        return [product for product in self._products.values() if product.category == name]

    def _frame(self, request: Request) -> pages.Frame:
        return pages.Frame(self._snippet, self._categories, sum(line.quantity for line in _cart_of(request)))


def _cart_of(request: Request) -> Cart:
    return decode_cart(request.cookies.get(CART_COOKIE, ""))


async def _item_id_of(request: Request) -> str:
    """The one field of the shop's forms; empty when the form is anything else."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES_MAX:
            return ""
    return parse_qs(body.decode("latin-1")).get("item_id", [""])[0]


def _to_cart(cart: Cart) -> Response:
    response = RedirectResponse("/cart", 303)
    response.set_cookie(CART_COOKIE, encode_cart(cart), max_age=30 * _DAY_S, httponly=True, samesite="lax")
    return response
