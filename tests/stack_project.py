"""A project of its own in a temporary folder, run by the real Makefile and the real `lais`."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from local_ai_suite.paths import Paths
from local_ai_suite.stack.compose import project_name
from local_ai_suite.stack.state import marked_processes

CHECKOUT = Path(__file__).parents[1]
COMMAND_TIMEOUT_S = 100.0
DOCKER_TIMEOUT_S = 120.0
RECOVERY_S = 60.0
NOT_HANDED_ON = ("LAIS_", "MAKE", "MFLAGS", "ARGS")


@dataclass
class Project:
    """A clone's folder; ``make`` runs in it as a person would run it."""

    folder: Path
    ports: dict[str, int]
    environment: dict[str, str] = field(default_factory=dict)
    timeout_s: float = COMMAND_TIMEOUT_S
    last: subprocess.CompletedProcess[str] | None = None
    answer: tuple[int, Any] | None = None
    note: dict[str, Any] = field(default_factory=dict)

    def make(self, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = ["make", "-s", "-C", str(CHECKOUT), target]
        if arguments:
            words.append("ARGS=" + " ".join(arguments))
        return self.run(words)

    def lais(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, "-m", "local_ai_suite", *words])

    def environ(self) -> dict[str, str]:
        """The environment of a person in this folder: nothing of the test run's own."""
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(NOT_HANDED_ON)},
            "LAIS_PROJECT": str(self.folder),
            "LAIS_STATE": str(self.folder / ".state"),
            "RUNTIME": "native",
            **{key: str(port) for key, port in self.ports.items()},
            **self.environment,
        }

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        self.last = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=self.timeout_s,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return self.last

    @property
    def gateway(self) -> int:
        return self.ports["API_GATEWAY_PORT"]

    @property
    def engine(self) -> int:
        return self.ports["INFERENCE_PORT"]

    def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway, timeout=60)
        try:
            data = json.dumps(body).encode() if body is not None else None
            connection.request(
                method, path, data, {"Content-Type": "application/json", **(headers or {})}
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def chat(self, **more: object) -> tuple[int, bytes]:
        return self.request("POST", "/v1/chat/completions", {**QUESTION, **more})

    def chat_until_answered(self) -> dict[str, Any]:
        """A chat answer, waiting out a restart within its bound."""
        deadline = time.monotonic() + RECOVERY_S
        last: object = None
        while time.monotonic() < deadline:
            try:
                status, body = self.chat()
            except OSError as exc:
                last = exc
            else:
                if status == 200:
                    return dict(json.loads(body))
                last = (status, body[:300])
            time.sleep(0.1)
        raise AssertionError(f"no answer within {RECOVERY_S} s; last: {last}")

    @property
    def in_docker(self) -> bool:
        return self.environment.get("RUNTIME") == "docker"

    def processes(self) -> list[psutil.Process]:
        """What runs of it: processes, or those in its containers."""
        return contained_processes(self.folder) if self.in_docker else marked_processes(self.folder)

    def process_of(self, room: str) -> psutil.Process:
        """The service process of ``engine`` or ``gateway``; the first of several."""
        module = f"local_ai_suite.{room}.server"
        # Not the container's init, which has the same words behind its own.
        return next(p for p in self.processes() if p.cmdline()[1:3] == ["-m", module])

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.make("status", "--json").stdout)["data"])


def contained_processes(folder: Path) -> list[psutil.Process]:
    """The processes in a project's containers, as the engine's machine (this one) sees them."""
    label = f"label=com.docker.compose.project={project_name(Paths(folder, folder / '.state'))}"
    found = []
    for container in docker("ps", "-q", "--no-trunc", "--filter", label).split():
        pids = docker("top", container, "-o", "pid").split()[1:]
        found += [psutil.Process(int(pid)) for pid in pids if psutil.pid_exists(int(pid))]
    return found


def docker(*words: str) -> str:
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=DOCKER_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


QUESTION = {
    "model": "local-chat",
    "messages": [{"role": "user", "content": "Hello!"}],
    "temperature": 0,
    "max_tokens": 24,
}


def two_free_ports() -> dict[str, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return {"API_GATEWAY_PORT": one.getsockname()[1], "INFERENCE_PORT": two.getsockname()[1]}


def new_project(folder: Path) -> Project:
    (folder / "models").mkdir(parents=True)
    for name in (".env.example", "services", "docker"):
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    return Project(folder, two_free_ports())


def close(project: Project) -> None:
    project.make("down")
    for process in project.processes():
        process.kill()
