"""The ways recommending fails, and whose fault each is.

RecommenderError
├── SnapshotRefusedError    an operator's matter: a model file is truncated or altered; the last good one serves
└── DeltaRefusedError       our fault: an entry of the topic `model` cannot be read; skipped and counted
"""


class RecommenderError(Exception):
    """Root of everything `recommender` raises on purpose."""


class SnapshotRefusedError(RecommenderError):
    """A snapshot cannot be trusted; the message names the file, what was wanted and what came."""


class DeltaRefusedError(RecommenderError):
    """An entry of the topic `model` is not what the codec writes."""
