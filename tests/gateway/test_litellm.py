"""What is LiteLLM's, through the real LiteLLM in its child process, started once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import orjson
import psutil
import pytest

from gateway_running import CONFIG, Running, running
from local_ai_suite.gateway.config import load_config
from local_ai_suite.gateway.heartbeat import Pace
from local_ai_suite.gateway.keys import Keyring
from local_ai_suite.gateway.litellm_process import COMMAND, LiteLlm, LiteLlmFailed
from local_ai_suite.gateway.server import environment
from local_ai_suite.paths import Paths
from local_ai_suite.settings import load_settings
from local_ai_suite.wire.guard import Guard
from scripted_engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = {"model": "cloud", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}


@pytest.fixture(scope="module")
def mixed(real_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The committed config, and a model "cloud" that stands for one behind a provider."""
    cloud = (
        "model_list:\n  - model_name: cloud\n    litellm_params:\n"
        f"      model: openai/local-chat\n      api_base: {real_engine.url}/v1/\n"
        "      api_key: theirs\n      temperature: 0\n"
    )
    path = tmp_path_factory.mktemp("mixed") / "config.yaml"
    text = CONFIG.read_text(encoding="utf-8").replace("model_list:\n", cloud, 1)
    path.write_text(text, encoding="utf-8")
    log = tmp_path_factory.mktemp("log") / "litellm.log"
    with running(real_engine.url, config=path, litellm_log=log, pace=Pace(0.5)) as found:
        yield found


@pytest.mark.timeout(300)
def test_a_cloud_model_starts_litellm_while_local_ones_answer(mixed: Running) -> None:
    with httpx.Client(base_url=mixed.url, timeout=200) as client:
        assert mixed.gateway.litellm is not None
        assert not mixed.gateway.litellm.started
        # A stream that waits for LiteLLM gets its headers and heartbeats; local answers go on.
        body = {**CHAT, "stream": True}
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200
            lines = answer.iter_lines()
            assert next(lines).startswith(": ")
            slowest = 0.0
            for _ in range(20):
                begun = time.perf_counter()
                local = httpx.post(
                    f"{mixed.url}/v1/chat/completions", json={**CHAT, "model": "local-chat"}
                )
                slowest = max(slowest, time.perf_counter() - begun)
                assert local.status_code == 200
            assert not mixed.gateway.litellm.started, "LiteLLM was up before this could be seen"
            events = [line for line in lines if line.startswith("data: ")]
        assert events[-1] == "data: [DONE]"
        text = "".join(
            choice["delta"].get("content") or ""
            for event in events[:-1]
            for choice in orjson.loads(event[6:])["choices"]
        )
        assert text == "Hello from the scripted model."
        answer = client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 200
        assert "x-litellm-version" in answer.headers
        assert "x-litellm-model-api-base" not in answer.headers
        assert answer.json()["model"] == "cloud"


@pytest.mark.timeout(300)
def test_a_cloud_model_answers_on_each_protocol_and_its_errors_have_the_envelope(
    mixed: Running,
) -> None:
    with httpx.Client(base_url=mixed.url, timeout=200) as client:
        said = client.post("/api/chat", json={**CHAT, "stream": False}).json()
        assert said["message"]["content"] == "Hello from the scripted model."
        said = client.post("/v1/messages", json=CHAT).json()
        assert said["content"][0]["text"] == "Hello from the scripted model."
        assert client.post("/v1//chat/completions/", json=CHAT).status_code == 200
        answer = client.get("/v1/images/nothing")
        assert answer.status_code == 404
        assert answer.json()["error"]["message"]


