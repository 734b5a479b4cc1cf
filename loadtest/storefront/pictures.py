"""Draw a product's picture: one of our own shapes in one of our own palettes, as SVG."""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from loadtest.storefront.products import ShopProduct


class Palette(NamedTuple):
    """Four colours of a picture: the thing, its shade, its light, and the wall behind it."""

    main: str
    shade: str
    light: str
    wall: str


PALETTES = {
    "clay": Palette("#c4764e", "#96532f", "#ecc9b2", "#f6e9e0"),
    "moss": Palette("#71885a", "#4d6339", "#ccd9bb", "#ebf0e4"),
    "ocean": Palette("#4b7c99", "#2f566f", "#bcd6e4", "#e4eef4"),
    "sand": Palette("#d3b48b", "#a98553", "#f3e6cf", "#f8f2e7"),
    "plum": Palette("#87607f", "#61405b", "#dcc6d8", "#f1e9ef"),
    "slate": Palette("#7b8893", "#545f69", "#d3dae0", "#ecf0f2"),
    "sun": Palette("#e0aa3e", "#b07f1e", "#f8e3ae", "#fcf4df"),
    "rose": Palette("#cf7f86", "#a4565f", "#f3ced2", "#faecee"),
    "ink": Palette("#4a4f5c", "#2d313b", "#bfc4d0", "#e9eaee"),
    "mint": Palette("#7fb3a0", "#538673", "#cfe7de", "#e8f4ef"),
}
_OUTLINE = "#37322d"


def product_picture(product: ShopProduct) -> str:
    """The SVG document of a product, 200 by 200 units, with no text and nothing from elsewhere."""
    palette = PALETTES[product.colour]
    thing = (
        _shapes()[product.shape]
        .replace("{a}", palette.main)
        .replace("{b}", palette.shade)
        .replace("{c}", palette.light)
        .replace("{k}", _OUTLINE)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-30 -30 260 260" width="520" height="520">'
        f'<rect x="-30" y="-30" width="260" height="260" fill="{palette.wall}"/>'
        f'<ellipse cx="100" cy="184" rx="86" ry="11" fill="{palette.shade}" opacity=".16"/>{thing}</svg>'
    )


@cache
def _shapes() -> dict[str, str]:
    """Name to drawing, read once from `shapes.txt`; {a} {b} {c} {k} stand for main, shade, light and outline."""
    lines = files("loadtest.storefront").joinpath("shapes.txt").read_text("utf-8").splitlines()
    parts = (line.partition("|") for line in lines)
    return {name: drawing for name, _, drawing in parts}
