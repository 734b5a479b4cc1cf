"""The two-way table between item ids and the dense rows that models number items by."""

from collections.abc import Iterable, Sequence


class ItemTable:
    """Ids in row order; a row, once given, is never taken away or given to another id."""

    def __init__(self, item_ids: Iterable[str] = ()) -> None:
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        for item_id in item_ids:
            self.add(item_id)

    def add(self, item_id: str) -> int:
        """The row of `item_id`, a new one at the end when it has none yet."""
        row = self._rows.get(item_id)
        if row is None:
            row = len(self._ids)
            self._rows[item_id] = row
            self._ids.append(item_id)
        return row

    def row(self, item_id: str) -> int | None:
        """The row of `item_id`, None when it has none."""
        return self._rows.get(item_id)

    def item_id(self, row: int) -> str:
        """The id in `row`.

        Raises:
            IndexError: no such row.
        """
        return self._ids[row]

    @property
    def ids(self) -> Sequence[str]:
        """Every id in row order: a live view, not to be changed."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._rows
