"""A small shop whose suggestions come from Afterclick and whose clicks go there; for demonstrations and tests."""

from loadtest.storefront.app import build_shop, run_shop
from loadtest.storefront.products import (
    TASTES,
    ShopProduct,
    shop_catalogue,
    shop_categories,
    shop_products,
)

__all__ = ["TASTES", "ShopProduct", "build_shop", "run_shop", "shop_catalogue", "shop_categories", "shop_products"]
