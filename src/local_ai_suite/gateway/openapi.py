"""What port 8000 serves, as an OpenAPI 3.1 document and as a page for people.

Which paths there are, is the table of endpoints; ``openapi.yaml`` has the words and the schemas.
An endpoint without words there is described in general ones, so that it costs its module and
nothing else. https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import html
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from local_ai_suite import __version__
from local_ai_suite.gateway.protocols import ENDPOINTS
from local_ai_suite.gateway.protocols.ollama import NDJSON
from local_ai_suite.wire.envelope import ANTHROPIC, OLLAMA, envelope_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.gateway.protocols import Endpoint
    from local_ai_suite.wire.envelope import Envelope

OWN_POSTS = ("/api/show", "/api/pull")
"""What the gateway answers by POST without an engine."""

_GENERAL = {"tag": "Others", "summary": "", "request": "Anything", "answer": "Anything"}
_REFUSED = {"401": "The key is missing or wrong", "403": "This Host or Origin is not admitted"}
_FAILED = {
    "400": "The request cannot be understood, or is longer than the context",
    **_REFUSED,
    "404": "There is no such model",
    "408": "The request did not arrive in time",
    "413": "The request is too large",
    "415": "The request is compressed",
    "429": "Too many requests wait, or the key has used up what it may",
    "501": "The engine or this installation cannot do that",
    "502": "The engine failed",
    "503": "The engine is away or the model did not load; Retry-After says when to try again",
    "504": "The engine was silent for too long",
}
_DESCRIPTION = (
    "Local models behind one address. Paths of OpenAI's and llama.cpp's are served with and "
    "without /v1; members that are not named here are passed on to the engine. A key is asked for "
    "where REQUIRE_KEY is on."
)


def document(endpoints: Mapping[str, Endpoint] = ENDPOINTS) -> dict[str, Any]:
    """The OpenAPI document of a gateway with ``endpoints`` (path -> endpoint)."""
    words = _words()
    canonical = {endpoint.route.path: endpoint for endpoint in endpoints.values()}
    paths: dict[str, dict[str, Any]] = {}
    for path, endpoint in canonical.items():
        told = words["posts"].get(path, _GENERAL)
        stream_type = endpoint.stream_type.decode("ascii") if told.get("streams") else None
        paths[path] = {"post": _post(path, told, endpoint.envelope, stream_type)}
    for path in OWN_POSTS:
        told = words["posts"][path]
        stream_type = NDJSON.decode("ascii") if told.get("streams") else None
        paths[path] = {"post": _post(path, told, envelope_of(path), stream_type)}
    for path, told in words["gets"].items():
        paths.setdefault(path, {})["get"] = _get(path, told)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Local AI Suite",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"bearer": []}, {"header": []}],
        "tags": words["tags"],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": words["schemas"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


@cache
def _words() -> dict[str, Any]:
    # libyaml where it is there: the event loop waits for it, once.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files(__package__).joinpath("openapi.yaml").read_text(encoding="utf-8")
    words: dict[str, Any] = yaml.load(text, loader)  # noqa: S506 (both loaders are safe ones)
    return words


def _post(
    path: str, told: Mapping[str, Any], envelope: Envelope, stream_type: str | None
) -> dict[str, Any]:
    answers = {"application/json": {"schema": _schema(told["answer"])}}
    if stream_type is not None:
        answers[stream_type] = {}  # events or lines, each of them JSON
    return {
        "operationId": f"post {path}",
        "tags": [told["tag"]],
        "summary": told["summary"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema(told["request"])}},
        },
        "responses": {
            "200": {"description": "The answer", "content": answers},
            **_errors(_FAILED, envelope),
        },
    }


def _get(path: str, told: Mapping[str, Any]) -> dict[str, Any]:
    content = {told.get("text", "application/json"): {"schema": {"type": "string"}}}
    if "text" not in told:
        content = {"application/json": {"schema": _schema(told["answer"])}}
    failed = dict(_REFUSED)
    if missing := told.get("missing"):
        failed["404"] = missing
    made: dict[str, Any] = {
        "operationId": f"get {path}",
        "tags": [told["tag"]],
        "summary": told["summary"],
        "responses": {
            "200": {"description": "The answer", "content": content},
            **_errors(failed, envelope_of(path)),
        },
    }
    if told.get("starting"):
        made["responses"]["503"] = {"description": "Not yet", "content": content}
    if "{id}" in path:
        made["parameters"] = [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
    return made


def _errors(statuses: Mapping[str, str], envelope: Envelope) -> dict[str, Any]:
    name = {ANTHROPIC: "AnthropicError", OLLAMA: "OllamaError"}.get(envelope, "OpenAIError")
    content = {"application/json": {"schema": _schema(name)}}
    return {status: {"description": why, "content": content} for status, why in statuses.items()}


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{overflow:auto;background:#8881;padding:.8rem}"
    "summary{cursor:pointer;padding:.3rem 0}b{display:inline-block;width:3.5rem}"
    ":root{color-scheme:light dark}"
)


def page(told: Mapping[str, Any]) -> str:
    """The document as a page of HTML that loads nothing: no script, no font, no picture."""
    by_tag: dict[str, list[str]] = {tag["name"]: [] for tag in told["tags"]}
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append(_operation(path, method, operation))
    sections = "".join(
        f"<h2>{html.escape(tag)}</h2>{''.join(operations)}"
        for tag, operations in by_tag.items()
        if operations
    )
    schemas = "".join(
        f"<details id={html.escape(name)}><summary><code>{html.escape(name)}</code></summary>"
        f"{_code(schema)}</details>"
        for name, schema in told["components"]["schemas"].items()
    )
    title = html.escape(f"{told['info']['title']} {told['info']['version']}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<meta http-equiv=Content-Security-Policy "
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>{html.escape(told['info']['description'])}</p>"
        "<p>For programs: <a href=/openapi.json>/openapi.json</a></p>"
        f"{sections}<h2>Schemas</h2>{schemas}</html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    shown = {key: operation[key] for key in ("requestBody", "responses") if key in operation}
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{html.escape(path)}</code> "
        f"{html.escape(operation['summary'])}</summary>{_code(shown)}</details>"
    )


def _code(value: Any) -> str:
    return f"<pre>{html.escape(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())}</pre>"
