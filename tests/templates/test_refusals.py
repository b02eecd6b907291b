"""The engine's words about a request, put into words for its client; all of them are known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.templates import refusal

if TYPE_CHECKING:
    from pathlib import Path

TRACED = (
    "\n------------\nWhile executing CallExpression at line 85, column 28 in source:\n"
    "... {{- raise_exception('System message must be at the beginning.') }}...\n"
    "                    ^\nError: Jinja Exception: System message must be at the beginning."
)
FILTERED = (
    "\n------------\nWhile executing FilterExpression at line 1\nError: "
    "Unknown (built-in) filter 'items' for type Array"
)
NO_PARSER = "Unable to generate parser for this template. Automatic parser generation failed: "
# Where the text of a 500 for a request's fault may come from: what runs before a prompt is queued.
FILES = (
    "common/chat.cpp", "common/chat-auto-parser-generator.cpp", "common/json-schema.cpp",
    "common/json-schema-to-grammar.cpp", "common/jinja/runtime.cpp", "common/jinja/value.cpp",
    "tools/server/server-common.cpp", "tools/server/server-chat.cpp",
)  # fmt: skip
# An invalid_argument is a 400 of the engine's own (tools/server/server.cpp, ex_wrapper).
_THROWN = re.compile(r"throw std::runtime_error\((?P<said>(?:[^;\"]|\"(?:[^\"\\]|\\.)*\")*)\);")
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')

# Not a request's fault, or never said to a client of these routes.
OTHERS = {
    # Defects of the engine, and what a model wrote.
    "Invalid diff: '": "an answer",
    "Invalid diff: tool call mismatch!": "an answer",
    "The model produced output that does not match the expected ": "an answer",
    "Unknown chat format": "a defect",
    "Unknown reasoning format": "a defect",
    "Chunk not found": "a defect",
    "Cannot specify both content and content_parts": "a defect",
    "failed to apply chat template, try using --jinja": "without Jinja",
    "this custom template is not supported, try using --jinja": "without Jinja",
    "tools param requires --jinja flag": "without Jinja",
    "tool_choice param requires --jinja flag": "without Jinja",
    # Saved slots.
    "Server tokens state is too large": "slots",
    "Unexpected end of server tokens state": "slots",
    "Cannot serialize media chunk in server tokens": "slots",
    "Unsupported server tokens state version": "slots",
    "Cannot restore media tokens without an mmproj": "slots",
    "Cannot load media chunk from server tokens state": "slots",
    "Trailing data in server tokens state": "slots",
}


def test_a_templates_exception_is_told_without_its_trace() -> None:
    found = refusal(TRACED, "local-chat")
    assert found is not None
    assert found.message == (
        "The chat template of local-chat does not take this conversation: "
        "System message must be at the beginning."
    )
    assert (found.param, found.code) == ("messages", "template_refused")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("image input is not supported - hint: if this is", "m does not take image input"),
        (f"{NO_PARSER}JSON schema error at #/properties/q: enum must be a non-empty array",
         "cannot be read, at #/properties/q: enum must be a non-empty array"),
        ("Failed to parse tools: Missing tool type: {}; tools = [\n  {}\n]",
         "The tools cannot be read: Missing tool type: {}"),
        ("Failed to initialize samplers: failed to parse grammar", "bounds are too large"),
        ("'messages' is required", "'messages' is required."),
        (FILTERED, "cannot render this request"),
    ],
)  # fmt: skip
def test_each_kind_of_refusal_has_words_of_its_own(said: str, told: str) -> None:
    found = refusal(said, "m")
    assert found is not None
    assert told in found.message
    assert "While executing" not in found.message


@pytest.mark.parametrize(
    "said", ["The model produced output that does not match the expected peg-native format",
             "Compute error.", "", "{0} {model}"],
)  # fmt: skip
def test_what_is_not_the_requests_fault_stays_as_it_is(said: str) -> None:
    assert refusal(said, "m") is None


def test_every_refusal_in_the_locked_sources_is_known(sources: Path) -> None:
    """A new version of the engine that says something new fails here, not at a client."""
    unknown = []
    seen = 0
    for name in FILES:
        for thrown in _THROWN.finditer((sources / name).read_text(encoding="utf-8")):
            literals = _LITERAL.findall(thrown["said"])
            if not literals:
                continue  # passed on from below
            seen += 1
            said = _spoken(thrown["said"])
            if name.startswith("common/jinja"):
                said = f"While executing X at line 1\nError: {said}"
            if literals[0] not in OTHERS and refusal(said, "m") is None:
                unknown.append((name, said))
    assert seen > 60
    assert unknown == []


def _spoken(expression: str) -> str:
    """The text that a C++ expression makes, with a word for each of its variables."""
    parts = re.split(r'("(?:[^"\\]|\\.)*")', expression)
    made = ""
    for part in parts:
        if part.startswith('"'):
            made += part[1:-1].replace('\\"', '"').replace("\\n", "\n")
        elif re.search(r"\w", part.replace("std::string", "")):
            made += "word"
    return made
