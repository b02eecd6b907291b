"""A project's containers as they are now: states, memory, logs; and how they are removed."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import psutil

from local_ai_suite.errors import StackError
from local_ai_suite.messages import tr
from local_ai_suite.stack import probe
from local_ai_suite.stack.phases import service_named, services_of

from . import compose
from .state import ProcessId, RunState, ServiceState, read_run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

# A daemon that runs answers in milliseconds; one that hangs must not hang `up`.
ASK_TIMEOUT_S = 15.0
DOWN_TIMEOUT_S = 120.0
# "inference-1  | text", as `docker compose logs` writes it; it clears a terminal's line first, also
# where there is none and it was told so.
_LOG_LINE = re.compile(r"(?:\x1b\[[0-9;]*[A-Za-z])*(?P<service>.+?)-\d+\s*\| ?(?P<line>.*)")
_CGROUP = "/proc/{pid}/cgroup"


def run_docker(
    words: Sequence[str],
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> subprocess.CompletedProcess[str] | None:
    """Run to the end; ``None`` when it did not end in time."""
    try:
        return subprocess.run(
            words,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as exc:  # a `docker` that is there and cannot be started
        return subprocess.CompletedProcess(words, 126, "", f"docker: {exc}")


def services(paths: Paths, run: RunState) -> RunState:
    """``run`` with its services' states as Docker tells them.

    A Docker that does not answer makes them ``unreachable``: they come back with it.
    """
    try:
        found = {str(item.get("Service")): item for item in ask_containers(paths)}
    except StackError as exc:
        away = [
            replace(service, phase="unreachable", process=None, reason=exc.message)
            for service in run.services
        ]
        return replace(run, services=tuple(away))
    details = _inspect([str(item["ID"]) for item in found.values() if item.get("ID")])
    states = []
    for service in run.services:
        container = found.get(service.name)
        short = str(container.get("ID") or "?") if container else "?"
        more = next((item for whole, item in details.items() if whole.startswith(short)), {})
        states.append(_state(service, container, more))
    return replace(run, services=tuple(states))


def measured(run: RunState) -> RunState:
    """``run`` with the memory of containers whose processes this machine does not see."""
    hidden = [s for s in run.services if s.process is None and s.container]
    if not hidden:
        return run
    form = "{{.ID}} {{.MemUsage}}"
    words = ["docker", "stats", "--no-stream", "--no-trunc", "--format", form]
    done = run_docker([*words, *(s.container for s in hidden)], ASK_TIMEOUT_S)
    used: dict[str, int | None] = {}
    for line in done.stdout.splitlines() if done is not None and done.returncode == 0 else ():
        identity, _, text = line.partition(" ")
        used[identity] = parse_memory(text)
    return replace(
        run,
        services=tuple(
            replace(s, memory=used.get(s.container)) if s in hidden else s for s in run.services
        ),
    )


def parse_memory(text: str) -> int | None:
    """Bytes of ``12.3MiB / 1GiB``, the memory column of ``docker stats``; ``None`` if not so."""
    form = re.match(r"\s*([0-9.]+)\s*([KMGT]?)i?B", text, re.IGNORECASE)
    if not form:
        return None
    return int(float(form[1]) * 1024 ** " KMGT".index(form[2].upper() or " "))


def processes(paths: Paths) -> list[psutil.Process]:
    """The containers' processes; none where the engine runs in a machine of its own."""
    try:
        found = _inspect([str(item.get("ID")) for item in ask_containers(paths)])
    except StackError:
        return []
    trees: list[psutil.Process] = []
    for item in found.values():
        process = _visible(item)
        with suppress(psutil.Error):
            if process is not None:
                first = psutil.Process(process.pid)
                trees += [first, *first.children(recursive=True)]
    return trees


def containers(paths: Paths) -> list[dict[str, Any]]:
    """Compose's view of this project's containers; empty when Docker does not answer."""
    try:
        return ask_containers(paths)
    except StackError:
        return []


def ask_containers(paths: Paths) -> list[dict[str, Any]]:
    """As :func:`containers`; raises :class:`StackError` when Docker does not answer."""
    words = ["docker", "compose", "-p", compose.project_name(paths), "ps", "-a", "--format", "json"]
    if shutil.which("docker") is None:
        raise StackError(tr("docker is not installed"), hint=tr("Is it on PATH?"))
    done = run_docker(words, ASK_TIMEOUT_S)
    if done is None:
        raise StackError(tr("the Docker engine does not answer"), hint=tr("Restart Docker."))
    if done.returncode != 0:
        raise compose.explain(done.stderr or done.stdout)
    try:
        return compose.parse_containers(done.stdout)
    except ValueError as exc:
        raise StackError(tr("`docker compose ps` cannot be read: {exc}", exc=exc)) from exc


def _inspect(identities: list[str]) -> dict[str, dict[str, Any]]:
    """What `docker inspect` tells of each; nothing when it does not answer."""
    if not identities:
        return {}
    done = run_docker(["docker", "inspect", *identities], ASK_TIMEOUT_S)
    try:
        items = orjson.loads(done.stdout) if done is not None else []
        return {str(item["Id"]): item for item in items}
    except (ValueError, KeyError, TypeError):
        return {}


