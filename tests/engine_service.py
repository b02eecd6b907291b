"""`python -m local_ai_suite.engine.server` in a project folder, started and stopped by tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import psutil

if TYPE_CHECKING:
    from pathlib import Path

STARTED_WITHIN = 60.0
STOPPED_WITHIN = 20.0


@dataclass
class Service:
    """``python -m local_ai_suite.engine.server`` in a project folder."""

    project: Path
    port: int
    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path
    extra: dict[str, Any] = field(default_factory=dict)

    def chat(self, model: str = "local-chat", **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
        return self.client.post("/v1/chat/completions", json=body)

    def running(self, model: str = "local-chat") -> dict[str, Any]:
        rows = self.client.get("/running").json()["models"]
        row: dict[str, Any] = next(row for row in rows if model in row["names"])
        return row

    def meta(self, model: str = "local-chat") -> dict[str, Any]:
        meta: dict[str, Any] = self.client.get(f"/v1/models/{model}").json()["meta"]
        return meta

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOPPED_WITHIN)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def start_service(project: Path, **environ: str) -> Service:
    """Start it and wait until it answers. Raises AssertionError with its log if it does not."""
    port = free_port()
    log = project / "service.log"
    settings = {"LAIS_PROJECT": str(project), "INFERENCE_PORT": str(port), **environ}
    env = {key: value for key, value in os.environ.items() if not key.startswith("LAIS_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local_ai_suite.engine.server"],
            env=env | settings, stdout=output, stderr=output,
        )  # fmt: skip
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False)
    service = Service(project, port, process, client, log)
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").status_code == 200:
                return service
        time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError(log.read_text())


def end_service(service: Service) -> None:
    children = service.children() if service.process.poll() is None else []
    if service.process.poll() is None:
        service.process.terminate()
        try:
            service.process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            service.process.kill()
            service.process.wait()
    service.client.close()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive, f"engines outlived their service: {alive}"
