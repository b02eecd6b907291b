"""``suffix`` on /v1/completions, served as fill in the middle.

llama.cpp reads no ``suffix`` there (tools/server/README.md names /infill for it), so the text
after the cursor is lost without a word. /infill takes both sides and builds the prompt from the
FIM tokens that the GGUF names; its answer is put in the shape of a text completion.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import orjson

from .errors import fail_event, openai_error
from .plan import Mend, Reply
from .sse import DONE, EventReader, data_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import Target

_ROUTE = "/v1/completions"


def fim_suffix(body: bytes, target: Target) -> Mend | Reply | None:
    """The mend for a completion request with a ``suffix`` that is not empty."""
    request = orjson.loads(body)
    suffix, prompt = request.pop("suffix", None), request.get("prompt", "")
    if not suffix:
        return None
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not isinstance(suffix, str):
        return _refused("'suffix' needs one prompt, and both as text", "prompt")
    for key in ("n", "best_of"):
        if request.get(key) not in (None, 1):
            return _refused(f"'suffix' gives one completion, so '{key}' must be 1", key)
    request |= {"input_prefix": prompt, "input_suffix": suffix, "prompt": ""}
    request["model"] = target.engine
    if (most := request.pop("max_tokens", None)) is not None:
        request["n_predict"] = most
    if (logprobs := request.pop("logprobs", None)) is not None:
        request["n_probs"] = logprobs
    echoed = prompt if request.pop("echo", False) else ""
    options = request.pop("stream_options", None)
    usage_last = isinstance(options, dict) and bool(options.get("include_usage"))
    return Mend(
        names=("fim_suffix",),
        path="/infill",
        body=orjson.dumps(request),
        streams=bool(request.get("stream")),
        answer=lambda answer: _answer(answer, target.public, echoed),
        stream=lambda: _FimStream(target.public, echoed, usage_last=usage_last),
    )


def _refused(text: str, param: str) -> Reply:
    return Reply(400, orjson.dumps({"error": openai_error(text, param=param)}))


def _answer(body: bytes, model: str, echoed: str) -> bytes:
    said = orjson.loads(body)
    choice = _choice(echoed + said["content"], said, ended=True)
    return orjson.dumps({**_frame(model), "choices": [choice], "usage": _usage(said)})


def _frame(model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }


def _choice(text: str, said: Mapping[str, Any], *, ended: bool) -> dict[str, Any]:
    reason = ("length" if said.get("stop_type") == "limit" else "stop") if ended else None
    probabilities = said.get("completion_probabilities")
    logprobs = {"content": probabilities} if probabilities else None
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _usage(said: Mapping[str, Any]) -> dict[str, int]:
    prompt, made = said.get("tokens_evaluated") or 0, said.get("tokens_predicted") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
    }


class _FimStream:
    def __init__(self, model: str, echoed: str, *, usage_last: bool) -> None:
        self._frame = _frame(model)
        self._echoed = echoed
        self._usage_last = usage_last
        self._reader = EventReader()
        self._ended = False

    def feed(self, chunk: bytes) -> bytes:
        return b"".join(self._event(data) for data in self._reader.feed(chunk))

    def finish(self) -> bytes:
        made = b"".join(self._event(data) for data in self._reader.finish())
        if not self._ended:
            return made + self.fail(
                openai_error("the engine's stream ended early", kind="server_error")
            )
        return made + DONE

    def fail(self, error: Mapping[str, Any]) -> bytes:
        return fail_event(_ROUTE, error)

    def _event(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return b""
        said = orjson.loads(data)
        if "error" in said:
            self._ended = True
            return data_event(said)
        self._ended = bool(said.get("stop"))
        text, self._echoed = self._echoed + said.get("content", ""), ""
        made = data_event({**self._frame, "choices": [_choice(text, said, ended=self._ended)]})
        if self._ended and self._usage_last:
            made += data_event({**self._frame, "choices": [], "usage": _usage(said)})
        return made
