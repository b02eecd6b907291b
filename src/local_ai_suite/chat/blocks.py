"""Cut a Markdown text that is still being written into blocks that will not change any more."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_LIST = re.compile(r"^(?:\s{2,}\S|\s*(?:[-*+]|\d+[.)])\s)")


class Blocks:
    """``feed`` pieces; it returns whole blocks, and ``tail`` is the one being written.

    A block ends at an empty line outside of a code fence, unless a list goes on after it: its
    numbers would start again.
    """

    def __init__(self) -> None:
        self.tail = ""

    def feed(self, piece: str) -> list[str]:
        """Blocks that ``piece`` has completed, in order."""
        self.tail += piece
        done: list[str] = []
        while (end := self._end_of_block()) is not None:
            done.append(self.tail[:end].strip("\n"))
            self.tail = self.tail[end:]
        return [block for block in done if block]

    def close(self) -> str:
        """The last block."""
        last, self.tail = self.tail.strip("\n"), ""
        return last

    def _end_of_block(self) -> int | None:
        position, fence, in_list, begun = 0, "", False, False
        for line in self.tail.splitlines(keepends=True):
            position += len(line)
            if not line.endswith("\n"):
                return None
            match = _FENCE.match(line.rstrip("\n"))
            if fence:
                # Closed by the same sign, at least as long, with nothing after it.
                if match and match[1].startswith(fence) and not match[2].strip():
                    fence = ""
            elif line.strip():
                begun = True
                fence = match[1] if match else ""
                in_list = in_list or bool(_LIST.match(line))
            elif begun and (not in_list or self._list_is_over(position)):
                return position
        return None

    def _list_is_over(self, position: int) -> bool:
        """False also while nobody knows: the next line is not whole."""
        lines = self.tail[position:].splitlines(keepends=True)
        following = next((line for line in lines if line.strip()), "")
        return following.endswith("\n") and not _LIST.match(following)
