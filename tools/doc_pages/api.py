"""docs/reference/api.md: what port 8000 serves, out of the document that it serves itself."""

from __future__ import annotations

from typing import Any

from local_ai_suite.gateway import openapi
from local_ai_suite.gateway.protocols import ENDPOINTS

HEAD = """<!-- Made by `make docs` from /openapi.json; don't edit. -->

# The HTTP API

Base URL `http://localhost:8000/v1`. The same in a form for programs: `GET /openapi.json`
(OpenAPI 3.1); as a page in your browser, on this machine only: <http://localhost:8000/docs>.

A key is asked for where `REQUIRE_KEY=true`, as `Authorization: Bearer`, `x-api-key`,
`x-litellm-api-key` or `api-key`. Errors have the shape of the API that was called
([all codes](errors.md)). What a request holds beyond what is named here is passed on to llama.cpp.

Streams are server-sent events; Ollama's are lines of JSON, and are the rule there unless `stream`
is false. While a request waits, a stream gets comments as heartbeats. Headers of answers:
`X-Request-Id`, `Server-Timing`, and where known `X-Context-Limit` and `X-Context-Used`;
`Retry-After` with 429 and 503.

How requests are routed, queued and limited: [The gateway](gateway.md).
"""

REQUESTS_HEAD = """
## Requests

What stands in bold must be there.

| request | members |
|---|---|
"""


def page() -> str:
    """The whole page: a table for each protocol, then every schema's members."""
    told = openapi.document()
    tables: dict[str, list[str]] = {tag["name"]: [] for tag in told["tags"]}
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            tables[operation["tags"][0]].append(_row(path, method, operation))
    parts = [HEAD]
    for tag, rows in tables.items():
        if not rows:
            continue
        parts += [f"\n## {tag}\n\n| path | what | request | streams |\n|---|---|---|---|\n"]
        parts += [f"{row}\n" for row in rows]
    parts.append(
        "\n## Requests\n\nWhat stands in bold must be there.\n\n| request | members |\n|---|---|\n"
    )
    schemas = told["components"]["schemas"]
    for name in sorted(_requests(told)):
        parts.append(f"| `{name}` | {_members(schemas[name], schemas)} |\n")
    return "".join(parts)


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    also = [
        spelling
        for spelling, endpoint in ENDPOINTS.items()
        if method == "post" and endpoint.route.path == path and spelling != path
    ]
    spelled = f" (also {', '.join(f'`{one}`' for one in also)})" if also else ""
    request = _request(operation)
    streams = "yes" if len(operation["responses"]["200"]["content"]) > 1 else "-"
    body = f"`{request}`" if request else "-"
    return f"| `{method.upper()} {path}`{spelled} | {operation['summary']} | {body} | {streams} |"


def _request(operation: dict[str, Any]) -> str | None:
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return str(schema["$ref"]).rpartition("/")[2]


def _requests(told: dict[str, Any]) -> set[str]:
    operations = [operation for methods in told["paths"].values() for operation in methods.values()]
    return {
        name for operation in operations if (name := _request(operation)) and name != "Anything"
    }


def _members(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    properties, required = _flat(schema, schemas)
    named = [f"**`{name}`**" if name in required else f"`{name}`" for name in properties]
    return ", ".join(named)


def _flat(schema: dict[str, Any], schemas: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The members of a schema and of all that it is made of; those that must be there."""
    if "$ref" in schema:
        return _flat(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    properties, required = dict(schema.get("properties", {})), set(schema.get("required", ()))
    for part in schema.get("allOf", ()):
        more, needed = _flat(part, schemas)
        properties |= more
        required |= needed
    first = {name: properties[name] for name in properties if name in required}
    return first | properties, required
