"""The kinds of documents on the log, and how each is read and checked."""

from typing import Final

import msgspec

from recommender.errors import RecommenderError
from recommender.experiments import Experiment, check_experiment
from recommender.merchandising.ledger import KindOf
from recommender.placements import Placement
from recommender.rules import Rule

_experiment_decoder = msgspec.json.Decoder(Experiment)
_placement_decoder = msgspec.json.Decoder(Placement)
_rule_decoder = msgspec.json.Decoder(Rule)


def decode_experiment(raw: bytes) -> Experiment:
    """A checked experiment.

    Raises:
        ValueError: it cannot be run; says why.
    """
    try:
        return check_experiment(_experiment_decoder.decode(raw))
    except RecommenderError as error:
        raise ValueError(str(error)) from error


KINDS: Final = (
    KindOf("experiment", decode_experiment, lambda experiment: experiment.id),
    KindOf("placement", _placement_decoder.decode, None),
    KindOf("rule", _rule_decoder.decode, lambda rule: rule.rule_id),
)
