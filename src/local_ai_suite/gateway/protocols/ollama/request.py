"""Ollama's requests as the engine's own; the format is Ollama's docs/api.md."""

from __future__ import annotations

from typing import Any

from local_ai_suite.gateway.protocols.body import dumps
from local_ai_suite.gateway.protocols.errors import Refused

_PLAIN_OPTIONS = {
    "temperature", "top_k", "top_p", "min_p", "typical_p", "seed", "stop", "repeat_penalty",
    "repeat_last_n", "presence_penalty", "frequency_penalty", "mirostat", "mirostat_tau",
    "mirostat_eta",
}  # fmt: skip
"""Sampling options whose names are llama.cpp's too. Those of loading (num_ctx, num_gpu, ...) are
the plan's business and have no effect on a request."""


def chat(request: dict[str, Any]) -> dict[str, Any]:
    """/api/chat as a chat completion request. Raises Refused."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise Refused("messages must be a list of objects", "messages")
    calls: dict[str, str] = {}
    made = {"messages": [_message(message, index, calls) for index, message in enumerate(messages)]}
    if isinstance(request.get("tools"), list):
        made["tools"] = request["tools"]
    return {**_common(request), **_shape(request), **made}


def generate(request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """/api/generate as the engine's path and request. Raises Refused.

    With a ``suffix`` it is fill in the middle, ``raw`` a plain completion, else one chat turn.
    """
    prompt, suffix = request.get("prompt"), request.get("suffix")
    if not isinstance(prompt, str):
        raise Refused("prompt must be a text", "prompt")
    common = _common(request)
    if isinstance(suffix, str) and suffix:
        most = {"n_predict": common.pop("max_tokens")} if "max_tokens" in common else {}
        common.pop("stream_options", None)
        sides = {"input_prefix": prompt, "input_suffix": suffix, "prompt": ""}
        return "/infill", {**common, **most, **sides}
    if request.get("raw") is True:
        return "/v1/completions", {**common, **_shape(request), "prompt": prompt}
    system = request.get("system")
    messages = [{"role": "system", "content": system}] if isinstance(system, str) and system else []
    user = {"role": "user", "content": prompt, "images": request.get("images")}
    messages.append(_message(user, 0, {}))
    return "/v1/chat/completions", {**common, **_shape(request), "messages": messages}


def embed(request: dict[str, Any]) -> dict[str, Any]:
    """/api/embed (``input``) and /api/embeddings (``prompt``). Raises Refused."""
    said = request.get("input", request.get("prompt"))
    if not isinstance(said, str | list) or not said:
        raise Refused("input must be a text or a list of texts", "input")
    return {"input": said}


def _common(request: dict[str, Any]) -> dict[str, Any]:
    options = request.get("options")
    options = options if isinstance(options, dict) else {}
    wanted = request.get("stream") is not False  # Ollama streams unless it is told not to
    made: dict[str, Any] = {"stream": wanted}
    if wanted:
        made["stream_options"] = {"include_usage": True}
    made |= {key: value for key, value in options.items() if key in _PLAIN_OPTIONS}
    most = options.get("num_predict")
    if isinstance(most, int) and most >= 0:  # -1 is "no limit", -2 "until the context is full"
        made["max_tokens"] = most
    return made


def _shape(request: dict[str, Any]) -> dict[str, Any]:
    wanted = request.get("format")
    made: dict[str, Any] = {}
    if wanted == "json":
        made["response_format"] = {"type": "json_object"}
    elif isinstance(wanted, dict):
        schema = {"name": "format", "schema": wanted}
        made["response_format"] = {"type": "json_schema", "json_schema": schema}
    think = request.get("think")
    if isinstance(think, bool):
        made["chat_template_kwargs"] = {"enable_thinking": think}
    elif isinstance(think, str):
        made["reasoning_effort"] = think
    return made


def _message(message: dict[str, Any], index: int, calls: dict[str, str]) -> dict[str, Any]:
    """One message; ``calls`` remembers the last call's id by the tool's name."""
    content = message.get("content")
    made: dict[str, Any] = {"role": message.get("role"), "content": content or ""}
    if isinstance(images := message.get("images"), list) and images:
        parts: list[dict[str, Any]] = [{"type": "text", "text": content or ""}]
        parts += [{"type": "image_url", "image_url": {"url": _data_url(i)}} for i in images]
        made["content"] = parts
    if isinstance(thought := message.get("thinking"), str) and thought:
        made["reasoning_content"] = thought
    if isinstance(tool_calls := message.get("tool_calls"), list):
        made["tool_calls"] = [
            _tool_call(call, f"call_{index}_{number}", calls)
            for number, call in enumerate(tool_calls)
            if isinstance(call, dict)
        ]
    if message.get("role") == "tool":
        name = str(message.get("tool_name") or message.get("name") or "")
        last = next(reversed(calls.values()), "call_0_0")
        made["tool_call_id"] = message.get("tool_call_id") or calls.get(name, last)
    return made


def _tool_call(call: dict[str, Any], made_id: str, calls: dict[str, str]) -> dict[str, Any]:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    name, arguments = str(function.get("name") or ""), function.get("arguments")
    text = arguments if isinstance(arguments, str) else dumps(arguments or {}).decode()
    calls[name] = str(call.get("id") or made_id)
    return {
        "id": calls[name],
        "type": "function",
        "function": {"name": name, "arguments": text},
    }


def _data_url(image: Any) -> str:
    text = str(image)
    kind = "jpeg" if text.startswith("/9j/") else "png"
    return f"data:image/{kind};base64,{text}"
