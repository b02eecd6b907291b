"""What the suite is run against: the engine itself, the gateway, and the gateway as LiteLLM."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import anthropic
import httpx
import openai

from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
CONTEXT, SLOTS = 65_536, 4
"""Tokens per slot: an endless answer takes ten seconds, so a freed slot is one that was freed."""

MAX_REQUEST_MIB = 8
_STARTED_S = 120.0
_STOPPED_S = 30.0
_TIMEOUT_S = 60.0
_PLACEHOLDER = "sk-placeholder"
MASTER_KEY = "sk-master-0123456789abcdef0123"


@dataclass
class Target:
    """One server under test. `slots_url` is where llama.cpp's /slots can be read."""

    name: str
    url: str
    embed_url: str
    slots_url: str
    key: str = _PLACEHOLDER

    @cached_property
    def http(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, timeout=_TIMEOUT_S, headers=headers)

    @cached_property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=_TIMEOUT_S
        )

    @cached_property
    def embedder(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.embed_url}/v1", api_key=self.key, max_retries=0, timeout=_TIMEOUT_S
        )

    @cached_property
    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(
            base_url=self.url, auth_token=self.key, api_key=None, max_retries=0, timeout=_TIMEOUT_S
        )

    def busy_slots(self) -> int:
        answer = httpx.get(self.slots_url, timeout=_TIMEOUT_S)
        return sum(bool(slot["is_processing"]) for slot in answer.json())


@contextlib.contextmanager
def direct(folder: Path) -> Iterator[Target]:
    """Two engines without anything in front: one for chat, one for embeddings."""
    model = write_scripted_gguf(folder / "scripted.gguf")
    with (
        engine(model, context=CONTEXT * SLOTS, slots=SLOTS) as chat,
        engine(model, alias="local-embed", context=4096, slots=1, mode="embedding") as embed,
    ):
        yield Target("direct", chat.url, embed.url, f"{chat.url}/slots")


@contextlib.contextmanager
def pool(folder: Path, **environ: str) -> Iterator[str]:
    """The engine service with a chat model and an embedding model; its address without /v1."""
    project = make_project(folder)
    with _service("engine", project, "INFERENCE_PORT", "/health", **environ) as url:
        for model in ("local-chat", "local-embed"):
            loaded = httpx.post(f"{url}/models/load", json={"model": model}, timeout=_STARTED_S)
            assert loaded.status_code == 200, loaded.text
        yield url


@contextlib.contextmanager
def gateway(name: str, folder: Path, pool_url: str, **environ: str) -> Iterator[Target]:
    """The gateway over the engine service at `pool_url`, with more settings in `environ`."""
    project = make_project(folder)
    environ = {
        "INFERENCE_API_BASE": f"{pool_url}/v1",
        "INFERENCE_API_KEY": "internal",
        "MAX_REQUEST_MIB": str(MAX_REQUEST_MIB),
        **environ,
    }
    ready = "/health/readiness"
    with _service("gateway", project, "API_GATEWAY_PORT", ready, **environ) as url:
        yield Target(name, url, url, f"{pool_url}/slots?model=local-chat")


def make_project(folder: Path) -> Path:
    """A project folder with two scripted models and the committed gateway configuration."""
    models = folder / "models"
    if not models.exists():
        for name in ("Scripted-Chat.gguf", "scripted-embed.gguf"):
            write_scripted_gguf(models / name)
        config = Path("services") / "api-gateway" / "config.p1.yaml"
        (folder / config).parent.mkdir(parents=True)
        shutil.copy(CHECKOUT / config, folder / config)
    return folder


@contextlib.contextmanager
def _service(room: str, project: Path, port_key: str, probe: str, **environ: str) -> Iterator[str]:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAIS_", "LITELLM"))}
    settings = {
        "LAIS_PROJECT": str(project),
        "LAIS_STATE": str(project / f".state-{room}-{port}"),
        "CHAT_MODEL": "Scripted-Chat.gguf",
        "EMBED_MODEL": "scripted-embed.gguf",
        "CTX_SIZE": str(CONTEXT),
        "PARALLEL": str(SLOTS),
        "LITELLM_MASTER_KEY": MASTER_KEY,
        port_key: str(port),
    }
    log = project / f"{room}-{port}.log"
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", f"local_ai_suite.{room}.server"],
            env=kept | settings | environ, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        ) as process,
    ):  # fmt: skip
        try:
            _wait(url + probe, process, log)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOPPED_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(probe: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTED_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(probe, timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
