"""The servers that bench_gateway.py measures, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FOLDER = Path(__file__).parent
CHECKOUT = FOLDER.parents[1]
KEY = "sk-bench-0123456789abcdef0123456789"
BODY = {"model": "local-chat", "messages": [{"role": "user", "content": "hi"}]}
READY_S = 180.0


@dataclass(frozen=True)
class Server:
    """A running server. `ready` is seconds from exec to its first answer; headers go along."""

    name: str
    port: int
    process: psutil.Process
    ready: float
    headers: Mapping[str, str]

    def cpu(self) -> float:
        """Processor seconds so far, of the process and its children."""
        total = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory(self) -> float:
        """Proportional set size in MB, of the process and its children."""
        total = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 1e6

    def own_memory(self) -> float:
        """What belongs to the process alone, in MB."""
        return float(self.process.memory_full_info().uss / 1e6)


def compiled(folder: Path) -> Path:
    """The upstream and load generator, compiled with the machine's C compiler."""
    program = folder / "fast"
    subprocess.run(
        [os.environ.get("CC", "cc"), "-O2", "-o", str(program), str(FOLDER / "fast.c")], check=True
    )
    return program


@contextlib.contextmanager
def fast_upstream(fast: Path) -> Iterator[Server]:
    with subprocess.Popen([str(fast), "serve"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        try:
            yield Server("direct", port, psutil.Process(process.pid), 0.0, {})
        finally:
            process.terminate()


@contextlib.contextmanager
def relay(folder: Path, upstream: Server) -> Iterator[Server]:
    """Our gateway, as `up` starts it."""
    with gateway("relay", sys.executable, folder, upstream) as server:
        yield server


@contextlib.contextmanager
def gateway(name: str, python: str, folder: Path, upstream: Server) -> Iterator[Server]:
    """The gateway that the environment of ``python`` holds."""
    with _project(folder) as project:
        command = [python, "-m", "local_ai_suite.gateway.server"]
        environ = {**_environ(upstream), "LAIS_PROJECT": str(project)}
        with _started(name, command, environ, "API_GATEWAY_PORT") as server:
            yield server


@contextlib.contextmanager
def litellm(folder: Path, upstream: Server) -> Iterator[Server]:
    """LiteLLM's proxy application on the same config, with the settings that were found fastest."""
    with _project(folder) as project:
        environ = {
            **_environ(upstream),
            "CONFIG_FILE_PATH": str(project / "services" / "api-gateway" / "config.p1.yaml"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "REPEATED_STREAMING_CHUNK_LIMIT": "1000000",
        }
        command = [sys.executable, "-m", "local_ai_suite.gateway.litellm_app"]
        with _started("litellm", command, environ, None) as server:
            yield server


@contextlib.contextmanager
def portkey(_: Path, upstream: Server) -> Iterator[Server]:
    """Portkey's gateway from npm, installed once under .cache/."""
    home = CHECKOUT / ".cache" / "bench-portkey"
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not script.is_file():
        home.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FOLDER / "portkey" / name, home / name)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=home, check=True)
    port = _free_port()
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream.port}/v1",
    }
    command = ["node", str(script), f"--port={port}", "--headless"]
    with _started("portkey", command, dict(os.environ), None, port, headers) as server:
        yield server


STARTERS: dict[str, Callable[[Path, Server], contextlib.AbstractContextManager[Server]]] = {
    "relay": relay,
    "litellm": litellm,
    "portkey": portkey,
}


@contextlib.contextmanager
def _started(
    name: str,
    command: list[str],
    environ: dict[str, str],
    port_key: str | None,
    port: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    if port_key:
        port = _free_port()
        environ[port_key] = str(port)
    begun = time.monotonic()
    output = subprocess.PIPE if port is None else subprocess.DEVNULL
    with subprocess.Popen(
        command, env=environ, stdout=output, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            if port is None:
                assert process.stdout
                port = int(process.stdout.readline().split()[1])
            sent = {"authorization": f"Bearer {KEY}", **(headers or {})}
            ready = _first_answer(process, port, sent, begun)
            yield Server(name, port, psutil.Process(process.pid), ready, sent)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


def _first_answer(
    process: subprocess.Popen[str], port: int, headers: Mapping[str, str], begun: float
) -> float:
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    with httpx.Client(headers=dict(headers), timeout=READY_S, trust_env=False) as client:
        while time.monotonic() - begun < READY_S and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                answer = client.post(url, json=BODY)
                if answer.status_code == 200:
                    return time.monotonic() - begun
            time.sleep(0.005)
    raise RuntimeError(f"port {port} never answered")


def _environ(upstream: Server) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAIS_", "LITELLM"))}
    return {
        **kept,
        "INFERENCE_API_BASE": f"http://127.0.0.1:{upstream.port}/v1",
        "INFERENCE_API_KEY": "internal",
        "LITELLM_MASTER_KEY": KEY,
    }


@contextlib.contextmanager
def _project(folder: Path) -> Iterator[Path]:
    project = folder / "project"
    config = Path("services") / "api-gateway" / "config.p1.yaml"
    (project / config).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / config, project / config)
    yield project


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port
