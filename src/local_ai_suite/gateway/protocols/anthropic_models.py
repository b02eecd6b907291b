"""The models in Anthropic's shape, for who sends ``anthropic-version``.

``GET /v1/models`` is OpenAI's and Anthropic's path alike, and the header tells which one is meant:
Anthropic's SDKs send it always. The shapes are those of anthropic's ``types.ModelInfo`` and
``pagination.SyncPage`` (2.12).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from .errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION_HEADER = b"anthropic-version"
_LISTED, _MOST_LISTED = 20, 1000


def model(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One model, of its entry in ``/v1/models``."""
    return {
        "type": "model",
        "id": entry["id"],
        "display_name": entry["id"],
        "created_at": datetime.fromtimestamp(entry["created"], UTC).isoformat(timespec="seconds"),
        "lifecycle": "active",
        "max_input_tokens": entry.get("max_input_tokens"),
        "max_tokens": entry.get("max_output_tokens"),
    }


def listed(entries: Sequence[Mapping[str, Any]], query: str) -> dict[str, Any]:
    """The page of the list that ``query`` (of the URL) asks for. Raises Refused."""
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit = asked.get("limit", str(_LISTED))
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_LISTED:
        raise Refused(f"limit must be a number from 1 to {_MOST_LISTED}.", "limit")
    most = int(limit)
    ids = [str(entry["id"]) for entry in entries]
    if (before := asked.get("before_id")) is not None:
        end = _place(ids, before, "before_id")
        begin = max(0, end - most)
        more = begin > 0
    else:
        after = asked.get("after_id")
        begin = 0 if after is None else _place(ids, after, "after_id") + 1
        end = min(len(ids), begin + most)
        more = end < len(ids)
    return {
        "data": [model(entry) for entry in entries[begin:end]],
        "first_id": ids[begin] if begin < end else None,
        "last_id": ids[end - 1] if begin < end else None,
        "has_more": more,
    }


def _place(ids: list[str], wanted: str, where: str) -> int:
    try:
        return ids.index(wanted)
    except ValueError as exc:
        raise Refused(f"{where}: there is no model {wanted!r}.", where) from exc
