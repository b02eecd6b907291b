"""The Docker runtime: the same stack as containers, through Docker Compose."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from local_ai_suite import compose
from local_ai_suite.errors import StackError
from local_ai_suite.state import RunState, ServiceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

# A daemon that runs answers in milliseconds; one that hangs must not hang `up`.
ASK_TIMEOUT_S = 15.0
# Downloads the dependencies the first time.
BUILD_TIMEOUT_S = 1800.0
# One layer list; an offline machine fails at once, a black hole ends here.
PULL_TIMEOUT_S = 300.0
UP_TIMEOUT_S = 300.0
DOWN_TIMEOUT_S = 120.0
# The driver wakes a sleeping laptop GPU first.
GPU_TIMEOUT_S = 60.0
PORTS = {"inference": 8001, "api-gateway": 8000}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runtime, and why in words."""

    runtime: str
    reason: str


def choose(settings: Settings) -> Choice:
    """``RUNTIME=auto`` takes Docker when its engine answers and the images are or can be had.

    Raises :class:`StackError` when RUNTIME=docker asks for an engine that does not answer.
    """
    if settings.runtime == "native":
        return Choice("native", "RUNTIME=native")
    trouble = engine_trouble()
    if settings.runtime == "docker":
        if trouble is not None:
            raise trouble
        return Choice("docker", "RUNTIME=docker")
    if trouble is not None:
        return Choice("native", trouble.message)
    if all(_has_image(image) for image in compose.images(gpu=False)):
        return Choice("docker", "the Docker engine answers and the images are here")
    if _has_image(base_image()) or _can_pull(base_image()):
        return Choice("docker", "the Docker engine answers and the images can be built")
    return Choice("native", f"Docker runs, but {base_image()} is neither here nor to be had")


def base_image() -> str:
    """The image that ours are built from; ``PYTHON_IMAGE`` names another."""
    return os.environ.get("PYTHON_IMAGE") or compose.PYTHON_IMAGE


def engine_trouble() -> StackError | None:
    """Why Docker cannot be used; ``None`` when it can."""
    if shutil.which("docker") is None:
        return StackError(
            "docker is not installed", hint="Install Docker, or set RUNTIME=native in .env."
        )
    for words, missing in (
        (["docker", "version", "--format", "{{.Server.Version}}"], None),
        (["docker", "compose", "version"], "the Compose v2 plugin of Docker is not installed"),
    ):
        done = _run(words, ASK_TIMEOUT_S)
        if done is None:
            return StackError("the Docker engine does not answer", hint="Restart Docker.")
        if done.returncode != 0:
            if missing:
                return StackError(missing, hint="Install the package docker-compose-plugin.")
            return compose.explain(done.stderr or done.stdout)
    return None


def start(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]
) -> tuple[RunState, tuple[str, ...]]:
    """Build what is missing, start the containers; returns the run and what to warn about."""
    build(phase, settings, paths, report, gpu=False)
    gpu, note = wants_gpu(settings)
    if gpu and (trouble := _gpu_trouble(phase, settings, paths, report)) is not None:
        gpu, note = False, f"{trouble.message}; running on the CPU. {trouble.hint}"
    report("starting the containers")
    done = _compose(phase, settings, paths, ["up", "-d", "--no-build"], UP_TIMEOUT_S, gpu=gpu)
    if done.returncode != 0:
        stop(paths)
        raise compose.explain(done.stderr)
    services = tuple(
        ServiceState(name, port, "starting", since=time.time())
        for name, port in (
            ("inference", settings.inference_port),
            ("api-gateway", settings.api_gateway_port),
        )
    )
    return RunState("docker", phase, time.time(), None, services), ((note,) if note else ())


def build(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None], *, gpu: bool
) -> None:
    """Build the images that are missing or were made from other sources than these."""
    source = source_fingerprint(paths)
    old = [image for image in compose.images(gpu=gpu) if _source_of(image) != source]
    if not old:
        return
    report(f"building {' and '.join(old)} (minutes, the first time)")
    done = _compose(phase, settings, paths, ["build"], BUILD_TIMEOUT_S, gpu=gpu)
    if done.returncode != 0:
        raise compose.explain(done.stderr)


