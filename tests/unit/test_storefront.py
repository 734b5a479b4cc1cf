import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from ingest.catalog import Product
from loadtest.storefront import TASTES, build_shop, shop_catalogue, shop_categories, shop_products
from loadtest.storefront.cart import (
    CART_LINES_MAX,
    Line,
    Orders,
    decode_cart,
    encode_cart,
    with_one_more,
    without,
)
from loadtest.storefront.pages import tell
from loadtest.storefront.pictures import product_picture

item_ids = st.from_regex(r"[A-Z]{1,3}-[0-9]{1,4}", fullmatch=True)
carts = st.lists(item_ids, max_size=60).map(lambda ids: _filled(ids))


def _filled(ids: list[str]) -> tuple[Line, ...]:
    cart: tuple[Line, ...] = ()
    for item_id in ids:
        cart = with_one_more(cart, item_id)
    return cart


def test_every_product_is_a_product_to_the_catalogue() -> None:
    products = [msgspec.convert(wire, Product) for wire in shop_catalogue("http://shop.test")]

    assert 60 <= len(products) <= 200
    assert len({product.item_id for product in products}) == len(products)
    assert {product.available for product in products} == {True, False}
    assert products[0].image == "http://shop.test/images/FW-001.svg"


def test_every_taste_is_made_of_shelves_and_every_shelf_is_to_somebodys_taste() -> None:
    wanted = {category for categories in TASTES.values() for category in categories}

    assert wanted == set(shop_categories())


def test_every_product_has_a_picture_of_its_own_that_loads_nothing() -> None:
    pictures = {product_picture(product) for product in shop_products()}

    assert len(pictures) > 100
    assert all("href" not in picture and "{" not in picture for picture in pictures)


@given(carts)
def test_a_cart_survives_its_cookie(cart: tuple[Line, ...]) -> None:
    assert decode_cart(encode_cart(cart)) == cart
    assert len(cart) <= CART_LINES_MAX


@given(st.text(max_size=200))
def test_any_cookie_is_some_cart(cookie: str) -> None:
    cart = decode_cart(cookie)

    assert all(1 <= line.quantity <= 99 for line in cart)


@given(carts, item_ids)
def test_what_is_taken_out_is_gone(cart: tuple[Line, ...], item_id: str) -> None:
    assert all(line.item_id != item_id for line in without(with_one_more(cart, item_id), item_id))


def test_the_oldest_order_is_forgotten_first() -> None:
    orders = Orders(orders_max=2)

    for order_id in ("a", "b", "c"):
        orders.place(order_id, (Line("FW-001", 1),))

    assert list(orders.carts) == ["b", "c"]


def test_what_a_visitor_searches_for_cannot_break_out_of_the_page() -> None:
    told = tell("search", {"search_term": "</script><script>alert('x')//"})

    assert told.count("<") == 2
    assert "'" not in told


@pytest.mark.parametrize("path", ["/", "/cart", "/shelves/Coffee%20%26%20Tea", "/products/FW-001", "/search?q=mug"])
def test_every_page_names_no_host_but_the_apis(path: str) -> None:
    page = TestClient(build_shop("http://api.test", "wk")).get(path)

    assert page.status_code == 200
    assert page.text.count("http://") == page.text.count("http://api.test") > 0
    assert "https://" not in page.text


def test_a_cart_is_filled_ordered_and_empty_again() -> None:
    client = TestClient(build_shop("http://api.test", "wk"))

    cart = client.post("/cart/add", data={"item_id": "FW-001"})
    thanks = client.post("/checkout")

    assert "Cast-iron skillet" in cart.text
    assert f"purchase-{thanks.url.path.rpartition('/')[2]}" in thanks.text
    assert "Still empty" in client.get("/cart").text


@pytest.mark.parametrize("path", ["/nowhere", "/products/FW-999", "/shelves/Hats", "/orders/x", "/images/x.svg"])
def test_what_is_not_there_is_a_404(path: str) -> None:
    assert TestClient(build_shop("http://api.test", "wk")).get(path).status_code == 404


def test_what_is_sold_out_cannot_be_bought() -> None:
    client = TestClient(build_shop("http://api.test", "wk"))

    refused = client.post("/cart/add", data={"item_id": "FW-072"})

    assert refused.status_code == 404
    assert "Still empty" in client.get("/cart").text
