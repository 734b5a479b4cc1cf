"""Make the trees that a new shop begins with: `recommender/ranker/default_trees.npz`.

Data: only what the licence allows to ship figures of: the training part of `serenade_example` (bol.com, Apache-2.0),
from the folder named by AFTERCLICK_DATASETS; whole, and again with a third of its sessions, so that the trees see a
smaller shop too; without and with consecutive repeats, for shops differ in what a repeated view is. Seeded: the same
data make the same file. Run: `python benchmarks/make_default_ranker.py`
"""

import os
from pathlib import Path

import msgspec
import numpy as np

import recommender.ranker
from recommender.evaluation.builders import ModelParameters, ranked_models
from recommender.evaluation.clicks import Spec, read_clicks
from recommender.evaluation.targets import training_events
from recommender.models.item_table import ItemTable
from recommender.models.protocol import Events
from recommender.ranker.training import RankerParameters, TrainingRows, fit_trees, gather_rows, joined
from recommender.ranker.trees import write_trees


def rows_of(file: Path, *, share: float, keep_repeats: bool) -> TrainingRows:
    items = ItemTable()
    events = training_events(read_clicks(Spec(file, ("train",)), keep_repeats=keep_repeats), items)
    # The net is trained for one shop alone: a new shop has none.
    parameters = ModelParameters(ranker_attention=False)
    if keep_repeats:
        parameters = msgspec.structs.replace(
            parameters,
            session_knn=msgspec.structs.replace(parameters.session_knn, keep_repeats=True),
            transitions=msgspec.structs.replace(parameters.transitions, keep_repeats=True),
        )
    drawn = np.random.default_rng(1).random(int(events.sessions.max()) + 1) < share
    kept = Events(*(column[drawn[events.sessions]] for column in events))
    return gather_rows(
        kept,
        lambda past: ranked_models(past, len(items), parameters),
        RankerParameters(questions_max=3_000),
        items=len(items),
        keep_repeats=keep_repeats,
    )


def main() -> None:
    file = Path(os.environ.get("AFTERCLICK_DATASETS", "../shared/data")) / "serenade_example" / "events.parquet"
    tables = [rows_of(file, share=share, keep_repeats=repeats) for share in (1.0, 1 / 3) for repeats in (False, True)]
    table = joined(tables)
    target = Path(recommender.ranker.__file__).with_name("default_trees.npz")
    write_trees(target, fit_trees(table, RankerParameters(leaf_rows_min=1_000)))
    print(f"default ranker questions={len(table.sizes)} rows={len(table.labels)} bytes={target.stat().st_size}")


if __name__ == "__main__":
    main()
