"""What the merchandiser decides, kept as a log: every change of it, who made it, and the table that follows from it."""

from recommender.merchandising.changes import Applied, Change, Outcome, decode_change, encode_change
from recommender.merchandising.ledger import Document, KindOf, Ledger
from recommender.merchandising.log import MerchandisingLog

__all__ = [
    "Applied",
    "Change",
    "Document",
    "KindOf",
    "Ledger",
    "MerchandisingLog",
    "Outcome",
    "decode_change",
    "encode_change",
]