@pytest.mark.timeout(300)
def test_its_pages_and_its_key_stay_out_of_reach(mixed: Running) -> None:
    with httpx.Client(base_url=mixed.url, timeout=200) as client:
        assert "/key/generate" not in client.get("/openapi.json").json()["paths"]
        for path in ("/ui", "/key/generate", "/routes", "/sso/key/generate"):
            assert client.get(path).status_code == 404, path
            assert client.post(path, json={}).status_code == 404, path
        for path in ("/v1/mcp/server", "/v1/agents", "/v1/images/%2e%2e/mcp/server", "//v1/mcp/x"):
            answer = client.post(path, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path
        child = mixed.do(_child_port(mixed))
        answer = httpx.post(f"http://127.0.0.1:{child}/v1/chat/completions", json=CHAT, timeout=60)
        assert answer.status_code >= 400, "the child answered somebody without its key"


async def _child_port(mixed: Running) -> int:
    assert mixed.gateway.litellm is not None
    return (await mixed.gateway.litellm.upstream()).port


ECHO = """
import http.server, json

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = json.dumps({"path": self.path, "key": self.headers.get("authorization")}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_POST = do_GET
    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
print("port", server.server_port, flush=True)
server.serve_forever()
"""


def test_with_a_database_litellm_judges_the_keys_that_it_gave_out(
    real_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    text = CONFIG.read_text(encoding="utf-8")
    path.write_text(text + "  database_url: postgres://nowhere\n", encoding="utf-8")
    ring = Keyring("the master")
    guard = Guard(require_key=True, key_check=ring.check)
    with (
        running(
            real_engine.url, config=path, guard=guard, keyring=ring,
            litellm_command=[sys.executable, "-c", ECHO],
        ) as served,
        httpx.Client(base_url=served.url, headers={"authorization": "Bearer sk-theirs"}) as client,
    ):  # fmt: skip
        for asked in ("/v1/chat/completions?x=1", "/key/generate", "/v1/models", "/ui/"):
            said = client.post(asked, json=CHAT).json()
            assert said == {"path": asked.rstrip("/"), "key": "Bearer sk-theirs"}
        assert client.get("/metrics").status_code == 401
        master = {"authorization": "Bearer the master"}
        said = client.post(
            "/v1/chat/completions", json={**CHAT, "model": "local-chat"}, headers=master
        )
        assert said.json()["key"] == "Bearer the master"


def test_a_head_on_a_path_of_litellms_is_answered_at_once(
    real_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    text = CONFIG.read_text(encoding="utf-8")
    path.write_text(text + "  database_url: postgres://nowhere\n", encoding="utf-8")
    program = [sys.executable, "-c", ECHO]
    with running(real_engine.url, config=path, litellm_command=program) as served:
        answer = httpx.head(f"{served.url}/v1/files", timeout=10)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) > 0


def test_with_the_relay_off_models_still_carry_the_engines_limits(real_engine: Engine) -> None:
    """LiteLLM would serve them; what they can take is the engine's to say."""
    with (
        running(real_engine.url, relay=False) as served,
        httpx.Client(base_url=served.url) as client,
    ):
        assert client.get("/health/readiness").status_code == 503
        (entry,) = client.get("/v1/models").json()["data"]
        assert (entry["id"], entry["context_length"]) == ("local-chat", 2048)
        answer = client.post("/v1/chat/completions", json={**CHAT, "model": "nope"})
        assert answer.json()["error"]["code"] == "model_not_found"


def test_an_engine_without_a_key_still_gets_one_that_litellm_accepts(tmp_path: Path) -> None:
    settings = load_settings(Paths(tmp_path, tmp_path / ".state"), environ={})
    for given in ({}, {"INFERENCE_API_KEY": ""}):
        assert environment(settings, given)["INFERENCE_API_KEY"] == "none"
    assert environment(settings, {"INFERENCE_API_KEY": "k"})["INFERENCE_API_KEY"] == "k"


STAND_IN = """
import http.server, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
print("port", server.server_port, flush=True)
server.serve_forever()
"""


def stand_in(program: str) -> LiteLlm:
    """LiteLLM's life without its seconds: a program in its place."""
    environ = {**os.environ, "INFERENCE_API_BASE": "http://127.0.0.1:1/v1"}
    config = load_config(CONFIG, {**environ, "INFERENCE_API_KEY": "k"}, relay=False)
    command = [sys.executable, "-c", program]
    return LiteLlm(config, environ, silence_timeout_s=5, command=command)


def test_a_litellm_that_died_is_started_again_and_none_is_left() -> None:
    async def main() -> None:
        litellm = stand_in(STAND_IN)
        try:
            first, again = await asyncio.gather(litellm.upstream(), litellm.upstream())
            assert first is again
            child = litellm.child
            assert child is not None
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            await child.exited()
            assert not litellm.started
            second = await litellm.upstream()
            assert litellm.child is not child
            assert second.port != first.port
            pid = litellm.child.pid
        finally:
            await litellm.stop()
        assert not psutil.pid_exists(pid)

    asyncio.run(main())


def test_a_litellm_that_does_not_start_says_why_and_is_not_tried_at_once_again() -> None:
    async def main() -> None:
        litellm = stand_in("raise SystemExit('no such thing')")
        with pytest.raises(LiteLlmFailed, match="no such thing"):
            await litellm.upstream()
        child = litellm.child
        with pytest.raises(LiteLlmFailed, match="no such thing"):
            await litellm.upstream()
        assert litellm.child is child
        await litellm.stop()

    asyncio.run(main())


def test_the_childs_key_is_fresh_and_reaches_it_by_its_environment_only() -> None:
    one, two = stand_in(STAND_IN), stand_in(STAND_IN)
    assert one.key != two.key
    assert one.key.startswith("sk-")
    assert one.key not in " ".join(COMMAND)
