"""What llama.cpp says when a request is at fault, in words for the one who sent it.

The engine answers 500 to most of these, with its own or its template's inner words, and a client's
SDK then sends the same request three times. The texts are those of ``common/chat.cpp``,
``common/jinja``, ``common/json-schema*.cpp``, ``tools/server/server-common.cpp`` and
``server-chat.cpp``; a test holds this table against the locked sources.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the model or its template cannot take: what to say, and which member."""

    message: str
    param: str | None = None
    code: str | None = None


# The reason stands last, after a trace of the template's source.
_RAISED = re.compile(r"Jinja Exception: (.*)\Z", re.DOTALL)
_TRACE = re.compile(r"While executing .*\nError: (.*)\Z", re.DOTALL)
_NO_PARSER = re.compile(
    r"\AUnable to generate parser for this template\. Automatic parser generation failed: "
)
_MEDIA = re.compile(r"\A(image|audio|video) input is not supported")

# (what the engine says, what is told, the member); {model} is the name that the client used.
_TABLE: tuple[tuple[str, str, str | None], ...] = (
    (r"JSON schema error at (.*)",
     "A JSON schema of this request cannot be read, at {0}", "tools"),
    (r"JSON schema conversion failed:\s*(.*)",
     "A JSON schema of this request cannot be enforced: {0}", "response_format"),
    (r"(?:Failed to initialize samplers: )?failed to parse grammar",
     "The grammar or JSON schema of this request is wrong, or its bounds are too large.", None),
    (r"Failed to parse tool call arguments as JSON: .*",
     "The arguments of an earlier tool call are no JSON object.", "messages"),
    (r"Failed to parse messages: (.*)", "The messages cannot be read: {0}", "messages"),
    (r"Failed to parse tools: (.*?); tools = .*", "The tools cannot be read: {0}", "tools"),
    (r"'(\w+)' is required", "'{0}' is required.", None),
    (r"Multimodal data provided, but model does not support multimodal requests\.",
     "{model} takes text only.", None),
    (r"Cannot use both json_schema and grammar", "Send json_schema or grammar, not both.",
     "grammar"),
    (r"Cannot specify grammar with tools", "A grammar and tools cannot be used together.",
     "grammar"),
    (r"Only no echo is supported", "echo is not supported by the engine.", "echo"),
    (r"Unsupported param: (\w+)", "'{0}' is not supported by the engine.", None),
    (r"\"prompt\" is required", "'prompt' is required.", "prompt"),
    (r"Failed to tokenize prompt", "The prompt cannot be read.", "prompt"),
    (r"Failed to load image or audio file",
     "An image or sound of this request cannot be read: it is damaged or of an unknown format.",
     "messages"),
    (r"Failed to download image", "An image of this request could not be fetched.", "messages"),
    (r"Invalid base64 value", "An image or sound of this request is no base64.", "messages"),
    (r"for mtmd, input prompt must be a string\.", "The prompt must be a text.", "prompt"),
    (r"Invalid token", "The prompt holds a token that the model does not have.", "prompt"),
    (r".*_M_range_check.*", "The prompt holds a token that the model does not have.", "prompt"),
    (r"Unknown reasoning format: (.*)", "The reasoning format {0} is unknown.",
     "reasoning_format"),
    (r"Unsupported JSON value type|global_from_json: input JSON value must be an object",
     "chat_template_kwargs cannot be read.", "chat_template_kwargs"),
    (r"At least one of min_value or max_value must be set",
     "A JSON schema of this request has a range without an end.", None),
)  # fmt: skip
_PATTERNS = tuple(
    (re.compile(rf"\A{pattern}\Z", re.DOTALL), text, param) for pattern, text, param in _TABLE
)


def refusal(said: str, model: str) -> Refusal | None:
    """What to tell the client for the engine's ``said``; ``None`` for what is not its fault."""
    said = _NO_PARSER.sub("", said.strip())
    if found := _RAISED.search(said):
        return Refusal(
            f"The chat template of {model} does not take this conversation: {found[1].strip()}",
            "messages",
            "template_refused",
        )
    traced = _TRACE.search(said)
    said = traced[1].strip() if traced else said
    if found := _MEDIA.match(said):
        text = f"{model} does not take {found[1]} input: it is a model for text, or its projector "
        return Refusal(f"{text}(mmproj file) is not beside it.", "messages", "unsupported_content")
    for pattern, text, param in _PATTERNS:
        if found := pattern.match(said):
            return Refusal(text.format(*(g.strip() for g in found.groups()), model=model), param)
    if traced:
        return Refusal(
            f"The chat template of {model} cannot render this request: {said}",
            "messages",
            "template_refused",
        )
    return None
