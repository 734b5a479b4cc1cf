"""What rises: items looked at more, just now, than their own past promises."""

from recommender.models.popularity import Popularity
from recommender.models.protocol import NOTHING_BLOCKED, Blocked, Prefix, Scored
from recommender.scan import best_of


class Trends(Popularity):
    """The counts of `Popularity`, ranked by how far the fast one is above the slow; what does not rise is silent."""

    name = "trends"

    def scores(self, prefix: Prefix, n: int, blocked: Blocked = NOTHING_BLOCKED) -> Scored:
        """The rows that rise most as of the newest event; `prefix` says nothing here."""
        return best_of(self.trending(self._newest_ms), n, blocked, above=0.0)
