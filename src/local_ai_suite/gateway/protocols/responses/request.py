"""OpenAI's Responses request as a chat completion request.

llama.cpp has a /v1/responses of its own, but its stream lacks ``sequence_number``,
``output_index`` and a full ``response.created`` (llama.cpp#24957), it ignores ``text.format``, and
it skips tools that are not plain functions. Its chat completions are sound, so the gateway
translates: one well-tested surface below, and the whole protocol above.

What would need a memory (``previous_response_id``, ``conversation``, ``background``, ``prompt``) is
refused instead of being dropped silently. Where there is a store, ``gateway/stored_responses.py``
has put what was said before into ``input`` already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from local_ai_suite.gateway.protocols.body import dumps
from local_ai_suite.gateway.protocols.errors import Refused

_NEEDS_A_STORE = ("previous_response_id", "conversation", "background", "prompt")
_RESPONSES_ONLY = frozenset(
    {
        "input", "instructions", "include", "max_output_tokens", "max_tool_calls", "text", "tools",
        "tool_choice", "reasoning", "store", "truncation", "service_tier", "safety_identifier",
        "prompt_cache_key", "prompt_cache_retention", "client_metadata", "metadata", "user",
        "stream_options", "context_management", "top_logprobs", *_NEEDS_A_STORE,
    }
)  # fmt: skip
_HOSTED_ITEMS = frozenset({"web_search_call", "file_search_call", "code_interpreter_call"})
_CALLS = frozenset({"function_call", "custom_tool_call"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_TEXT_PARTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_CUSTOM_PARAMETERS = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class ToolName:
    """Whom a flat function name stands for: a function (of a namespace) or a custom tool."""

    name: str
    namespace: str | None = None
    custom: bool = False


@dataclass(slots=True)
class Tools:
    """The tools that the model can be offered, and what their flat names stand for.

    Chat completions know neither namespaces nor custom tools: a namespaced function is called
    ``namespace__name``, and a custom tool is a function with one string, ``input``.
    """

    functions: list[dict[str, Any]] = field(default_factory=list)
    served: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, ToolName] = field(default_factory=dict)

    def add(self, tool: dict[str, Any], namespace: str | None = None) -> None:
        kind = tool.get("type")
        if kind == "namespace":
            for inner in _objects(tool.get("tools")):
                self.add(inner, str(tool.get("name")))
        elif kind in {"function", "custom"}:
            name = str(tool.get("name"))
            flat = flat_name(name, namespace)
            custom = kind == "custom"
            self.names[flat] = ToolName(name, namespace, custom)
            described = {
                "name": flat,
                "description": _description(tool),
                "parameters": _CUSTOM_PARAMETERS if custom else tool.get("parameters"),
                "strict": tool.get("strict"),
            }
            described = {key: value for key, value in described.items() if value is not None}
            self.functions.append({"type": "function", "function": described})
        if kind in {"function", "custom", "namespace"} and namespace is None:
            self.served.append(tool)
        # Hosted tools (web_search, file_search, ...) run on OpenAI's machines: the model is not
        # offered them, and the response's own list of tools shows that.


def flat_name(name: str, namespace: str | None) -> str:
    return f"{namespace}__{name}" if namespace else name


def read_tools(request: dict[str, Any]) -> Tools:
    tools = Tools()
    for tool in _objects(request.get("tools")):
        tools.add(tool)
    return tools


def chat_request(request: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """The chat completion request for ``request``; raises Refused."""
    for key in _NEEDS_A_STORE:
        if request.get(key):
            raise Refused(
                f"'{key}' is not supported: nothing is stored here for it. Send the whole "
                "conversation in 'input'.",
                key,
                "unsupported_parameter",
            )
    chat = {key: value for key, value in request.items() if key not in _RESPONSES_ONLY}
    chat["messages"] = _messages(request)
    if tools.functions:
        chat["tools"] = tools.functions
        chat["tool_choice"] = chat_tool_choice(request.get("tool_choice"))
    else:
        chat.pop("parallel_tool_calls", None)
    if (most := request.get("max_output_tokens")) is not None:
        chat["max_tokens"] = most
    if effort := _object(request.get("reasoning")).get("effort"):
        chat["reasoning_effort"] = effort
    if wanted := _response_format(_object(_object(request.get("text")).get("format"))):
        chat["response_format"] = wanted
    include = request.get("include")
    if isinstance(include, list) and "message.output_text.logprobs" in include:
        chat["logprobs"] = True
        chat["top_logprobs"] = request.get("top_logprobs") or 0
    if request.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    return {key: value for key, value in chat.items() if value is not None}


def _messages(request: dict[str, Any]) -> list[dict[str, Any]]:
    reader = _InputReader()
    if instructions := request.get("instructions"):
        reader.message({"role": "system", "content": instructions}, "instructions")
    said = request.get("input")
    if isinstance(said, str):
        reader.message({"role": "user", "content": said}, "input")
    elif isinstance(said, list):
        for index, item in enumerate(said):
            reader.item(item, f"input[{index}]")
    else:
        raise Refused("'input' must be a text or a list of items", "input")
    return reader.done()


class _InputReader:
    """Input items, one after the other, as messages."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._reasoning = ""

    def item(self, item: Any, where: str) -> None:
        if not isinstance(item, dict):
            raise Refused(f"{where} is not an object", where)
        kind = item.get("type") or "message"
        if kind == "message":
            self.message(item, where)
        elif kind in _CALLS:
            self._assistant().setdefault("tool_calls", []).append(_tool_call(item))
        elif kind in _OUTPUTS:
            self._messages.append(
                {
                    "role": "tool",
                    "tool_call_id": item.get("call_id"),
                    "content": _content(item.get("output"), where),
                }
            )
        elif kind == "reasoning":
            parts = _objects(item.get("content")) or _objects(item.get("summary"))
            self._reasoning += "".join(str(part.get("text") or "") for part in parts)
        elif kind not in _HOSTED_ITEMS:
            raise Refused(f"{where} has type {kind!r}, which is not supported here", where)

    def message(self, item: dict[str, Any], where: str) -> None:
        role, content = item.get("role"), _content(item.get("content"), where)
        if role == "assistant":
            message = self._assistant()
            if "content" in message or "tool_calls" in message:
                message = {"role": "assistant"}
                self._messages.append(message)
            message["content"] = content
        elif role in {"system", "developer"}:
            # Many templates allow one system message, at the beginning.
            first = self._messages[0] if len(self._messages) == 1 else None
            texts = isinstance(content, str) and first and isinstance(first.get("content"), str)
            if first and texts and first["role"] == "system":
                first["content"] += "\n\n" + str(content)
            else:
                self._messages.append({"role": "system", "content": content})
        elif role == "user":
            self._messages.append({"role": "user", "content": content})
        else:
            raise Refused(f"{where} has role {role!r}, which is unknown", where)

    def done(self) -> list[dict[str, Any]]:
        for message in self._messages:
            if message["role"] == "assistant":
                message.setdefault("content", "")
        return self._messages

    def _assistant(self) -> dict[str, Any]:
        """The assistant's message that the next item belongs to."""
        if not self._messages or self._messages[-1]["role"] != "assistant" or self._reasoning:
            self._messages.append({"role": "assistant"})
        message = self._messages[-1]
        if self._reasoning:
            message["reasoning_content"], self._reasoning = self._reasoning, ""
        return message


