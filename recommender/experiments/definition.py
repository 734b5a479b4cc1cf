"""What an experiment is: its placements, its variants with their shares, and what each variant changes."""

from typing import Annotated, Literal

import msgspec

from ingest.attribution import INTERLEAVED
from recommender.errors import RecommenderError
from recommender.requests import Logic

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern="^[a-z0-9][a-z0-9-]*$")]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
Status = Literal["draft", "running", "stopped"]

_SHARES_SLACK = 1e-9
_TAKEN = frozenset({"holdout", INTERLEAVED})


class ExperimentRefusedError(RecommenderError):
    """The editor's fault: an experiment that cannot be run; says what was wanted, what came and what to do."""

    def __init__(self, *, wanted: str, got: str, next_step: str) -> None:
        super().__init__(f"wanted {wanted}; got {got}; {next_step}")
        self.wanted = wanted
        self.got = got
        self.next_step = next_step


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One arm. What is None stays as it is without the experiment.

    Attributes:
        share: of the browsers in the experiment, 0 to 1; the shares of all variants sum to 1.
        logic: how to choose, in place of the placement's.
        diversity: 0 (none) to 1, in place of the request's.
    """

    name: Name
    share: Share
    logic: Logic | None = None
    diversity: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A question put to the visitors. The first variant is the control.

    Attributes:
        id: names it for ever; it salts the hash that divides the browsers, so that experiments divide independently.
        placements: where it runs; empty: everywhere.
        method: `ab` shows each browser one variant's list; `interleaving` shows the lists of two variants drafted
            into one and asks which list the clicks fall on: it needs fewer visitors and says nothing of revenue.
        holdout: share of browsers, 0 to 0.5, that are in no variant and get what is popular, so that the whole of what
            suggestions earn can be measured.
        revenue_cap: what one visitor may count for at most, in the shop's currency; outliers decide otherwise.
        relative_lift: the smallest lift of the click rate worth finding.
        base_rate: the control's click rate as expected; with the lift it makes the planned size, which is fixed before
            the first look.
    """

    id: Name
    variants: Annotated[tuple[Variant, ...], msgspec.Meta(min_length=1, max_length=8)]
    placements: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    status: Status = "draft"
    method: Literal["ab", "interleaving"] = "ab"
    holdout: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.0
    revenue_cap: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    relative_lift: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    base_rate: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.05
    description: Annotated[str, msgspec.Meta(max_length=500)] = ""

    @property
    def control(self) -> Variant:
        """What the others are compared with."""
        return self.variants[0]


def check_experiment(experiment: Experiment) -> Experiment:
    """`experiment`, when it can be run.

    Raises:
        ExperimentRefusedError: names that repeat, shares that do not sum to 1, or an interleaving of other than two.
    """
    names = [variant.name for variant in experiment.variants]
    if len(set(names)) != len(names) or _TAKEN & set(names):
        raise ExperimentRefusedError(
            wanted="variants of different names, none of them `holdout` or `interleaved`",
            got=", ".join(names),
            next_step="rename one; the holdout is made by the field `holdout`",
        )
    shares = sum(variant.share for variant in experiment.variants)
    if abs(shares - 1.0) > _SHARES_SLACK:
        raise ExperimentRefusedError(
            wanted="shares that sum to 1", got=f"{shares:g}", next_step="the holdout's share is not part of this sum"
        )
    if experiment.method == "interleaving" and len(names) != 2:
        raise ExperimentRefusedError(
            wanted="two variants to interleave", got=str(len(names)), next_step="use the method `ab` for more"
        )
    return experiment
