"""The engine service over HTTP, with the real embedded engine."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from local_ai_suite.demo import Say, Script, write_scripted_gguf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine_service import Service


def test_an_empty_project_answers_with_the_demo_model(start: Callable[..., Service]) -> None:
    service = start()
    listed = service.client.get("/v1/models").json()["data"]
    assert {row["id"] for row in listed} == {"local-chat", "local-code", "demo"}
    assert all(row["meta"]["is_demo"] for row in listed)
    answer = service.chat()
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]


def test_every_gguf_is_listed_with_its_facts(shared: Service) -> None:
    rows = {row["id"]: row["meta"] for row in shared.client.get("/v1/models").json()["data"]}
    assert set(rows) == {
        "local-chat", "Talker-3B-Instruct-Q8_0", "local-code", "Coder-1B",
    }  # fmt: skip
    meta = rows["local-code"]
    assert meta["file"] == "Coder-1B.gguf"
    assert meta["architecture"] == "llama"
    assert "chat" in meta["capabilities"]
    assert meta["n_ctx_train"] > 0


def test_an_answer_comes_streamed_and_whole_and_says_who_gave_it(shared: Service) -> None:
    whole = shared.chat()
    assert whole.json()["model"] == "local-chat"
    assert whole.headers["x-lais-model"] == "local-chat"
    assert int(whole.headers["x-lais-context"]) == shared.meta()["n_ctx"]
    streamed = shared.chat(stream=True)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    pieces = [json.loads(line[6:])["choices"][0]["delta"] for line in lines[:-1]]
    text = "".join(piece.get("content") or "" for piece in pieces)
    assert text == whole.json()["choices"][0]["message"]["content"]


def test_a_base_model_that_must_chat_stops_at_the_marks_and_is_warned_of(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    project = tmp_path / "base"
    rambling = Say("Paris.<|im_end|>\n<|im_start|>user\nAnd then?", forever=True)
    script = Script(is_base=True, completion=rambling)
    write_scripted_gguf(project / "models" / "base.gguf", script)
    service = start(project)
    reply = service.chat(max_tokens=200).json()["choices"][0]
    assert reply["message"]["content"] == "Paris."
    assert reply["finish_reason"] == "stop"
    own = service.chat(max_tokens=40, stop=["then"]).json()["choices"][0]["message"]["content"]
    assert own.endswith("And "), "a request's own stops are the ones that count"
    meta = service.meta()
    assert meta["is_base"] is True
    assert meta["capabilities"] == ["completion", "fim"]
    assert "no chat template" in meta["warnings"][0]
    assert service.running()["warnings"] == meta["warnings"]


def test_the_context_of_a_running_model_is_the_engines_own(shared: Service) -> None:
    shared.chat()
    props = shared.client.get("/props", params={"model": "local-chat"}).json()
    meta = shared.meta()
    assert meta["status"] == "ready"
    assert meta["n_ctx"] == props["default_generation_settings"]["n_ctx"]
    assert meta["parallel"] == props["total_slots"]


def test_an_unknown_model_is_404_in_openais_envelope(shared: Service) -> None:
    answer = shared.chat("gpt-9")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "model_not_found"
    assert error["type"] == "invalid_request_error"
    assert "gpt-9" in error["message"]
    assert shared.client.get("/v1/models/gpt-9").status_code == 404


def test_embeddings_of_a_chat_model_are_refused_in_words(shared: Service) -> None:
    answer = shared.client.post("/v1/embeddings", json={"model": "local-chat", "input": "x"})
    assert answer.status_code == 400
    assert "makes no embeddings" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": []}', b'{"model": 3}'])
def test_a_body_that_is_no_request_is_400(shared: Service, body: bytes) -> None:
    answer = shared.client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_over_the_limit_is_413(start: Callable[..., Service]) -> None:
    service = start(MAX_REQUEST_MIB="1")
    answer = service.client.post("/v1/chat/completions", content=b" " * (2 * 2**20))
    assert answer.status_code == 413


def test_a_web_page_is_refused_and_a_page_on_loopback_may_come_in(shared: Service) -> None:
    page = shared.client.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert page.status_code == 403
    rebound = shared.client.get("/v1/models", headers={"Host": "evil.example"})
    assert rebound.status_code == 403
    own = shared.client.get("/v1/models", headers={"Origin": "http://localhost:3000"})
    assert own.status_code == 200
    assert own.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_a_key_is_asked_for_when_it_is_required(start: Callable[..., Service]) -> None:
    service = start(REQUIRE_KEY="true", LITELLM_MASTER_KEY="sk-correct-horse")
    assert service.client.get("/v1/models").status_code == 401
    assert service.client.get("/health").status_code == 200
    good = {"Authorization": "Bearer sk-correct-horse"}
    assert service.client.get("/v1/models", headers=good).status_code == 200
    page = {"Origin": "http://localhost:3000"}
    refused = service.client.get("/v1/models", headers=page)
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == page["Origin"]
    asks = {**page, "Access-Control-Request-Headers": "authorization"}
    preflight = service.client.options("/v1/models", headers=asks)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == "authorization"
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_an_allowed_page_gets_a_whole_preflight_and_may_read_that_its_key_is_wrong(
    start: Callable[..., Service],
) -> None:
    service = start(
        REQUIRE_KEY="true",
        LITELLM_MASTER_KEY="sk-correct-horse",
        ALLOWED_ORIGINS="https://chat.example,chrome-extension://*",
    )
    for origin in ("https://chat.example", "chrome-extension://abcdef"):
        page = {"Origin": origin}
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-stainless-os",
        }
        preflight = service.client.options("/v1/chat/completions", headers=page | asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "POST" in preflight.headers["access-control-allow-methods"]
        allowed = preflight.headers["access-control-allow-headers"]
        assert allowed == "authorization, x-stainless-os"
        refused = service.client.get("/v1/models", headers=page)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == origin
    evil = {"Origin": "https://evil.example"}
    preflight = service.client.options("/v1/chat/completions", headers=evil | asked)
    assert preflight.status_code == 403
    assert "access-control-allow-origin" not in preflight.headers
    assert "add https://evil.example to ALLOWED_ORIGINS" in preflight.json()["error"]["message"]


def test_the_engine_behind_takes_only_its_own_key_and_shows_it_to_nobody(shared: Service) -> None:
    shared.chat()
    pid = shared.running()["pid"]
    engine = psutil.Process(pid)
    words = engine.cmdline()
    port = words[words.index("--port") + 1]
    key = engine.environ()["LLAMA_API_KEY"]
    assert key not in " ".join(words)
    bare = shared.client.get(f"http://127.0.0.1:{port}/props")
    assert bare.status_code == 401


def test_a_path_that_nobody_serves_is_404_and_loads_nothing(start: Callable[..., Service]) -> None:
    service = start()
    assert service.client.post("/v1/nonsense", json={"model": "local-chat"}).status_code == 404
    assert service.client.post("/slots/0?action=save", json={}).status_code == 404
    assert service.client.get("/v1/chat/completions").status_code == 405
    assert service.running()["status"] == "unloaded"


def test_load_unload_and_running_tell_one_story(start: Callable[..., Service]) -> None:
    service = start()
    with service.client.stream("GET", "/events") as events:
        lines = events.iter_lines()
        loaded = service.client.post("/models/load", json={"model": "local-chat"}).json()
        assert loaded["status"] == "ready"
        assert psutil.pid_exists(loaded["pid"])
        gone = service.client.post("/models/unload", json={"model": "local-chat"}).json()
        assert gone["status"] == "unloaded"
        assert not psutil.pid_exists(loaded["pid"])
        seen: list[str] = []
        while "unloaded" not in seen:
            line = next(lines)
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
    assert seen == ["running", "loading", "ready", "stopping", "unloaded"]
    assert service.client.get("/running").json()["used_bytes"] == {"CPU": 0}


def test_a_client_that_hangs_up_frees_its_slot(shared: Service) -> None:
    shared.chat()

    def busy() -> bool:
        slots = shared.client.get("/slots", params={"model": "local-chat"}).json()
        return any(slot["is_processing"] for slot in slots)

    endless = {"ignore_eos": True, "max_tokens": 100_000, "stream": True}
    body = {"model": "local-chat", "messages": [{"role": "user", "content": "hi"}], **endless}
    with shared.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()  # kept: httpx closes the answer with its last reader
        next(lines)
        assert busy()
        assert shared.running()["in_flight"] == 1
    deadline = time.monotonic() + 20
    while busy() or shared.running()["in_flight"]:
        assert time.monotonic() < deadline, "the slot is still busy"
        time.sleep(0.02)


def test_an_idle_model_is_stopped_after_its_keep_alive(start: Callable[..., Service]) -> None:
    service = start(KEEP_ALIVE="0.3s")
    service.chat()
    pid = service.running()["pid"]
    deadline = time.monotonic() + 20
    while service.running()["status"] != "unloaded":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not psutil.pid_exists(pid)
    assert service.chat().status_code == 200


def test_a_new_file_is_served_without_a_restart(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(tmp_path / "p")
    assert service.chat("Newcomer").status_code == 404
    write_scripted_gguf(tmp_path / "p" / "models" / "Newcomer.gguf")
    assert service.chat("Newcomer").status_code == 200


def test_sigterm_stops_the_service_and_its_engines(start: Callable[..., Service]) -> None:
    service = start()
    service.chat()
    children = service.children()
    assert children
    assert service.stop() == 0
    assert not [child for child in children if child.is_running()]


def test_an_embedding_model_makes_embeddings_and_does_not_chat(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    write_scripted_gguf(tmp_path / "e" / "models" / "talk.gguf")
    write_scripted_gguf(tmp_path / "e" / "models" / "embed.gguf")
    service = start(tmp_path / "e", CHAT_MODEL="talk.gguf", EMBED_MODEL="embed.gguf")
    body = {"model": "local-embed", "input": ["one", "two"]}
    answer = service.client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    vectors = [row["embedding"] for row in answer.json()["data"]]
    assert len(vectors) == 2
    assert len(vectors[0]) == service.meta("local-embed")["n_embd"]
    refused = service.chat("local-embed")
    assert refused.status_code == 400
    assert "generates no text" in refused.json()["error"]["message"]


def test_one_file_may_chat_and_embed_in_two_processes(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    write_scripted_gguf(tmp_path / "b" / "models" / "both.gguf")
    service = start(tmp_path / "b", CHAT_MODEL="both.gguf", EMBED_MODEL="both.gguf")
    assert service.chat().status_code == 200
    body = {"model": "local-embed", "input": "x"}
    assert service.client.post("/v1/embeddings", json=body).status_code == 200
    pids = {service.running(name)["pid"] for name in ("local-chat", "local-embed")}
    write_scripted_gguf(tmp_path / "b" / "models" / "more.gguf")
    service.client.get("/v1/models")
    again = {service.running(name)["pid"] for name in ("local-chat", "local-embed")}
    assert again == pids
    assert len(pids) == 2
