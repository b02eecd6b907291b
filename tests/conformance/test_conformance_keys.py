"""Keys: the relay with REQUIRE_KEY, through the SDKs and in each API's envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import httpx
import openai
import pytest
import targets
from checks import CHAT, HELLO, MESSAGES, anthropic_error, openai_error, user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MASTER = targets.MASTER_KEY


@pytest.fixture(scope="module")
def keyed(folder: Path, pool: str) -> Iterator[str]:
    """The address of a gateway that asks everybody for a key."""
    with targets.gateway("keyed", folder / "keyed", pool, REQUIRE_KEY="true") as target:
        yield target.url


ASK: dict[str, Any] = {"model": "local-chat", "messages": user("hi"), "max_tokens": 60}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", f"Bearer {MASTER}"),
        ("x-api-key", MASTER),
        ("api-key", MASTER),
        ("x-litellm-api-key", MASTER),
        ("x-litellm-api-key", f"Bearer {MASTER}"),
    ],
)
def test_the_master_key_opens_under_every_header_that_clients_use(
    keyed: str, name: str, value: str
) -> None:
    answer = httpx.post(keyed + CHAT, json=ASK, headers={name: value}, timeout=30)
    assert answer.json()["choices"][0]["message"]["content"] == HELLO


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-wrong"}], ids=["no", "wrong"])
def test_without_it_each_api_says_401_in_its_own_words(keyed: str, headers: dict[str, str]) -> None:
    said = httpx.post(keyed + CHAT, json=ASK, headers=headers, timeout=30)
    assert said.status_code == 401
    openai_error(said.json())
    said = httpx.post(keyed + MESSAGES, json=ASK, headers=headers, timeout=30)
    assert said.status_code == 401
    assert anthropic_error(said.json())["type"] == "authentication_error"
    said = httpx.post(f"{keyed}/api/chat", json=ASK, headers=headers, timeout=30)
    assert said.status_code == 401
    assert isinstance(said.json()["error"], str)


def test_health_is_told_to_everybody(keyed: str) -> None:
    for path in ("/health/liveliness", "/health/readiness"):
        assert httpx.get(keyed + path, timeout=30).status_code == 200
    assert httpx.get(f"{keyed}/v1/models", timeout=30).status_code == 401
    assert httpx.get(f"{keyed}/metrics", timeout=30).status_code == 401


def test_the_sdks_know_the_refusal(keyed: str) -> None:
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{keyed}/v1", api_key="sk-wrong").models.list()
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=keyed, api_key="sk-wrong").messages.create(**ASK)


def test_on_loopback_a_placeholder_key_is_no_obstacle(relay: targets.Target) -> None:
    said = relay.openai.chat.completions.create(**ASK)
    assert said.choices[0].message.content == HELLO
