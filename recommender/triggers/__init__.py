"""Work for others that clicks give rise to: a cart left behind, a price that fell, an item that is back."""

from recommender.triggers.engagement import Engagement, decode_engagement, encode_engagement
from recommender.triggers.run import run_triggers
from recommender.triggers.settings import TriggerSettings

__all__ = ["Engagement", "TriggerSettings", "decode_engagement", "encode_engagement", "run_triggers"]
