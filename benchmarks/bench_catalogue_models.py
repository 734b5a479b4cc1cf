"""Do bought-together, content similarity and buy-again each do something that the click models do not?

Questions: (1) given a basket so far, is the next item in bought-together's 20, against popularity, transitions and
session kNN taught the same baskets? (2) of items that nobody clicked yet, which does a visitor look at next: content's
20 against 20 at random, and does content in the blend hurt the others? (3) which of what a customer bought before is in
the next order: buy-again's 10 against the most often and the latest bought. Data: Ta Feng baskets, UCI e-shop clothing
and REES46's sample, UCI Online Retail, from AFTERCLICK_DATASETS. Settings are the committed defaults.

    python benchmarks/bench_catalogue_models.py [bought-together] [content] [buy-again]
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import polars as pl

from feature_store.kinds import Kind
from ingest.catalog import Product
from recommender.blend import BlendParameters, blend, length_class
from recommender.models.bought_together import BoughtTogether
from recommender.models.buy_again import BuyAgain
from recommender.models.content import Content
from recommender.models.item_table import ItemTable
from recommender.models.popularity import Popularity
from recommender.models.protocol import Events, Model, Prefix
from recommender.models.session_knn import SessionKnn
from recommender.models.transitions import Transitions

FOLDER = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data"))
SEED, K = 5, 20
Answer = Callable[[Prefix, np.ndarray], np.ndarray]


def hits(name: str, answer: Answer, questions: list[tuple[Prefix, set[int]]], items: int, k: int = K) -> None:
    blocked = np.zeros(items, np.bool_)
    ranks, took_s = [], time.process_time()
    for prefix, labels in questions:
        blocked[prefix.rows] = True
        found = answer(prefix, blocked)[:k].tolist()
        blocked[prefix.rows] = False
        ranks.append(next((place for place, row in enumerate(found) if row in labels), -1))
    cpu_us = (time.process_time() - took_s) / len(questions) * 1e6
    hit = np.array(ranks) >= 0
    gain = hit / np.maximum(1.0, np.array(ranks) + 1.0)
    error = hit.std() / np.sqrt(len(hit))
    print(f"{name} hr@{k}={hit.mean():.4f} se={error:.4f} mrr@{k}={gain.mean():.4f} n={len(hit)} cpu_us={cpu_us:.0f}")


def asks(model: Model, n: int = K) -> Answer:
    return lambda prefix, blocked: model.scores(prefix, n, blocked).rows


def bought_together() -> None:
    baskets = pl.read_parquet(FOLDER / "coder_tafeng/sessions.parquet")
    items = ItemTable()
    baskets = baskets.with_columns(row=pl.Series([items.add(str(item)) for item in baskets["item"]], dtype=pl.Int32))
    train = baskets.filter(pl.col("split") == "train")
    times_ms = np.linspace(1, 120 * 86_400_000, len(train)).astype(np.int64)
    events = Events(
        train["session"].rank("dense").cast(pl.Int64).to_numpy() - 1,
        train["row"].to_numpy(),
        np.full(len(train), Kind.PURCHASE, np.uint8),
        times_ms,
    )
    test = baskets.filter(pl.col("split") == "test").group_by("session", maintain_order=True).agg("row")
    questions = []
    for rows in test["row"].to_list()[:4_000]:
        if len(set(rows)) >= 4:
            half = len(rows) // 2
            known = np.array(rows[:half], np.int32)
            prefix = Prefix(known, np.full(half, Kind.VIEW, np.uint8), np.full(half, times_ms[-1]))
            labels = set(rows[half:]) - set(rows[:half])
            if labels:
                questions.append((prefix, labels))
    for model in (Popularity(), Transitions(), SessionKnn(), BoughtTogether()):
        started_s = time.process_time()
        model.update_many(events)
        took_s = time.process_time() - started_s
        hits(f"ta-feng half-basket model={model.name} learn_s={took_s:.1f}", asks(model), questions, len(items))


def products(frame: pl.DataFrame, fields: Callable[[dict], dict]) -> dict[str, Product]:
    return {str(row["item"]): Product(str(row["item"]), **fields(row)) for row in frame.unique("item").to_dicts()}


def content() -> None:
    clothing = pl.read_parquet(FOLDER / "eshop_clothing/events.parquet").with_columns(
        ts_ms=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    _cold("eshop-clothing", clothing.head(80_000), lambda row: {
        "category": f"category {row['category']}", "price": float(row["price"]), "title": f"colour{row['colour']}",
    })  # fmt: skip
    rees = pl.read_parquet(FOLDER / "rees46_sample/events.parquet")
    _cold("rees46", rees, lambda row: {
        "category": (row["category"] or str(row["category_id"])).replace(".", " > "), "brand": row["brand"],
        "price": row["price"],
    })  # fmt: skip


def _cold(name: str, frame: pl.DataFrame, fields: Callable[[dict], dict]) -> None:
    described = products(frame, fields)
    items = ItemTable(sorted(described))
    frame = frame.sort("ts_ms", maintain_order=True).with_columns(
        row=pl.Series(
            [items.row(str(item)) for item in frame.sort("ts_ms", maintain_order=True)["item"]], dtype=pl.Int32
        )
    )
    cold = np.zeros(len(items), np.bool_)
    cold[np.random.default_rng(SEED).choice(len(items), len(items) // 5, replace=False)] = True
    cut = frame["ts_ms"][int(len(frame) * 0.7)]
    sessions = frame.group_by("session", maintain_order=True).agg("row", "ts_ms")
    train, test = (
        sessions.filter(pl.col("ts_ms").list.last() < cut),
        sessions.filter(pl.col("ts_ms").list.first() >= cut),
    )
    knn, transitions, model = SessionKnn(), Transitions(), Content()
    for row, item in enumerate(items.ids):
        model.describe(row, described[item])
    for number, (rows, times_ms) in enumerate(train.select("row", "ts_ms").iter_rows()):
        for row, time_ms in zip(rows, times_ms, strict=True):
            if not cold[row]:
                knn.update(number, row, Kind.VIEW, time_ms)
                transitions.update(number, row, Kind.VIEW, time_ms)
    asked = list(_questions(test))[:6_000]
    unclicked = [question for question in asked if all(cold[row] for row in question[1])]
    warm = [question for question in asked if not any(cold[row] for row in question[1])]
    rng = np.random.default_rng(SEED)
    hits(
        f"{name} cold model=random", lambda _, blocked: rng.permutation(np.flatnonzero(~blocked)), unclicked, len(items)
    )
    hits(f"{name} cold model=content", asks(model), unclicked, len(items))
    hits(
        f"{name} cold model=content-among-cold", lambda p, b: model.scores(p, K, b | ~cold).rows, unclicked, len(items)
    )
    hits(f"{name} warm model=content", asks(model), warm, len(items))
    for weight in (0.0, 0.1, 0.3):
        hits(f"{name} warm model=blend content={weight}", _mixed(knn, transitions, model, weight), warm, len(items))
        hits(
            f"{name} cold model=blend content={weight}", _mixed(knn, transitions, model, weight), unclicked, len(items)
        )


def _mixed(knn: Model, transitions: Model, model: Model, weight: float) -> Answer:
    parameters = BlendParameters()

    def answer(prefix: Prefix, blocked: np.ndarray) -> np.ndarray:
        place = length_class(len(prefix.rows))
        weights = [parameters.weights[member.name][place] for member in (knn, transitions)]
        lists = [member.scores(prefix, 100, blocked) for member in (knn, transitions, model)]
        return blend(lists, [*weights, weight], K).rows

    return answer


def _questions(sessions: pl.DataFrame) -> Iterable[tuple[Prefix, set[int]]]:
    for rows, times_ms in sessions.select("row", "ts_ms").iter_rows():
        for end in range(1, len(rows)):
            if rows[end] not in rows[:end]:
                known = np.array(rows[:end], np.int32)
                yield Prefix(known, np.full(end, Kind.VIEW, np.uint8), np.array(times_ms[:end], np.int64)), {rows[end]}


def buy_again() -> None:
    frame = pl.read_parquet(sorted((FOLDER / "uci_online_retail").glob("*.parquet"))[0])
    frame = frame.filter(pl.col("event") == "transaction", pl.col("visitor").is_not_null()).sort(
        "ts_ms", maintain_order=True
    )
    items, buyers = ItemTable(), ItemTable()
    rows = np.array([items.add(str(item)) for item in frame["item"]], np.int32)
    numbers = np.array([buyers.add(str(visitor)) for visitor in frame["visitor"]], np.int64)
    times_ms = frame["ts_ms"].to_numpy()
    cut = int(len(rows) * 0.7)
    model = BuyAgain()
    model.update_many(Events(numbers[:cut], rows[:cut], np.full(cut, Kind.PURCHASE, np.uint8), times_ms[:cut]))
    questions = []
    # Settings were chosen on the buyers of even numbers.
    for buyer in range(1, len(buyers), 2):
        own = np.flatnonzero(numbers == buyer)
        orders = np.unique(times_ms[own[own >= cut]])
        if len(orders) == 0 or own[0] >= cut:
            continue
        before = own[times_ms[own] < orders[0]][-100:]
        labels = set(rows[own[times_ms[own] == orders[0]]].tolist()) & set(rows[before].tolist())
        if labels:
            kinds = np.full(len(before), Kind.PURCHASE, np.uint8)
            questions.append((Prefix(rows[before], kinds, times_ms[before]), labels, int(orders[0])))
    _repurchases("latest", lambda prefix, _: list(dict.fromkeys(prefix.rows[::-1].tolist())), questions)
    _repurchases("most-often", lambda prefix, _: _most_often(prefix), questions)
    _repurchases("buy-again", lambda prefix, now_ms: model.due(prefix, now_ms, 10).rows.tolist(), questions)


def _most_often(prefix: Prefix) -> list[int]:
    rows, counts = np.unique(prefix.rows, return_counts=True)
    newest = {int(row): place for place, row in enumerate(prefix.rows)}
    return sorted(rows.tolist(), key=lambda row: (-counts[rows == row][0], -newest[row]))


def _repurchases(name: str, answer: Callable[[Prefix, int], list[int]], questions: list) -> None:
    found = [
        len(set(answer(prefix, now_ms)[:10]) & labels) / min(10, len(labels)) for prefix, labels, now_ms in questions
    ]
    error = np.std(found) / np.sqrt(len(found))
    print(f"online-retail next-order model={name} recall@10={np.mean(found):.4f} se={error:.4f} n={len(found)}")


PARTS = {"bought-together": bought_together, "content": content, "buy-again": buy_again}


if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
