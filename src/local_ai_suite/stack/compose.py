"""Which Compose files and images a phase uses, and what Docker's complaints mean. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.errors import PortInUse, StackError
from local_ai_suite.hardware import is_wsl
from local_ai_suite.messages import joined, tr
from local_ai_suite.stack.phases import INFERENCE, PHASES, Service, phases_up_to, services_of

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

VERSION = "0.1.0"
_GPU_FILE = "compose.gpu.yml"
_IPV6_FILE = "compose.ipv6.yml"
# Published on 127.0.0.1, and on ::1 where the engine can.
BOTH_LOOPBACKS = frozenset({"127.0.0.1", "localhost"})
_ARG_LINE = re.compile(r"ARG\s+(?P<name>[A-Z_]+)=(?P<value>\S+)")

_TOOLKIT = tr(
    "Install the NVIDIA Container Toolkit, then `sudo nvidia-ctk runtime configure "
    "--runtime=docker` and restart Docker."
)
_TOOLKIT_WSL = tr(
    "In Docker Desktop: Settings, Resources, turn on WSL integration, and update the NVIDIA driver "
    "of Windows. With a Docker engine inside WSL: install the NVIDIA Container Toolkit there."
)


def toolkit_hint(*, on_wsl: bool) -> str:
    """How Docker comes to pass the GPU on, on this kind of machine."""
    return _TOOLKIT_WSL if on_wsl else _TOOLKIT


def project_name(paths: Paths) -> str:
    """Compose's project: one per clone."""
    return f"local-ai-suite-{paths.project_id}"


def image(service: Service, *, gpu: bool = False) -> str:
    """The image of ``service``, as the Compose files call it; ``gpu``: the one with CUDA."""
    return f"local-ai-suite/{service.image or service.name}{'-cuda' if gpu else ''}:{VERSION}"


def images(phase: str, *, gpu: bool) -> tuple[str, ...]:
    """The images of a phase; only inference has another with ``gpu``."""
    return tuple(image(service, gpu=gpu and service == INFERENCE) for service in services_of(phase))


def dockerfile_default(dockerfile: Path, name: str) -> str:
    """The value of the build argument ``name`` where nobody gives one: its only place.

    Raises :class:`StackError` when the Dockerfile has none.
    """
    try:
        lines = dockerfile.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise StackError(
            tr("{dockerfile} cannot be read: {exc}", dockerfile=dockerfile, exc=exc),
            hint=tr("git checkout docker"),
        ) from exc
    for line in lines:
        found = _ARG_LINE.fullmatch(line.strip())
        if found and found["name"] == name:
            return found["value"]
    raise StackError(
        tr("{dockerfile} has no ARG {name}=...", dockerfile=dockerfile, name=name),
        hint=tr("git checkout docker/Dockerfile"),
    )


def compose_command(phase: str, paths: Paths, *, gpu: bool, ipv6: bool = False) -> list[str]:
    """``docker compose`` with the phase's files and those before it, before the verb.

    Raises :class:`NotBuiltYet`, :class:`UsageError`.
    """
    phases = [f"compose.{name}.yml" for name in phases_up_to(phase)]
    names = [*phases, *([_GPU_FILE] if gpu else []), *([_IPV6_FILE] if ipv6 else [])]
    files = [word for name in names for word in ("-f", str(paths.compose_dir / name))]
    # --env-file: Compose would look beside the first file.
    env_file = ["--env-file", str(paths.env_file)] if paths.env_file.exists() else []
    return ["docker", "compose", "-p", project_name(paths), *files, *env_file]


def compose_environment(settings: Settings, paths: Paths) -> dict[str, str]:
    """What the Compose files interpolate. It beats ``.env``, so it holds the checked values."""
    return {
        "COMPOSE_PROJECT_NAME": project_name(paths),
        **{
            service.port_setting: str(service.port(settings))
            for rows in PHASES.values()
            for service in rows
            if service.port_setting is not None
        },
        "BIND_ADDRESS": settings.bind_address,
        "LAIS_PUBLISH": published_address(settings.bind_address),
        "ALLOWED_HOSTS": ",".join(settings.allowed_hosts),
    }


def published_address(bind_address: str) -> str:
    """``BIND_ADDRESS`` as the short form of ``ports`` takes it: a number, IPv6 in brackets."""
    if bind_address == "localhost":
        return "127.0.0.1"
    return f"[{bind_address}]" if ipaddress.ip_address(bind_address).version == 6 else bind_address


