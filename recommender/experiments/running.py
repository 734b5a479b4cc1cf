"""The experiments that run now, compiled for answers: which one a placement is in, and what a browser gets there."""

from collections.abc import Iterable
from typing import NamedTuple

from ingest.attribution import INTERLEAVED
from recommender.experiments.assignment import HOLDOUT, assigned_variant
from recommender.experiments.definition import Experiment, Variant


class Assignment(NamedTuple):
    """What a browser gets at a placement.

    Attributes:
        variant: None in the holdout.
        other: whose list is drafted into the same answer, where the experiment interleaves.
    """

    experiment_id: str
    variant: Variant | None
    other: Variant | None = None

    @property
    def variant_name(self) -> str:
        """As reports call it."""
        if self.other is not None:
            return INTERLEAVED
        return self.variant.name if self.variant is not None else HOLDOUT

    @property
    def label(self) -> str:
        """As records call it: `experiment/variant`."""
        return f"{self.experiment_id}/{self.variant_name}"

    @property
    def team_labels(self) -> tuple[str, str]:
        """As tokens call the variants: the one, and the other that is drafted with it, empty without one."""
        if self.variant is None or self.other is None:
            return self.label, ""
        return f"{self.experiment_id}/{self.variant.name}", f"{self.experiment_id}/{self.other.name}"


class RunningExperiments:
    """Looked up by every answer; made anew when an experiment changes.

    Where two experiments want the same placement the one whose id comes first has it: two at once could not be told
    apart there.
    """

    def __init__(self, experiments: Iterable[Experiment] = ()) -> None:
        self._running = sorted((e for e in experiments if e.status == "running"), key=lambda e: e.id)
        self._by_placement: dict[str, Experiment] = {}
        self._variants = {(e.id, variant.name): variant for e in self._running for variant in e.variants}
        self._everywhere: Experiment | None = None
        for experiment in self._running:
            for placement in experiment.placements:
                self._by_placement.setdefault(placement, experiment)
            if not experiment.placements and self._everywhere is None:
                self._everywhere = experiment

    def assignment(self, placement: str, visitor_key: bytes) -> Assignment | None:
        """None where no experiment runs. `visitor_key`: 16 bytes, of the browser."""
        experiment = self._by_placement.get(placement, self._everywhere)
        if experiment is None:
            return None
        name = assigned_variant(experiment, visitor_key)
        if experiment.method == "interleaving" and name != HOLDOUT:
            return Assignment(experiment.id, *experiment.variants)
        return Assignment(experiment.id, self._variants.get((experiment.id, name)))


def variant_labels(experiments: Iterable[Experiment]) -> list[str]:
    """Every `experiment/variant` there may be, the holdout's and the interleaved one's too."""
    return [
        f"{experiment.id}/{name}"
        for experiment in experiments
        for name in (*(variant.name for variant in experiment.variants), HOLDOUT, INTERLEAVED)
    ]
