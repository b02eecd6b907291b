"""What Anthropic's own SDK asks for, beside messages: the models, ids and errors in its shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import pytest

from local_ai_suite.gateway.protocols.anthropic_models import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_running import Running

VERSION = {"anthropic-version": "2023-06-01"}
ASK: Any = {
    "model": "local-chat",
    "max_tokens": 60,
    "messages": [{"role": "user", "content": "hi"}],
}


@pytest.fixture
def sdk(served: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0) as found:
        yield found


def names(client: httpx.Client) -> list[str]:
    return [entry["id"] for entry in client.get("/v1/models").json()["data"]]


def test_the_sdk_lists_the_models(sdk: anthropic.Anthropic, client: httpx.Client) -> None:
    found = list(sdk.models.list())
    assert [model.id for model in found] == names(client)
    chat = next(model for model in found if model.id == "local-chat")
    assert (chat.type, chat.display_name, chat.lifecycle) == ("model", "local-chat", "active")
    assert chat.created_at.timestamp() > 0


FIVE = [{"id": name, "created": 1_700_000_000} for name in "abcde"]


@pytest.mark.parametrize(
    ("query", "shown", "more"),
    [
        ("", "abcde", False),
        ("limit=2", "ab", True),
        ("limit=2&after_id=b", "cd", True),
        ("limit=2&after_id=d", "e", False),
        ("after_id=e", "", False),
        ("limit=2&before_id=d", "bc", True),
        ("limit=2&before_id=b", "a", False),
        ("before_id=a", "", False),
    ],
)
def test_a_list_is_given_page_by_page_in_both_directions(
    query: str, shown: str, *, more: bool
) -> None:
    page = listed(FIVE, query)
    assert "".join(model["id"] for model in page["data"]) == shown
    assert page["has_more"] is more
    assert (page["first_id"], page["last_id"]) == ((shown[0], shown[-1]) if shown else (None, None))


def test_the_sdk_retrieves_one_model(sdk: anthropic.Anthropic) -> None:
    assert sdk.models.retrieve("local-chat").id == "local-chat"
    with pytest.raises(anthropic.NotFoundError) as caught:
        sdk.models.retrieve("nobody")
    assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


@pytest.mark.parametrize("wrong", ["limit=0", "limit=x", "after_id=nobody", "before_id=nobody"])
def test_a_page_that_cannot_be_is_a_400_in_its_envelope(client: httpx.Client, wrong: str) -> None:
    answer = client.get(f"/v1/models?{wrong}", headers=VERSION)
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"


def test_who_speaks_openais_api_gets_its_list(client: httpx.Client) -> None:
    assert client.get("/v1/models?limit=1").json()["object"] == "list"
    assert client.get("/v1/models/nobody").json()["error"]["code"] == "model_not_found"


def test_a_messages_id_is_one_of_messages_whole_and_streamed(sdk: anthropic.Anthropic) -> None:
    ids = [sdk.messages.create(**ASK).id, sdk.messages.create(**ASK).id]
    for more in ({}, {"stop_sequences": ["nowhere"]}):
        with sdk.messages.stream(**ASK, **more) as stream:
            ids.append(stream.get_final_message().id)
    assert all(name.startswith("msg_") and len(name) > 20 for name in ids)
    assert len(set(ids)) == len(ids)