def parse_containers(stdout: str) -> list[dict[str, Any]]:
    """What ``docker compose ps --format json`` printed, one object a container.

    One object a line since Compose 2.21, one array before (docker/compose#10918).
    Raises :class:`ValueError`.
    """
    found: list[dict[str, Any]] = []
    for line in stdout.splitlines():
        if line.startswith(("{", "[")):
            value = orjson.loads(line)
            found += value if isinstance(value, list) else [value]
    return found


@dataclass(frozen=True, slots=True)
class Complaint:
    """What one of Docker's messages means for a person. ``words`` are all in the message.

    ``of_gpu``: the hint goes on with :func:`toolkit_hint`.
    """

    words: tuple[str, ...]
    message: str
    hint: str
    of_gpu: bool = False


# In the order in which they are looked for: the specific before the general.
_COMPLAINTS = (
    Complaint(
        ("could not select device driver",),
        tr("Docker cannot pass the GPU through (no NVIDIA device driver)"),
        "",
        of_gpu=True,
    ),
    Complaint(
        ("nvidia-container-cli",),
        tr("Docker's NVIDIA runtime failed to start the container"),
        tr("Does `nvidia-smi` work outside the container?"),
        of_gpu=True,
    ),
    Complaint(
        ("permission denied", "docker.sock"),
        tr("this user may not use Docker (no permission for its socket)"),
        tr("sudo usermod -aG docker $USER, then log in again; or set RUNTIME=native in .env."),
    ),
    Complaint(
        ("could not be found in this wsl",),  # Docker Desktop's stand-in for `docker`
        tr("Docker Desktop is not connected to this WSL distribution"),
        tr(
            "Docker Desktop, Settings, Resources, WSL integration: turn this "
            "distribution on; or set RUNTIME=native in .env."
        ),
    ),
    Complaint(
        ("cannot connect to the docker daemon",),
        tr("the Docker engine does not run"),
        tr(
            "Start it (sudo systemctl start docker, or Docker Desktop), or set "
            "RUNTIME=native in .env."
        ),
    ),
    Complaint(
        ("no space left on device",),
        tr("the disk that Docker uses is full"),
        tr(
            "docker system df shows what takes the space; docker system prune frees what is unused."
        ),
    ),
    Complaint(
        ("mounts denied",),
        tr("Docker Desktop does not share the models' folder"),
        tr("Docker Desktop, Settings, Resources, File sharing: add the folder of MODELS_DIR."),
    ),
    Complaint(
        ("bind source path does not exist",),
        tr("a folder or file that the containers need is not there"),
        tr("Is the disk with MODELS_DIR plugged in and mounted? `.env` is made by make up-p1."),
    ),
    *(
        Complaint(
            words,
            tr("an image is missing here and cannot be downloaded"),
            tr(
                "Connect to the internet once, give a base image that is here "
                "(PYTHON_IMAGE=...), or set RUNTIME=native in .env."
            ),
        )
        for words in (("failed to resolve",), ("failed to do request",))
    ),
    Complaint(
        ("pull access denied",),
        tr("an image is missing here and cannot be downloaded"),
        tr("Build it first: docker compose -f docker/compose.p1.yml build"),
    ),
)
_PORT_TAKEN = ("port is already allocated", "address already in use")


def explain(stderr: str, *, on_wsl: bool | None = None) -> StackError:
    """Docker's stderr as one of our errors; unknown words are passed on, their end first read.

    ``on_wsl``: whether this is Windows' Linux, whose hints differ; looked up when it is ``None``.
    """
    low = stderr.lower()
    if any(words in low for words in _PORT_TAKEN):
        return PortInUse(
            tr(
                "a port that the containers need is taken: {last_line}",
                last_line=_last_line(stderr),
            ),
            hint=tr(
                "docker ps shows containers of other projects; or set API_GATEWAY_PORT and "
                "INFERENCE_PORT in .env."
            ),
        )
    for complaint in _COMPLAINTS:
        if all(word in low for word in complaint.words):
            hints = [complaint.hint] if complaint.hint else []
            if complaint.of_gpu:
                hints.append(toolkit_hint(on_wsl=is_wsl() if on_wsl is None else on_wsl))
            return StackError(complaint.message, hint=joined(" ", hints), docker=_last_line(stderr))
    return StackError(
        tr("Docker Compose failed: {last_line}", last_line=_last_line(stderr)),
        hint=tr("Set RUNTIME=native in .env to run without Docker."),
    )


def is_about_ipv6(stderr: str) -> bool:
    """Whether the engine could not publish on ::1, which then is left out."""
    low = stderr.lower()
    return "::1" in low or "ipv6" in low or "cannot assign requested address" in low


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else tr("no message")
