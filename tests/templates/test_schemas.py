"""JSON Schemas of tools and answers, as real clients send them, in the engine's form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.templates import accepted, typed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from template_engine import TemplateEngine


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("given", "made", "not_enforced"),
    [
        (of(q={"type": "string"}), of(q={"type": "string"}), ()),
        (of(q=True), of(q={}), ()),
        (of(q={"type": "array", "items": True}), of(q={"type": "array", "items": {}}), ()),
        (of(q=False), of(), ()),
        ({"type": "OBJECT", "properties": {"q": {"type": "String"}}}, of(q={"type": "string"}), ()),
        (of(q={"type": "any"}), of(q={}), ()),
        (of(q={"type": ["STRING", "null"]}), of(q={"type": ["string", "null"]}), ()),
        (of(q={"type": "int"}), of(q={}), ("#/properties/q type",)),
        (of(q={"type": "string", "enum": []}), of(q={"type": "string"}),
         ("#/properties/q enum",)),
        (of(q={"$ref": "#/$defs/no", "description": "d"}), of(q={"description": "d"}),
         ("#/properties/q $ref",)),
        (of(q={"$ref": "https://example.org/s"}), of(q={}), ("#/properties/q $ref",)),
        (of(q={"type": "string", "minLength": 2500}), of(q={"type": "string", "minLength": 2000}),
         ("#/properties/q minLength",)),
        (of(q={"type": "string", "maxLength": 100_000}), of(q={"type": "string"}),
         ("#/properties/q maxLength",)),
        (of(q={"type": "integer", "minimum": "1"}), of(q={"type": "integer"}),
         ("#/properties/q minimum",)),
        (of(q={"anyOf": []}), of(q={}), ("#/properties/q anyOf",)),
        ({"type": "object", "properties": []}, {"type": "object"}, ("# properties",)),
        ({"prefixItems": [{"type": "string"}], "items": False},
         {"prefixItems": [{"type": "string"}]}, ()),
    ],
)  # fmt: skip
def test_a_schema_is_written_as_the_engine_reads_it(
    given: Any, made: Any, not_enforced: tuple[str, ...]
) -> None:
    before = json.dumps(given)
    found = accepted(given)
    assert (found.schema, found.not_enforced) == (made, not_enforced)
    assert json.dumps(given) == before


def test_a_reference_that_resolves_stays() -> None:
    schema = {**of(q={"$ref": "#/$defs/Q"}), "$defs": {"Q": {"type": "STRING"}}}
    found = accepted(schema)
    assert found.not_enforced == ()
    assert found.schema["properties"] == {"q": {"$ref": "#/$defs/Q"}}
    assert found.schema["$defs"] == {"Q": {"type": "string"}}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "integer"),
        ({"enum": ["x", 1]}, "string"),
        ({"$ref": "#/$defs/Q"}, "object"),
        ({"items": {"type": "string"}}, "array"),
        ({"properties": {}}, "object"),
    ],
)
def test_a_template_that_reads_types_is_shown_one(given: Any, shown: str) -> None:
    made = typed(of(q=given))["properties"]["q"]
    assert made["type"] == shown
    assert {key: value for key, value in made.items() if key != "type"} == given


def test_a_parameter_that_takes_anything_still_does() -> None:
    made = typed(of(q={}))["properties"]["q"]
    assert {one["type"] for one in made["anyOf"]} == {
        "array", "boolean", "integer", "null", "number", "object", "string",
    }  # fmt: skip


_KEYS = st.sampled_from([
    "type", "properties", "items", "prefixItems", "anyOf", "oneOf", "allOf", "enum", "$ref",
    "minLength", "maxLength", "minItems", "maxItems", "minimum", "exclusiveMaximum", "pattern",
    "format", "required", "additionalProperties", "const", "$defs", "q",
])  # fmt: skip
_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-1, 3000), st.just(1.5),
        st.sampled_from(["string", "OBJECT", "any", "array", "integer", "#/$defs/q", "^a$", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip
_SCHEMAS = st.dictionaries(_KEYS, _VALUES, max_size=5)


@given(_SCHEMAS)
def test_what_was_accepted_is_accepted_as_it_is(schema: Any) -> None:
    once = accepted(schema)
    again = accepted(once.schema)
    assert again.schema == once.schema
    assert again.not_enforced == ()


def test_the_engine_reads_whatever_was_accepted(
    real_engine: Callable[[str], AbstractContextManager[TemplateEngine]],
) -> None:
    """Random schemas, wrong in every way, as parameters of a tool."""
    refused: list[tuple[Any, str]] = []
    with real_engine("Qwen3-Coder") as engine:

        @given(_SCHEMAS)
        def tried(schema: Any) -> None:
            function = {"name": "f", "parameters": of(x=accepted(of(x=schema)).schema)}
            body = {
                "messages": [{"role": "user", "content": "hi"}],
                "tools": [{"type": "function", "function": function}],
            }
            status, text = engine.render(body)
            if status != 200:
                refused.append((schema, text))

        tried()
    assert refused == []
