"""Products of a shop that does not exist, of any size, the same for the same seed."""

import math
import random
from typing import Any

ProductFacts = dict[str, Any]
"""`item_id`, `title`, `price`, `currency`, `category`, as `/v1/catalog` takes them."""

_ADJECTIVES = (
    "Amber", "Birch", "Blue", "Bold", "Brass", "Calm", "Classic", "Copper", "Coral", "Cosy", "Dusk", "Everyday",
    "Fern", "Fine", "Folding", "Golden", "Green", "Harbour", "Ivory", "Light", "Linen", "Little", "Maple", "Misty",
    "Modern", "Night", "Nordic", "Oak", "Olive", "Plain", "Quiet", "Red", "Round", "Rustic", "Sage", "Silver",
    "Slate", "Soft", "Striped", "Sunday", "Tall", "Travel", "Velvet", "Warm", "White", "Wide", "Wild", "Winter",
)  # fmt: skip
_NOUNS = (
    "Apron", "Backpack", "Bowl", "Candle", "Cardigan", "Chair", "Clock", "Coat", "Cup", "Cushion", "Desk", "Dress",
    "Duvet", "Earrings", "Frame", "Gloves", "Hat", "Headphones", "Jacket", "Jug", "Kettle", "Knife", "Lamp", "Mirror",
    "Mug", "Notebook", "Pan", "Pen", "Pillow", "Plant Pot", "Plate", "Puzzle", "Radio", "Rug", "Sandals", "Scarf",
    "Shelf", "Shirt", "Shoes", "Skirt", "Socks", "Sofa", "Speaker", "Stool", "Sweater", "Table", "Tent", "Toaster",
    "Towel", "Trousers", "Umbrella", "Vase", "Wallet", "Watch",
)  # fmt: skip


def synthetic_products(n: int, seed: int = 7) -> list[ProductFacts]:
    """`n` products in about sqrt(n)/2 categories; a category sells one kind of thing at prices around its own.

    Raises:
        ValueError: `n` < 1.
    """
    if n < 1:
        raise ValueError(f"n must be >= 1, got {n}")
    rng = random.Random(seed)
    categories = [_category(rng, at) for at in range(max(4, round(math.sqrt(n) / 2)))]
    return [_product(rng, at, categories[at % len(categories)]) for at in range(n)]


def _category(rng: random.Random, at: int) -> tuple[str, str, float]:
    """Name, noun and middle price of a category; the noun repeats only where there are more categories than nouns."""
    noun = _NOUNS[at % len(_NOUNS)]
    name = f"{noun}s" if not noun.endswith("s") else noun
    series = at // len(_NOUNS)
    return (f"{name} {series + 1}" if series else name, noun, math.exp(rng.uniform(math.log(6), math.log(180))))


def _product(rng: random.Random, at: int, category: tuple[str, str, float]) -> ProductFacts:
    name, noun, price_middle = category
    first, second = rng.sample(_ADJECTIVES, 2)
    return {
        "item_id": f"P{at:06d}",
        "title": f"{first} {second} {noun}",
        "price": round(price_middle * math.exp(rng.gauss(0.0, 0.35)), 2),
        "currency": "EUR",
        "category": name,
    }