def source_fingerprint(paths: Paths) -> str:
    """What the images are made from: 16 hex digits over the names and bytes of the sources."""
    digest = hashlib.sha256()
    single = [paths.project / name for name in ("uv.lock", "pyproject.toml", "docker/Dockerfile")]
    trees = [*paths.project.glob("src/**/*"), *paths.project.glob("services/**/*")]
    for path in [*single, *sorted(trees)]:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(str(path.relative_to(paths.project)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _source_of(image: str) -> str | None:
    """The fingerprint that an image carries; ``None`` when there is no such image."""
    label = '{{index .Config.Labels "dev.local-ai-suite.source"}}'
    done = _run(["docker", "image", "inspect", "--format", label, image], ASK_TIMEOUT_S)
    return done.stdout.strip() if done is not None and done.returncode == 0 else None


def wants_gpu(settings: Settings) -> tuple[bool, str]:
    """Whether to ask Docker for a GPU, and what to warn about when it has none to give."""
    if settings.cuda_visible_devices in {"", "-1"} or settings.n_gpu_layers == 0:
        return False, ""  # the specification's rollback: CUDA_VISIBLE_DEVICES=""
    done = _run(["docker", "info", "--format", "{{json .Runtimes}}"], ASK_TIMEOUT_S)
    has_runtime = done is not None and '"nvidia"' in done.stdout
    if has_runtime or settings.cuda_visible_devices:
        return True, ""
    if shutil.which("nvidia-smi"):
        return False, "this machine has an NVIDIA GPU, but Docker does not; running on the CPU"
    return False, ""


def _gpu_trouble(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]
) -> StackError | None:
    """Why the GPU can't be used: asked of a container of ours, then of the CUDA image."""
    words = ["docker", "run", "--rm", "--gpus", "all", "--entrypoint", "true"]
    done = _run([*words, compose.GATEWAY_IMAGE], GPU_TIMEOUT_S)
    if done is None:
        return StackError("Docker's GPU does not answer", hint="Restart Docker.")
    if done.returncode != 0:
        return compose.explain(done.stderr)
    try:
        build(phase, settings, paths, report, gpu=True)
    except StackError as exc:
        return exc
    return None


def services(paths: Paths, run: RunState) -> RunState:
    """``run`` with its services' states as Docker tells them."""
    try:
        found = {str(item.get("Service")): item for item in ask_containers(paths)}
        absent = "no container"
    except StackError as exc:
        found, absent = {}, exc.message
    states = tuple(_state(service, found.get(service.name), absent) for service in run.services)
    return replace(run, services=states)


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
        raise StackError("docker is not installed", hint="Is it on PATH?")
    done = _run(words, ASK_TIMEOUT_S)
    if done is None:
        raise StackError("the Docker engine does not answer", hint="Restart Docker.")
    if done.returncode != 0:
        raise compose.explain(done.stderr or done.stdout)
    try:
        return compose.parse_containers(done.stdout)
    except ValueError as exc:
        raise StackError(f"`docker compose ps` cannot be read: {exc}") from exc


def _state(service: ServiceState, container: dict[str, Any] | None, absent: str) -> ServiceState:
    if container is None:
        return ServiceState(service.name, service.port, "stopped", reason=absent)
    running = container.get("State") == "running"
    health = container.get("Health") or "healthy"
    phases = {"healthy": "ready", "starting": "starting", "unhealthy": "unhealthy"}
    phase = phases.get(health, "starting") if running else str(container.get("State"))
    reason = "" if running else str(container.get("Status") or "")
    return ServiceState(service.name, service.port, phase, since=service.since, reason=reason)


def logs(paths: Paths, service: str, lines: int) -> list[str]:
    """The last lines of one container."""
    words = ["docker", "compose", "-p", compose.project_name(paths), "logs", "--no-color"]
    done = _run([*words, "--no-log-prefix", "-n", str(lines), service], ASK_TIMEOUT_S)
    return done.stdout.splitlines() if done else []


def last_lines(paths: Paths, lines: int) -> Iterator[tuple[str, str]]:
    """The last ``lines`` of each container as ``(service, line)``."""
    for service in PORTS:
        for line in logs(paths, service, lines):
            yield service, line


def follow_command(paths: Paths, lines: int, *, follow: bool) -> list[str]:
    """The command that prints all containers' logs with prefixes."""
    words = ["docker", "compose", "-p", compose.project_name(paths), "logs", "-n", str(lines)]
    return [*words, *(["-f"] if follow else [])]


def stop(paths: Paths, *, surely: bool = False) -> int:
    """Remove this project's containers and network; returns how many containers there were.

    The named volume stays: it holds state, as a data folder would. With ``surely`` (there must be
    some) a Docker that does not answer raises :class:`StackError`: the containers would come back
    with it.
    """
    count = len(ask_containers(paths) if surely else containers(paths))
    if count:
        words = ["docker", "compose", "-p", compose.project_name(paths)]
        done = _run([*words, "down", "--remove-orphans", "--timeout", "20"], DOWN_TIMEOUT_S)
        if done is None:
            raise StackError("Docker did not remove the containers in time", hint="docker ps -a")
        if done.returncode != 0:
            raise compose.explain(done.stderr)
    return count


def _has_image(image: str) -> bool:
    done = _run(["docker", "image", "inspect", "--format", "{{.Id}}", image], ASK_TIMEOUT_S)
    return done is not None and done.returncode == 0


def _can_pull(image: str) -> bool:
    done = _run(["docker", "pull", "--quiet", image], PULL_TIMEOUT_S)
    return done is not None and done.returncode == 0


def _compose(
    phase: str, settings: Settings, paths: Paths, verb: list[str], timeout_s: float, *, gpu: bool
) -> subprocess.CompletedProcess[str]:
    owner = compose.owner_of(paths.env_file)
    environment = {
        **os.environ,
        **compose.compose_environment(settings, paths, owner),
        "LAIS_SOURCE": source_fingerprint(paths),
    }
    words = [*compose.compose_command(phase, paths, gpu=gpu), *verb]
    done = _run(words, timeout_s, environment, cwd=str(paths.project))
    if done is None:
        raise StackError(
            f"`docker compose {verb[0]}` did not end within {timeout_s / 60:.0f} minutes",
            hint="Look at it with: docker compose ls",
        )
    return done


def _run(
    words: Sequence[str],
    timeout_s: float,
    environment: dict[str, str] | None = None,
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
