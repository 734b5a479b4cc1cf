"""Texts as codes, so that comparing a column of them is comparing numbers."""

MISSING_TEXT = 0
"""The code of a text that is not known."""
UNKNOWN_TEXT = -1
"""The code of a text that no item has."""


class Texts:
    """Each different text has one code while something holds it; a code let go by all is given to the next text.

    Without that a shop that rewrites its titles every night would fill the memory with old ones.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._texts: list[str] = [""]
        self._holders: list[int] = [0]
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._codes)

    def code(self, text: str) -> int:
        """The code of `text`, or `UNKNOWN_TEXT`."""
        return self._codes.get(text, UNKNOWN_TEXT)

    def text(self, code: int) -> str:
        """What `code` stands for."""
        return self._texts[code]

    def taken(self, text: str) -> int:
        """The code of `text`, held once more from now on."""
        code = self._codes.get(text)
        if code is None:
            code = self._coded(text)
        self._holders[code] += 1
        return code

    def let_go(self, code: int) -> None:
        """Held once less."""
        if code == MISSING_TEXT:
            return
        self._holders[code] -= 1
        if self._holders[code] == 0:
            del self._codes[self._texts[code]]
            self._texts[code] = ""
            self._free.append(code)

    def _coded(self, text: str) -> int:
        if self._free:
            code = self._free.pop()
            self._texts[code] = text
        else:
            code = len(self._texts)
            self._texts.append(text)
            self._holders.append(0)
        self._codes[text] = code
        return code