def _state(
    service: ServiceState,
    container: dict[str, Any] | None,
    more: dict[str, Any],
) -> ServiceState:
    if container is None:
        return ServiceState(service.name, service.port, "stopped", reason=tr("no container"))
    running = container.get("State") == "running"
    health = container.get("Health") or "healthy"
    phases = {"healthy": "ready", "starting": "starting", "unhealthy": "unhealthy"}
    phase = phases.get(health, "starting") if running else str(container.get("State"))
    if phase == "starting" and _answers(service):
        phase = "ready"
    reason = "" if running else str(container.get("Status") or "")
    state = more.get("State") or {}
    if state.get("OOMKilled"):
        reason = tr("it was ended for its memory (INFERENCE_MEM_LIMIT, GATEWAY_MEM_LIMIT)")
    return ServiceState(
        service.name,
        service.port,
        phase,
        process=_visible(more) if running else None,
        since=_epoch(str(state.get("StartedAt"))) or service.since,
        restarts=int(more.get("RestartCount") or 0),
        reason=reason,
        container=str(more.get("Id") or ""),
    )


def _answers(service: ServiceState) -> bool:
    """Whether it serves already: Docker looks at a container's health every 5 s only."""
    answer = probe.ask(service.port, service_named(service.name).ready_path, timeout_s=1.0)
    return answer is not None and answer[0] == http.client.OK


def _visible(details: dict[str, Any]) -> ProcessId | None:
    """The container's first process, if this machine sees it.

    A pid that Docker Desktop or a remote engine tells means another process here.
    """
    identity = str(details.get("Id") or "")
    pid = int((details.get("State") or {}).get("Pid") or 0)
    if not pid or not identity:
        return None
    with suppress(OSError, psutil.Error):
        if identity in Path(_CGROUP.format(pid=pid)).read_text():
            return ProcessId.of(pid)
    return None


def _epoch(text: str) -> float | None:
    """Seconds since 1970 of Docker's ``2026-11-23T15:04:05.123456789Z``."""
    try:
        whole, _, _ = text.removesuffix("Z").partition(".")
        return datetime.fromisoformat(whole + "+00:00").timestamp()
    except ValueError:
        return None


def logs(paths: Paths, service: str, lines: int) -> list[str]:
    """The last lines of one container."""
    words = ["docker", "compose", "-p", compose.project_name(paths), "logs", "--no-color"]
    done = run_docker([*words, "--no-log-prefix", "-n", str(lines), service], ASK_TIMEOUT_S)
    return done.stdout.splitlines() if done else []


def last_lines(paths: Paths, lines: int) -> Iterator[tuple[str, str]]:
    """The last ``lines`` of each container as ``(service, line)``."""
    run = read_run(paths.run_file)
    for service in run.services if run is not None else ():
        for line in logs(paths, service.name, lines):
            yield service.name, line


def follow(paths: Paths, lines: int) -> Iterator[tuple[str, str]]:
    """The last ``lines`` of each container and then new ones, until the containers are gone."""
    words = ["docker", "compose", "--ansi", "never", "-p", compose.project_name(paths), "logs"]
    with subprocess.Popen(
        [*words, "--no-color", "-f", "-n", str(lines)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for text in process.stdout or ():
                found = _LOG_LINE.fullmatch(text.rstrip("\n"))
                yield (found["service"], found["line"]) if found else ("docker", text.rstrip("\n"))
        finally:
            process.terminate()


def stop(paths: Paths, *, surely: bool = False) -> int:
    """Remove this project's containers and network; returns how many containers there were.

    The named volume stays: it holds state, as a data folder would. With ``surely`` (there must be
    some) a Docker that does not answer raises :class:`StackError`: the containers would come back
    with it.
    """
    if surely:
        try:
            count = len(ask_containers(paths))
        except StackError as exc:
            raise unreachable(exc) from exc
    else:
        count = len(containers(paths))
    if count:
        words = ["docker", "compose", "-p", compose.project_name(paths)]
        done = run_docker([*words, "down", "--remove-orphans", "--timeout", "20"], DOWN_TIMEOUT_S)
        if done is None:
            raise StackError(
                tr("Docker did not remove the containers in time"), hint=tr("docker ps -a")
            )
        if done.returncode != 0:
            raise compose.explain(done.stderr)
    return count


def unreachable(why: StackError) -> StackError:
    """This project runs as containers, and nobody can say what they do."""
    return StackError(
        tr("the containers of this project cannot be reached: {message}", message=why.message),
        hint=tr(
            "They come back with Docker. {hint} If Docker is gone for good: "
            "RUNTIME=native make up-p1 forgets them.",
            hint=why.hint,
        ),
    )


def fresh_services(phase: str, settings: Settings) -> tuple[ServiceState, ...]:
    """The services of a run that has just been started."""
    return tuple(
        ServiceState(service.name, service.port(settings), "starting", since=time.time())
        for service in services_of(phase)
    )
