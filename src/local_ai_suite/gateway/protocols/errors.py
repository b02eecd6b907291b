"""The engine's errors, understood; and a protocol's refusal.

llama.cpp says ``{"error": {"code": 400, "message", "type", ...}}`` on every route, also on
Anthropic's, with the HTTP status as the code and no ``param``; a prompt that is too long is a type
of its own (``exceed_context_size_error``, tools/server/server-context.cpp) that no SDK knows.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from local_ai_suite.errors import SuiteError
from local_ai_suite.templates import refusal
from local_ai_suite.wire.envelope import CONTEXT_LENGTH_EXCEEDED, error_for, openai_error, type_of

_OVERFLOW = re.compile(r"\((\d+) tokens\) exceeds? the available context size \((\d+) tokens\)")
# An input to embed, or a document to rank (send_error in tools/server/server-context.cpp).
_TOO_LARGE = re.compile(
    r"input \((\d+) tokens\) is too large to process\. increase the physical batch size "
    r"\(current batch size: (\d+)\)"
)
_MOST_FOREIGN_TEXT = 500


class Refused(SuiteError):
    """A protocol cannot serve what the request asks for; ``param`` names the member."""

    code = "invalid_request"
    http_status = 400

    def __init__(self, message: str, param: str, code: str | None = None) -> None:
        super().__init__(message, param=param)
        self.error = openai_error(message, param=param, code=code)


def engine_error(status: int, body: bytes, model: str) -> tuple[int, dict[str, Any]]:
    """Status and error to answer for the engine's (status 400 or more, JSON or anything else).

    What is the request's own fault is a 400, whatever the engine makes of it; ``model`` is the name
    that the client used.
    """
    error = read_error(status, body)
    if error["code"] == CONTEXT_LENGTH_EXCEEDED:
        return 400, error
    if (found := refusal(error["message"], model)) is not None:
        return 400, openai_error(found.message, param=found.param, code=found.code)
    return status, error


def read_error(status: int, body: bytes) -> dict[str, Any]:
    """The error in whatever the engine said."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    inner = said.get("error", said) if isinstance(said, dict) else None
    if isinstance(inner, str):
        inner = {"message": inner}
    if not isinstance(inner, dict) or not isinstance(inner.get("message"), str):
        text = body.decode("utf-8", "replace").strip()[:_MOST_FOREIGN_TEXT]
        return error_for(status, text or f"the engine answered {status}")
    used, most = inner.get("n_prompt_tokens"), inner.get("n_ctx")
    if (used is None or most is None) and (found := _OVERFLOW.search(inner["message"])):
        used, most = int(found[1]), int(found[2])
    if inner.get("type") == "exceed_context_size_error" and used is not None and most is not None:
        return openai_error(
            f"This model's context holds {most} tokens, but the request has {used} tokens. "
            "Shorten it, or load the model with a larger context.",
            param="messages",
            code=CONTEXT_LENGTH_EXCEEDED,
            n_prompt_tokens=used,
            n_ctx=most,
        )
    if found := _TOO_LARGE.search(inner["message"]):
        used, most = int(found[1]), int(found[2])
        return openai_error(
            f"An input has {used} tokens, and this model reads {most} at once. Shorten it, or cut "
            "it into several inputs.",
            param="input",
            code=CONTEXT_LENGTH_EXCEEDED,
            n_prompt_tokens=used,
            n_ctx=most,
        )
    code = inner.get("code")
    rest = {key: inner[key] for key in inner if key not in {"message", "type", "param", "code"}}
    return openai_error(
        inner["message"],
        kind=str(inner.get("type") or type_of(status)),
        param=inner.get("param"),
        code=code if isinstance(code, str) else None,
        **rest,
    )
