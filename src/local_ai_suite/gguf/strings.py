"""Stepping over long arrays of strings: the one loop of the reader that has to be fast."""

from __future__ import annotations

import struct

_LENGTH = struct.Struct("<Q").unpack_from


def skip_strings(data: bytearray, at: int, count: int) -> tuple[int, int]:
    """Step over up to ``count`` strings that lie whole in ``data`` from ``at``.

    Returns how many were stepped over and where the next one starts.
    """
    end = len(data)
    last_length = end - 8
    length_at = _LENGTH  # a local name: this loop runs 300,000 times for a 150k-token vocabulary
    for done in range(count):
        if at > last_length:
            return done, at
        after = at + 8 + length_at(data, at)[0]
        if after > end:
            return done, at
        at = after
    return count, at
