"""``suffix`` on /v1/completions, served as fill in the middle.

llama.cpp reads no ``suffix`` there (tools/server/README.md names /infill for it), so the text
after the cursor is lost without a word. /infill takes both sides and builds the prompt from the
FIM tokens that the GGUF names; its answer is put in the shape of a text completion.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from local_ai_suite.wire.envelope import openai_error
from local_ai_suite.wire.routes import llama_server

from .endpoint import Endpoint
from .errors import Refused
from .events import DONE, EventStream, data_event
from .gather import nothing_held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .endpoint import Asked


def fim_suffix(asked: Asked) -> None:
    """Ask /infill for a completion with a ``suffix`` that is not empty. Raises Refused."""
    if not asked.request.get("suffix"):
        return
    request = asked.edit()
    suffix, prompt = request.pop("suffix"), request.get("prompt", "")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not isinstance(suffix, str):
        raise Refused("'suffix' needs one prompt, and both as text", "prompt")
    for key in ("n", "best_of"):
        if request.get(key) not in (None, 1):
            raise Refused(f"'suffix' gives one completion, so '{key}' must be 1", key)
    request |= {"input_prefix": prompt, "input_suffix": suffix, "prompt": ""}
    if (most := request.pop("max_tokens", None)) is not None:
        request["n_predict"] = most
    if (logprobs := request.pop("logprobs", None)) is not None:
        request["n_probs"] = logprobs
    echoed = prompt if request.pop("echo", False) else ""
    options = request.pop("stream_options", None)
    usage_last = isinstance(options, dict) and bool(options.get("include_usage"))
    model = asked.target.public
    asked.send("/infill", request)
    asked.translate(
        lambda said: _answer(said, model, echoed),
        lambda: _FimStream(model, echoed, usage_last=usage_last),
        says_name=True,
    )


def _answer(said: dict[str, Any], model: str, echoed: str) -> dict[str, Any]:
    choice = _choice(echoed + said["content"], said, ended=True)
    return {**_frame(model), "choices": [choice], "usage": _usage(said)}


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


class _FimStream(EventStream):
    def __init__(self, model: str, echoed: str, *, usage_last: bool) -> None:
        super().__init__()
        self._frame = _frame(model)
        self._echoed = echoed
        self._usage_last = usage_last
        self._ended = False

    def finish(self) -> bytes:
        made = super().finish()
        if self._ended:
            return made + DONE
        error = openai_error("the engine's stream ended early", kind="server_error")
        return made + data_event({"error": error})

    def event(self, data: bytes) -> bytes:
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


class CompletionForm:
    """A whole answer; the last event of each prompt and choice has the rest of it."""

    hides_what_it_holds: ClassVar[bool] = False

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._ended: dict[int, dict[str, Any]] = {}

    def event(self, said: dict[str, Any]) -> None:
        for choice in said["choices"]:
            index = choice["index"]
            texts = self._texts.setdefault(index, [])
            if choice["finish_reason"] is not None:
                nothing_held(texts, cut=choice["finish_reason"] == "length")
                self._ended[index] = said
            texts.append(choice["text"])

    def whole(self) -> dict[str, Any]:
        said = self._ended[0]
        said["choices"] = [self._choice(index) for index in range(len(self._texts))]
        return said

    def _choice(self, index: int) -> dict[str, Any]:
        choice: dict[str, Any] = self._ended[index]["choices"][0]
        choice["text"] = "".join(self._texts[index])
        return choice


ENDPOINTS = (
    Endpoint(llama_server("/v1/completions"), translations=(fim_suffix,), form=CompletionForm),
)
