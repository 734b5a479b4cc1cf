"""Two lists as one, so that each visitor judges both: team-draft interleaving.

Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?" (CIKM 2008).
"""

from collections.abc import Collection, Sequence
from random import Random
from typing import NamedTuple


class TeamDraft(NamedTuple):
    """The list shown, and for each place which list drafted it: 0 or 1."""

    item_ids: tuple[str, ...]
    teams: tuple[int, ...]


def team_draft(first: Sequence[str], second: Sequence[str], n: int, *, seed: int) -> TeamDraft:
    """At most `n` items: in each round both lists name their best item not yet taken, in an order that chance decides.

    Args:
        first, second: best first, no item twice in one; not modified.
        seed: derived from the request, so that the same answer can be made again.
    """
    chance = Random(seed)
    lists, at = (first, second), [0, 0]
    taken: dict[str, int] = {}
    while len(taken) < n:
        before = len(taken)
        order = (0, 1) if chance.random() < 0.5 else (1, 0)
        for team in order:
            while at[team] < len(lists[team]) and lists[team][at[team]] in taken:
                at[team] += 1
            if at[team] < len(lists[team]) and len(taken) < n:
                taken[lists[team][at[team]]] = team
        if len(taken) == before:
            break
    return TeamDraft(tuple(taken), tuple(taken.values()))


def credited_team(draft: TeamDraft, clicked: Collection[str]) -> int:
    """-1: the first list got more clicks, 1: the second, 0: as many each."""
    teams = [team for item_id, team in zip(draft.item_ids, draft.teams, strict=True) if item_id in clicked]
    second = sum(teams)
    first = len(teams) - second
    return (second > first) - (second < first)
