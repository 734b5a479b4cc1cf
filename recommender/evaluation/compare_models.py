"""Two models on the same training and the same targets, and whether their difference is more than chance."""

from typing import Any

import msgspec

from recommender.evaluation.comparison import Difference, paired_differences
from recommender.evaluation.outcome import Outcome, outcome_of
from recommender.evaluation.run import EvaluationOptions, Prepared, prepare, rank_all, trained_model


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """`differences` by figure; a gain above 0 is `against`'s over `options.model`."""

    options: EvaluationOptions
    against: str
    differences: dict[str, Difference]
    targets: int

    def to_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        return {
            "first": self.options.model,
            "second": self.against,
            "train": self.options.train,
            "test": self.options.test if self.options.pairs is None else self.options.pairs,
            "holdout": self.options.holdout,
            "k": self.options.k,
            "targets": self.targets,
            "differences": msgspec.to_builtins(self.differences),
        }


def run_comparison(options: EvaluationOptions, against: str) -> ComparisonReport:
    """Train `options.model` and `against` on one file and ask both every target of another.

    Raises:
        EvaluationInputError: as `run_evaluation`.
    """
    prepared = prepare(options)
    first, second = (_outcome(name, options, prepared) for name in (options.model, against))
    return ComparisonReport(
        options=options,
        against=against,
        differences=paired_differences(first.values, second.values, first.clusters),
        targets=len(first.ranks),
    )


def _outcome(name: str, options: EvaluationOptions, prepared: Prepared) -> Outcome:
    model = trained_model(name, prepared, options)
    lists = rank_all(model, prepared.targets, k=options.k, filler=prepared.filler)
    return outcome_of(lists, prepared.targets, prepared.events, items=len(prepared.items))
