"""The sample shop's pages as HTML: plain functions from products to text, everything from outside escaped."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

from loadtest.storefront.cart import Cart
from loadtest.storefront.products import CURRENCY, SHOP_NAME, ShopProduct


class Snippet(NamedTuple):
    """What a page needs to load the snippet: the API's address and the key that may sit in a page."""

    api_url: str
    write_key: str


class Frame(NamedTuple):
    """What every page has around it."""

    snippet: Snippet
    categories: Sequence[str]
    cart_count: int


Bought = Sequence[tuple[ShopProduct, int]]
"""Products with how many of each: a cart or an order, resolved."""

STUB = "window.afterclick=window.afterclick||function(){(afterclick.q=afterclick.q||[]).push(arguments)};"
"""The loader of docs/snippet.md: calls wait in a list until the script is there."""

# What the snippet copies for each suggestion; the shop's own markup, so suggestions look like everything else.
_CARD_TEMPLATE = (
    '<template><a class="card" data-afterclick-field="url"><img data-afterclick-field="image" alt="" loading="lazy">'
    '<span class="name" data-afterclick-field="title"></span><span class="price" data-afterclick-field="price"></span>'
    "</a></template>"
)


def home_page(frame: Frame, *, shelves: Sequence[tuple[str, ShopProduct]], fresh: Sequence[ShopProduct]) -> str:
    """The front page. `shelves`: each category with the product that stands for it; `fresh`: new arrivals."""
    tiles = "".join(
        f'<a class="tile" href="{category_path(name)}"><img src="{_image(product)}" alt="" loading="lazy">'
        f"<span>{escape(name)}</span></a>"
        for name, product in shelves
    )
    body = (
        '<section class="hero"><div><p class="eyebrow">Since last spring</p><h1>Good things for the house, '
        "the garden and the road between.</h1><p>A hundred and twenty things we use ourselves. Look around: "
        'the shop takes note, and keeps up.</p><a class="button" href="#shelves">Browse the shelves</a></div>'
        f'<div class="trio">{"".join(_picture(product) for product in fresh[:3])}</div></section>'
        f"{suggestion_box('home', 'For you', n=6)}"
        f'<section id="shelves"><h2>Shelves</h2><div class="tiles">{tiles}</div></section>'
        f'<section><h2>Just arrived</h2><div class="grid">{cards(fresh)}</div></section>'
    )
    return _page(frame, SHOP_NAME, body)


def listing_page(frame: Frame, *, title: str, products: Sequence[ShopProduct], search_term: str | None = None) -> str:
    """A category, or the result of a search (`search_term`, which is told to the snippet)."""
    told = "" if search_term is None else tell("search", {"search_term": search_term[:256]})
    found = f'<div class="grid">{cards(products)}</div>' if products else "<p>Nothing by that name. Try a shelf.</p>"
    body = (
        f'<section><h1 class="title">{escape(title)}</h1><p class="count">{len(products)} things</p>{found}</section>'
    )
    placement = "category-page" if search_term is None else "search"
    return _page(frame, title, body + suggestion_box(placement, "Chosen for you", n=6) + told)


def product_page(frame: Frame, product: ShopProduct) -> str:
    """One product with its suggestions; the marked article is what the snippet counts as the item view."""
    if product.available:
        act = (
            f'<form method="post" action="/cart/add"><input type="hidden" name="item_id" value="{product.item_id}">'
            f'<button class="button" data-afterclick-add="{product.item_id}" data-afterclick-price="{product.price}">'
            "Add to cart</button></form>"
        )
    else:
        act = '<p class="sold-out">Sold out. We are making more.</p>'
    body = (
        f'<nav class="crumbs"><a href="/">Home</a> / <a href="{category_path(product.category)}">'
        f"{escape(product.category)}</a></nav>"
        f'<article class="product" data-afterclick-item="{product.item_id}" data-afterclick-price="{product.price}">'
        f'<img src="{_image(product)}" alt="{escape(product.title)}" width="520" height="520"><div>'
        f'<p class="eyebrow">{escape(product.category)}</p><h1>{escape(product.title)}</h1>'
        f'<p class="price big">{money(product.price)}</p><p class="lead">{escape(product.description)}</p>{act}'
        '<ul class="facts"><li>Sent within a day</li><li>Thirty days to change your mind</li>'
        "<li>Repaired for life, if it can be</li></ul></div></article>"
    )
    return _page(frame, product.title, body + suggestion_box("product-page", "You may also like", n=6))


def cart_page(frame: Frame, bought: Bought) -> str:
    """The cart, with suggestions that leave out what is in it."""
    if not bought:
        empty = '<section><h1 class="title">Your cart</h1><p>Still empty.</p></section>'
        return _page(frame, "Your cart", empty + suggestion_box("cart", "For you", n=6))
    rows = "".join(
        f'<tr><td><img src="{_image(product)}" alt="" width="72" height="72"></td><td><a href="{_path(product)}">'
        f"{escape(product.title)}</a></td><td>{count} ×</td><td>{money(product.price)}</td>"
        '<td><form method="post" action="/cart/remove"><input type="hidden" name="item_id" '
        f'value="{product.item_id}"><button class="link" '
        f"onclick='{_call('remove_from_cart', _items([(product, count)]))}'>Remove</button></form></td></tr>"
        for product, count in bought
    )
    body = (
        f'<section><h1 class="title">Your cart</h1><table class="lines">{rows}</table>'
        f'<p class="total">Together <strong>{money(_total(bought))}</strong></p>'
        '<a class="button" href="/checkout">To the checkout</a></section>'
    )
    ids = ",".join(product.item_id for product, _ in bought)
    return _page(
        frame,
        "Your cart",
        body + suggestion_box("cart", "Goes well with it", n=6, cart=ids) + tell("view_cart", _sale(bought)),
    )


