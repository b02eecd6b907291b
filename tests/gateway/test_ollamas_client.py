"""What Ollama's own Python client asks for beside answers: models that are brought or removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import ollama
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_running import Running


@pytest.fixture
def sdk(served: Running) -> ollama.Client:
    return ollama.Client(host=served.url)


def test_a_pull_of_a_model_that_is_there_succeeds(sdk: ollama.Client) -> None:
    assert sdk.pull("local-chat").status == "success"
    assert [step.status for step in sdk.pull("local-chat:latest", stream=True)][-1] == "success"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_pull_of_another_names_the_command(sdk: ollama.Client, *, stream: bool) -> None:
    with pytest.raises(ollama.ResponseError, match="lais models pull") as caught:
        list(sdk.pull("nobody", stream=True)) if stream else sdk.pull("nobody")
    assert caught.value.status_code == 400
    assert "nobody" in caught.value.error


CHANGES: dict[str, Callable[[ollama.Client], Any]] = {
    "create": lambda sdk: sdk.create("mine", from_="local-chat"),
    "copy": lambda sdk: sdk.copy("local-chat", "mine"),
    "push": lambda sdk: sdk.push("local-chat"),
    "delete": lambda sdk: sdk.delete("local-chat"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_would_change_the_models_is_refused_with_what_to_do(
    sdk: ollama.Client, client: httpx.Client, name: str
) -> None:
    before = client.get("/api/tags").json()
    with pytest.raises(ollama.ResponseError, match=f"{name} .*not changed over HTTP") as caught:
        CHANGES[name](sdk)
    assert caught.value.status_code == 400
    assert client.get("/api/tags").json() == before
