"""The assistant behind the real gateway: counting, refusing, cancelling through port 8000."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_running import Running, running
from local_ai_suite.client import Client
from local_ai_suite.errors import ContextOverflow, RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chat_servers import Done

HELLO = [{"role": "user", "content": "Hi there"}]


@pytest.fixture(scope="module")
def gateway(engine: str) -> Iterator[Running]:
    with running(engine) as found:
        yield found


@pytest.fixture
def client(gateway: Running) -> Client:
    return Client(f"{gateway.url}/v1", "any-placeholder")


def test_counts_streams_and_completes_as_without_it(client: Client) -> None:
    counted = client.count_tokens(HELLO, model="local-chat")
    with client.stream_chat(HELLO, model="local-chat") as stream:
        text = "".join(delta.text for delta in stream)
    assert text == "Hello from the scripted model."
    assert stream.answer.usage.prompt_tokens == counted
    assert stream.answer.timings.predicted_per_second is not None
    assert client.fim("a", "b", model="local-chat", max_tokens=9).text.startswith("return")
    assert client.count_tokens("some words", model="local-chat")


def test_an_overflow_keeps_both_numbers(client: Client) -> None:
    with pytest.raises(ContextOverflow) as caught:
        client.chat([{"role": "user", "content": "word " * 4000}], model="local-chat")
    assert caught.value.details["context_tokens"] == 2048
    assert caught.value.details["prompt_tokens"] > 2048


def test_a_name_that_is_not_there_is_refused(client: Client) -> None:
    with pytest.raises(RequestRefused, match="gpt-9"):
        client.chat(HELLO, model="gpt-9")


def test_leaving_a_stream_frees_the_slot_through_it(client: Client) -> None:
    forever = [{"role": "user", "content": "forever"}]
    with client.stream_chat(forever, model="local-chat", max_tokens=1500) as stream:
        next(iter(stream))
    assert client.chat(HELLO, model="local-chat").text == "Hello from the scripted model."


def test_the_command_asks_and_cuts_through_it(
    ai: Callable[..., Done], gateway: Running, tmp_path: Path
) -> None:
    file = tmp_path / "long.txt"
    file.write_text("a line of many words\n" * 2000)
    assert "They **flow**." in ai("a shell joke", port=gateway.port).out
    done = ai("-f", str(file), "what?", port=gateway.port)
    assert done.code == 7
    assert "--cut" in done.err
    assert ai("--cut", "-f", str(file), "what?", port=gateway.port).code == 0
