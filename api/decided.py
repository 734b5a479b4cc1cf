"""What the merchandiser decided, as answers need it: running experiments, placements, and what signs an answer."""

from collections.abc import Callable, Sequence

from ingest.attribution import Names
from ingest.recommendation_token import TokenCodec, TokenRefusedError
from recommender.experiments.running import Assignment, RunningExperiments, variant_labels
from recommender.merchandising import Ledger
from recommender.model_version import version_time_ms
from recommender.placements import Placements
from recommender.rule_set import RuleSet


class Decided:
    """Follows the ledger.

    Args:
        names: shared with the collector, which reads the tokens.
        placements: the settings' own; the ledger's are laid over them.
        use_rules: the recommender's.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        secret: bytes,
        names: Names,
        placements: Placements,
        use_rules: Callable[[RuleSet], None],
    ) -> None:
        self._ledger = ledger
        self._codec = TokenCodec(secret)
        self._names = names
        self._placements = placements
        self._use_rules = use_rules
        self._rules = 0
        self._running = RunningExperiments()
        names.learn(placements)

    def changed(self, kind: str) -> None:
        """Take a change of the ledger over."""
        documents = {document.id: document.body for document in self._ledger.documents(kind)}
        if kind == "rule":
            self._rules = self._ledger.revision(kind)
            self._use_rules(RuleSet(documents.values()))
        elif kind == "placement":
            self._placements.decide(documents)
            self._names.learn(documents)
        elif kind == "experiment":
            self._running = RunningExperiments(documents.values())
            self._names.learn(variant_labels(documents.values()))

    def assign(self, placement: str, visitor_key: bytes) -> Assignment | None:
        """The running experiment's part for this browser; None where none runs."""
        return self._running.assignment(placement, visitor_key)

    def sign(
        self,
        item_ids: Sequence[str],
        *,
        served_ms: int,
        visitor_key: bytes,
        placement: str,
        assignment: Assignment | None,
        model_version: str | None,
        teams: Sequence[int] = (),
    ) -> str:
        """The answer's `recommendation_id`. `teams`: by item, whose list it came from, where two were drafted."""
        variant, other_variant = assignment.team_labels if assignment is not None else ("", "")
        return self._codec.make(
            item_ids,
            served_ms=served_ms,
            visitor_key=visitor_key,
            placement=placement,
            variant=variant,
            other_variant=other_variant,
            teams=teams,
            rules=self._rules,
            model_ms=version_time_ms(model_version) if model_version is not None else 0,
        )

    def version_of_placement(self, name: str) -> int:
        """The version of the decision about a place; 0: nothing was ever decided."""
        document = self._ledger.get("placement", name)
        return document.version if document is not None else 0

    def served_ms(self, recommendation_id: str) -> int | None:
        """When the answer was made; None for what is no id of ours."""
        try:
            return self._codec.read(recommendation_id).served_ms
        except TokenRefusedError:
            return None
