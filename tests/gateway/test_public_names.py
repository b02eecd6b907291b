"""The names that 8000 takes: the config's, and every file's, however a client spells them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from engine_service import Service, end_service, start_service
from gateway_running import CONFIG, Running, running
from local_ai_suite.demo import write_scripted_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
USER: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
BOUND = 60.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An engine service over a folder with two files that work, and one that is cut."""
    project = tmp_path_factory.mktemp("names")
    whole = write_scripted_gguf(project / "models" / "Talker-3B-Instruct.gguf")
    write_scripted_gguf(project / "models" / "sub" / "Second-1B.gguf")
    (project / "models" / "Cut-7B.gguf").write_bytes(whole.read_bytes()[:2000])
    found = start_service(project, CHAT_MODEL="Talker-3B-Instruct.gguf", CTX_SIZE="2048")
    yield found
    end_service(found)


@pytest.fixture(scope="module")
def served(service: Service) -> Iterator[Running]:
    with running(f"http://127.0.0.1:{service.port}") as found:
        yield found


@pytest.fixture
def client(served: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=BOUND) as found:
        yield found


def ask(client: httpx.Client, model: object, path: str = CHAT) -> httpx.Response:
    named = {} if model is None else {"model": model}
    return client.post(path, json={**named, **USER})


def test_every_name_that_is_listed_is_served_and_every_file_is_listed(client: httpx.Client) -> None:
    listed = {entry["id"]: entry for entry in client.get("/v1/models").json()["data"]}
    assert {"local-chat", "Talker-3B-Instruct", "sub/Second-1B"} <= set(listed)
    assert listed["Talker-3B-Instruct"]["alias_of"] == "local-chat"
    assert listed["sub/Second-1B"]["mode"] == "chat"
    for name in listed:
        answer = ask(client, name)
        assert (answer.status_code, answer.json()["model"]) == (200, name), answer.text
        assert client.get(f"/v1/models/{name}").json()["id"] == name


@pytest.mark.parametrize(
    "spelled",
    [
        "openai/local-chat", "LOCAL-CHAT", "local-chat:latest", "talker-3b-instruct",
        "Talker-3B-Instruct.gguf", "openai/TALKER-3B-INSTRUCT.GGUF", "SUB/second-1b",
        "Qwen2.5-Coder",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_name_is_understood_however_it_is_spelled_and_comes_back_so(
    client: httpx.Client, spelled: str, path: str
) -> None:
    answer = ask(client, spelled, path)
    assert (answer.status_code, answer.json().get("model")) == (200, spelled), answer.text
    assert client.get(f"/v1/models/{spelled}").status_code == 200


def test_a_spelling_that_fits_two_models_is_none(service: Service, tmp_path: Path) -> None:
    models = service.project / "models"
    write_scripted_gguf(models / "Twin.gguf")
    write_scripted_gguf(models / "twin.gguf")
    try:
        with (
            running(f"http://127.0.0.1:{service.port}") as served,
            httpx.Client(base_url=served.url, timeout=BOUND) as client,
        ):
            assert ask(client, "twin").status_code == 200
            assert ask(client, "Twin").status_code == 200
            assert ask(client, "TWIN").status_code == 404
    finally:
        (models / "Twin.gguf").unlink()
        (models / "twin.gguf").unlink()


def test_a_file_that_was_just_put_there_is_found(service: Service, client: httpx.Client) -> None:
    path = service.project / "models" / "Newcomer.gguf"
    assert ask(client, "newcomer").status_code == 404
    write_scripted_gguf(path)
    try:
        assert ask(client, "newcomer").status_code == 200
    finally:
        path.unlink()


def test_an_error_lists_only_names_that_work(client: httpx.Client) -> None:
    listed = {entry["id"] for entry in client.get("/v1/models").json()["data"]}
    message = ask(client, "nope").json()["error"]["message"]
    named = message.partition("Models here: ")[2].removesuffix(".").split(", ")
    assert set(named) == listed
    assert "local-embed" not in named, "no model makes embeddings here"


@pytest.mark.parametrize("spelled", ["Cut-7B", "cut-7b.gguf"])
def test_a_file_that_is_left_out_says_why(client: httpx.Client, spelled: str) -> None:
    answer = ask(client, spelled)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "model_not_found"
    assert "it cannot be served: Cut-7B.gguf" in error["message"]
    assert "models/" not in error["message"], "no folder of this machine"
    assert "it cannot be served" in ask(client, spelled, MESSAGES).json()["error"]["message"]
    assert "it cannot be served" in client.get(f"/v1/models/{spelled}").json()["error"]["message"]


def test_the_engine_says_it_too(service: Service) -> None:
    answer = service.chat("Cut-7B")
    assert answer.status_code == 404
    assert "it cannot be served: Cut-7B.gguf" in answer.json()["error"]["message"]


def test_a_request_without_a_model_is_answered_by_the_chat_model(client: httpx.Client) -> None:
    for named in ({}, {"model": None}):
        answer = client.post(CHAT, json={**USER, **named})
        assert (answer.status_code, answer.json()["model"]) == (200, "local-chat")
    assert ask(client, None, MESSAGES).json()["model"] == "local-chat"
    said = client.post("/v1/completions", json={"prompt": "x", "max_tokens": 2}).json()
    assert said["model"] == "local-chat"
    said = client.post("/v1/responses", json={"input": "hi"}).json()
    assert said["model"] == "local-chat"


@pytest.mark.parametrize(
    "path", ["/v1/v1/chat/completions", "/openai/v1/chat/completions", "/api/v1/chat/completions"]
)
def test_a_base_url_with_a_prefix_too_many_is_understood(client: httpx.Client, path: str) -> None:
    answer = ask(client, "local-chat", path)
    assert (answer.status_code, answer.json()["object"]) == (200, "chat.completion")
    models = path.replace("chat/completions", "models")
    assert client.get(models).json() == client.get("/v1/models").json()
    assert "error" in ask(client, "nope", path).json()


def test_where_litellm_acts_on_every_request_a_file_is_no_way_around_it(
    service: Service, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    text = CONFIG.read_text(encoding="utf-8")
    config.write_text(text + "guardrails:\n  - guardrail_name: x\n", encoding="utf-8")
    with (
        running(f"http://127.0.0.1:{service.port}", config=config) as served,
        httpx.Client(base_url=served.url, timeout=BOUND) as client,
    ):
        assert ask(client, "sub/Second-1B").status_code == 404
        ids = [entry["id"] for entry in client.get("/v1/models").json()["data"]]
        assert "sub/Second-1B" not in ids
