"""/openapi.json says what is served, no more and no less; /docs shows it and loads nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway_running import running
from local_ai_suite.gateway import openapi
from local_ai_suite.gateway.protocols import ENDPOINTS
from local_ai_suite.wire.guard import Guard
from local_ai_suite.wire.routes import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripted_engine import Engine

TOLD = openapi.document()
CANONICAL = {endpoint.route.path for endpoint in ENDPOINTS.values()}
OPERATIONS = [(path, method) for path, methods in TOLD["paths"].items() for method in methods]


def members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from members(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner)


def test_every_endpoint_stands_in_it_and_has_words_of_its_own() -> None:
    posts = {path for path, method in OPERATIONS if method == "post"}
    assert posts == CANONICAL | set(openapi.OWN_POSTS)
    silent = [path for path in posts if not TOLD["paths"][path]["post"]["summary"]]
    assert not silent, "give them words in gateway/openapi.yaml"


def test_no_words_are_left_of_a_path_that_is_gone() -> None:
    assert set(openapi._words()["posts"]) == CANONICAL | set(openapi.OWN_POSTS)


def test_every_reference_leads_to_a_schema_and_every_schema_is_used() -> None:
    used = {value.rpartition("/")[2] for key, value in members(TOLD) if key == "$ref"}
    assert used == set(TOLD["components"]["schemas"])


def test_an_endpoint_without_words_is_described_all_the_same() -> None:
    route = Route("/v1/dummy", "generate", "chat")
    dummy = replace(ENDPOINTS["/v1/completions"], route=route)
    post = openapi.document({"/v1/dummy": dummy})["paths"]["/v1/dummy"]["post"]
    assert post["responses"]["200"]
    assert "/v1/dummy" in openapi.page(openapi.document({"/v1/dummy": dummy}))


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_stands_there_is_served(client: httpx.Client, path: str, method: str) -> None:
    answer = client.request(method, path.replace("{id}", "local-chat"), json={})
    content = TOLD["paths"][path][method]["responses"]
    assert str(answer.status_code) in content
    if path.startswith("/v1/responses/{id}"):
        assert answer.json()["error"]["code"] == "not_stored"
    elif method == "get":
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] in content["200"]["content"]
    else:
        # Something is wrong with an empty request everywhere, and the path is not it. 501: this
        # engine makes no embeddings.
        assert answer.status_code < 500 or answer.status_code == 501
        assert "There is no /" not in answer.text


def test_it_is_served_with_the_paths_of_this_gateway(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == TOLD


def test_the_page_loads_nothing_and_names_every_path(client: httpx.Client) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert all(f"<code>{path}</code>" in answer.text for path in TOLD["paths"])
    assert re.findall(r"(?:src|href)=[\"']?(?!/openapi)", answer.text) == []
    assert not re.search(r"<(?:script|link|img|iframe)|@import|url\(", answer.text)
    assert "default-src 'none'" in answer.text


def test_the_page_is_for_this_machine_only(real_engine: Engine) -> None:
    with running(real_engine.url, guard=Guard(any_address=True)) as published:
        assert httpx.get(f"{published.url}/docs").status_code == 404
        assert httpx.get(f"{published.url}/openapi.json").status_code == 200


def test_a_key_is_asked_for_where_one_is_asked_for(real_engine: Engine) -> None:
    guard = Guard(require_key=True, key_check=lambda _: None)
    with running(real_engine.url, guard=guard) as locked:
        for path in ("/openapi.json", "/docs"):
            assert httpx.get(f"{locked.url}{path}").status_code == 401


def test_it_is_valid_openapi() -> None:
    # Schemathesis carries the OpenAPI Initiative's own schema of 3.1.
    import jsonschema_rs
    from schemathesis.specs.openapi.definitions import OPENAPI_31

    validator = jsonschema_rs.validator_for(OPENAPI_31)
    assert [error.message for error in validator.iter_errors(TOLD)] == []
    assert not validator.is_valid({**TOLD, "paths": {"no-slash": {}}})