def _tool_call(item: dict[str, Any]) -> dict[str, Any]:
    arguments = item.get("arguments") or "{}"
    if item.get("type") == "custom_tool_call":
        arguments = dumps({"input": item.get("input") or ""}).decode()
    name = flat_name(str(item.get("name")), item.get("namespace"))
    return {
        "id": item.get("call_id"),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _content(content: Any, where: str) -> str | list[dict[str, Any]]:
    """A message's content: one text stays a text, several parts stay parts."""
    if isinstance(content, str):
        return content
    parts = [_part(part, where) for part in _objects(content)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts or ""


def _part(part: dict[str, Any], where: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind in _TEXT_PARTS:
        return {"type": "text", "text": str(part.get("text") or "")}
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal") or "")}
    if kind == "input_image" and part.get("image_url"):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    raise Refused(f"{where} has content of type {kind!r}, which is not supported here", where)


def chat_tool_choice(choice: Any) -> Any:
    """The Responses API's ``tool_choice`` as chat completions write it."""
    if not isinstance(choice, dict):
        return choice
    kind = choice.get("type")
    if kind in {"function", "custom"}:
        flat = flat_name(str(choice.get("name")), choice.get("namespace"))
        return {"type": "function", "function": {"name": flat}}
    if kind == "allowed_tools":
        tools = [
            {"type": "function", "function": {"name": tool.get("name")}}
            for tool in _objects(choice.get("tools"))
        ]
        return {
            "type": "allowed_tools",
            "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": tools},
        }
    raise Refused(f"tool_choice of type {kind!r} is not supported here", "tool_choice")


def _response_format(wanted: dict[str, Any]) -> dict[str, Any] | None:
    if wanted.get("type") == "json_schema":
        return {
            "type": "json_schema",
            "json_schema": {key: value for key, value in wanted.items() if key != "type"},
        }
    return {"type": "json_object"} if wanted.get("type") == "json_object" else None


def _description(tool: dict[str, Any]) -> str | None:
    described = tool.get("description")
    grammar = _object(tool.get("format")).get("definition")
    if tool.get("type") == "custom" and grammar:
        return f"{described or ''}\nThe input follows this grammar:\n{grammar}".strip()
    return described


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