def checkout_page(frame: Frame, bought: Bought) -> str:
    """The last look before an order. It asks for nothing personal: nothing here is for sale."""
    rows = "".join(f"<li>{count} × {escape(product.title)}</li>" for product, count in bought)
    body = (
        f'<section class="narrow"><h1 class="title">Checkout</h1><ul class="facts">{rows}</ul>'
        f'<p class="total">Together <strong>{money(_total(bought))}</strong></p><p>This is a sample shop: '
        "nothing is charged and nothing is sent.</p>"
        '<form method="post" action="/checkout"><button class="button">Place the order</button></form></section>'
    )
    return _page(frame, "Checkout", body + tell("begin_checkout", _sale(bought)))


def order_page(frame: Frame, order_id: str, bought: Bought) -> str:
    """Thank you. The order's id makes the purchase's `message_id`, so that a reload does not sell twice."""
    body = (
        f'<section class="narrow"><h1 class="title">Thank you</h1><p class="lead">Order {escape(order_id)} over '
        f"{money(_total(bought))} is on its way, in spirit.</p>"
        '<a class="button" href="/">Back to the shop</a></section>'
    )
    sold = {"message_id": f"purchase-{order_id}", "cart_id": order_id, **_sale(bought)}
    more = suggestion_box("order-confirmation", "For next time", n=6)
    return _page(frame, "Thank you", body + tell("purchase", sold) + more)


def missing_page(frame: Frame) -> str:
    """What is not here, kindly."""
    body = '<section class="narrow"><h1 class="title">Not on our shelves</h1><p><a href="/">Back to the shop</a></p>'
    return _page(frame, "Not found", body + "</section>")


def category_path(name: str) -> str:
    """A category's address."""
    return f"/shelves/{quote(name, safe='')}"


def cards(products: Iterable[ShopProduct]) -> str:
    """Products as they stand on a shelf."""
    return "".join(
        f'<a class="card" href="{_path(product)}"><img src="{_image(product)}" alt="" loading="lazy">'
        f'<span class="name">{escape(product.title)}</span><span class="price">{money(product.price)}</span></a>'
        for product in products
    )


def suggestion_box(placement: str, heading: str, *, n: int, cart: str = "") -> str:
    """A box the snippet fills; hidden until it does, so that a silent API leaves no hole in the page."""
    in_cart = f' data-afterclick-cart="{escape(cart)}"' if cart else ""
    return (
        f'<section class="suggestions" data-afterclick-placement="{placement}" data-afterclick-n="{n}"{in_cart} hidden>'
        f'<h2>{heading}</h2><p class="why"></p><div class="grid" data-afterclick-items></div>{_CARD_TEMPLATE}</section>'
    )


def tell(event: str, fields: dict[str, Any]) -> str:
    """A script element that tells the snippet of one event."""
    return f"<script>{_call(event, fields)}</script>"


def resolve(cart: Cart, products: dict[str, ShopProduct]) -> Bought:
    """A cart's lines with their products; unknown ids fall away."""
    return [(products[line.item_id], line.quantity) for line in cart if line.item_id in products]


def money(amount: float) -> str:
    """An amount as the shop writes it."""
    return f"€{amount:,.2f}"


def _call(event: str, fields: dict[str, Any]) -> str:
    # Neither a `<` that could end the element nor a `'` that could end an attribute comes through.
    arguments = json.dumps([event, fields]).replace("<", "\\u003c").replace("'", "\\u0027").replace("&", "\\u0026")
    return f"afterclick(`track`,...{arguments})"


def _sale(bought: Bought) -> dict[str, Any]:
    return {**_items(bought), "value": _total(bought), "currency": CURRENCY}


def _items(bought: Bought) -> dict[str, Any]:
    return {"items": [{"item_id": item.item_id, "quantity": count, "price": item.price} for item, count in bought]}


def _total(bought: Bought) -> float:
    return round(sum(product.price * count for product, count in bought), 2)


def _path(product: ShopProduct) -> str:
    return f"/products/{product.item_id}"


def _image(product: ShopProduct) -> str:
    return f"/images/{product.item_id}.svg"


def _picture(product: ShopProduct) -> str:
    return f'<a href="{_path(product)}"><img src="{_image(product)}" alt="{escape(product.title)}"></a>'


def _page(frame: Frame, title: str, body: str) -> str:
    links = "".join(f'<a href="{category_path(name)}">{escape(name)}</a>' for name in frame.categories)
    options = json.dumps({"key": frame.snippet.write_key, "endpoint": frame.snippet.api_url, "currency": CURRENCY})
    loader = f"{STUB}afterclick('init',{options.replace('<', chr(92) + 'u003c')})"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/static/shop.css">'
        '<link rel="icon" href="/static/icon.svg">'
        f"<script>{loader}</script>"
        f'<script async src="{escape(frame.snippet.api_url)}/snippet.js"></script>'
        '<script defer src="/static/shop.js"></script></head><body>'
        f'<header><a class="logo" href="/">{escape(SHOP_NAME)}</a><form class="search" action="/search">'
        '<input name="q" type="search" placeholder="Search" aria-label="Search"></form>'
        f'<a class="basket" href="/cart">Cart <b>{frame.cart_count}</b></a></header>'
        f'<nav class="shelves">{links}</nav><main>{body}</main>'
        "<footer><p>A sample shop of Afterclick. Nothing here is for sale; every suggestion is real.</p></footer>"
        "</body></html>"
    )
