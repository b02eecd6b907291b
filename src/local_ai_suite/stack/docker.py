"""The Docker runtime: the same stack as containers, through Docker Compose."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.catalog.catalog import configured_models
from local_ai_suite.errors import PortInUse, StackError, SuiteError
from local_ai_suite.messages import joined, tr
from local_ai_suite.settings import dotenv
from local_ai_suite.stack import mounts
from local_ai_suite.stack.containers import ASK_TIMEOUT_S, fresh_services, run_docker, stop
from local_ai_suite.stack.phases import API_GATEWAY
from local_ai_suite.wire.serve import has_ipv6_loopback

from . import compose
from .state import RunState

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

# Downloads the dependencies the first time.
BUILD_TIMEOUT_S = 1800.0
# A registry tells what an image is made of in a second or two; an offline machine fails at once,
# and a network that swallows everything ends here. The download itself belongs to the build.
REGISTRY_TIMEOUT_S = 20.0
UP_TIMEOUT_S = 300.0
_SOURCES = ("uv.lock", "pyproject.toml", "docker/Dockerfile", "docker/trim.py")
# The driver wakes a sleeping laptop GPU first.
GPU_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runtime, and why in words."""

    runtime: str
    reason: str


def choose(phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]) -> Choice:
    """``RUNTIME=auto`` takes Docker when its engine answers and the images are or can be had.

    Raises :class:`StackError` when RUNTIME=docker asks for an engine that does not answer, and
    :class:`ModelError` when it asks for models that containers cannot see.
    """
    if settings.runtime == "native":
        return Choice("native", "RUNTIME=native")
    trouble: SuiteError | None = engine_trouble()
    if settings.runtime == "docker":
        if trouble is not None:
            raise trouble
        check_models(settings, paths)
        return Choice("docker", "RUNTIME=docker")
    if trouble is not None:
        return Choice("native", trouble.message)
    try:
        check_models(settings, paths)
    except SuiteError as exc:
        return Choice("native", exc.message)
    if all(_has_image(image) for image in compose.images(phase, gpu=False)):
        return Choice("docker", tr("the Docker engine answers and the images are here"))
    base = base_image(paths)
    if _has_image(base):
        return Choice("docker", tr("the Docker engine answers and the images can be built"))
    report(
        tr(
            "asking the registry for {base} ({seconds:.0f} s at most)",
            base=base,
            seconds=REGISTRY_TIMEOUT_S,
        )
    )
    if _is_to_be_had(base):
        return Choice("docker", tr("the Docker engine answers and the images can be built"))
    return Choice("native", tr("Docker runs, but {base} is neither here nor to be had", base=base))


def check_models(settings: Settings, paths: Paths) -> None:
    """Raise :class:`ModelError` for a model that the containers would not see or may not read."""
    catalog = configured_models(settings, paths)
    files = [
        path
        for entry in catalog.entries
        if not entry.is_demo
        for path in (entry.path, entry.mmproj)
        if path is not None
    ]
    mounts.check_visible(files, settings.models_path(paths), mounts.user(paths))


def base_image(paths: Paths) -> str:
    """The image that ours are built from; ``PYTHON_IMAGE`` (environment, .env) names another."""
    if named := os.environ.get("PYTHON_IMAGE"):
        return named
    try:
        entries = dotenv.parse(paths.env_file.read_text(encoding="utf-8"), os.environ)
    except (OSError, ValueError, SuiteError):
        entries = {}
    entry = entries.get("PYTHON_IMAGE")
    return (entry.value if entry else "") or compose.dockerfile_default(
        paths.compose_dir / "Dockerfile", "PYTHON_IMAGE"
    )


def engine_trouble() -> StackError | None:
    """Why Docker cannot be used; ``None`` when it can."""
    if shutil.which("docker") is None:
        return StackError(
            tr("docker is not installed"), hint=tr("Install Docker, or set RUNTIME=native in .env.")
        )
    for words, missing in (
        (["docker", "version", "--format", "{{.Server.Version}}"], None),
        (
            ["docker", "compose", "version"],
            tr("the Compose v2 plugin of Docker is not installed"),
        ),
    ):
        done = run_docker(words, ASK_TIMEOUT_S)
        if done is None:
            return StackError(tr("the Docker engine does not answer"), hint=tr("Restart Docker."))
        if done.returncode != 0:
            if missing:
                return StackError(missing, hint=tr("Install the package docker-compose-plugin."))
            return compose.explain(done.stderr or done.stdout)
    return None


def start(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]
) -> tuple[RunState, tuple[str, ...]]:
    """Build what is missing, start the containers; returns the run and what to warn about."""
    build(phase, settings, paths, report, gpu=False)
    gpu, note = wants_gpu(settings)
    if gpu and (trouble := _gpu_trouble(phase, settings, paths, report)) is not None:
        gpu, note = (
            False,
            tr("{message}; running on the CPU. {hint}", message=trouble.message, hint=trouble.hint),
        )
    report(tr("starting the containers"))
    started = _up(phase, settings, paths, gpu=gpu)
    if started is not None:
        stop(paths)
        raise started
    run = RunState("docker", phase, time.time(), None, fresh_services(phase, settings))
    return run, ((note,) if note else ())


def _up(phase: str, settings: Settings, paths: Paths, *, gpu: bool) -> StackError | None:
    """Start the containers, on ::1 too where that works; why they do not start."""
    trouble = None
    for ipv6 in (True, False) if _publishes_ipv6(settings) else (False,):
        verb = ["up", "-d", "--no-build"]
        done = _compose(phase, settings, paths, verb, UP_TIMEOUT_S, gpu=gpu, ipv6=ipv6)
        if done.returncode == 0:
            return None
        trouble = compose.explain(done.stderr)
        if isinstance(trouble, PortInUse) or not compose.is_about_ipv6(done.stderr):
            return trouble
        stop(paths)
    return trouble


def _publishes_ipv6(settings: Settings) -> bool:
    """Whether to publish on ::1 beside 127.0.0.1: this machine has one and nobody named another."""
    return settings.bind_address in compose.BOTH_LOOPBACKS and has_ipv6_loopback()


def gpu_inside() -> tuple[str, ...] | StackError | None:
    """The GPUs that a container of ours sees, by name, or why it sees none.

    ``None`` while there is no image of ours to ask.
    """
    if not _has_image(compose.image(API_GATEWAY)):
        return None
    words = ["docker", "run", "--rm", "--network", "none", "--gpus", "all"]
    # NVIDIA's runtime puts nvidia-smi into the container.
    done = run_docker(
        [*words, "--entrypoint", "nvidia-smi", compose.image(API_GATEWAY), "-L"], GPU_TIMEOUT_S
    )
    if done is None:
        return StackError(tr("Docker's GPU does not answer"), hint=tr("Restart Docker."))
    if done.returncode != 0:
        return compose.explain(done.stderr or done.stdout)
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())


def build(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None], *, gpu: bool
) -> None:
    """Build the images that are missing or were made from other sources than these."""
    source = source_fingerprint(paths)
    old = [image for image in compose.images(phase, gpu=gpu) if _source_of(image) != source]
    if not old:
        return
    report(tr("building {images} (minutes, the first time)", images=joined(tr(" and "), old)))
    done = _compose(phase, settings, paths, ["build"], BUILD_TIMEOUT_S, gpu=gpu)
    if done.returncode != 0:
        raise compose.explain(done.stderr)


def source_fingerprint(paths: Paths) -> str:
    """What the images are made from: 16 hex digits over the names and bytes of the sources."""
    digest = hashlib.sha256()
    single = [paths.project / name for name in _SOURCES]
    trees = [*paths.project.glob("src/**/*"), *paths.project.glob("services/**/*")]
    for path in [*single, *sorted(trees)]:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(str(path.relative_to(paths.project)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _source_of(image: str) -> str | None:
    """The fingerprint that an image carries; ``None`` when there is no such image."""
    label = '{{index .Config.Labels "dev.local-ai-suite.source"}}'
    done = run_docker(["docker", "image", "inspect", "--format", label, image], ASK_TIMEOUT_S)
    return done.stdout.strip() if done is not None and done.returncode == 0 else None


def wants_gpu(settings: Settings) -> tuple[bool, str]:
    """Whether to ask Docker for a GPU, and what to warn about when it has none to give."""
    if settings.cuda_visible_devices in {"", "-1"} or settings.n_gpu_layers == 0:
        return False, ""  # the specification's rollback: CUDA_VISIBLE_DEVICES=""
    done = run_docker(["docker", "info", "--format", "{{json .Runtimes}}"], ASK_TIMEOUT_S)
    has_runtime = done is not None and '"nvidia"' in done.stdout
    if has_runtime or settings.cuda_visible_devices:
        return True, ""
    if shutil.which("nvidia-smi"):
        return False, tr("this machine has an NVIDIA GPU, but Docker does not; running on the CPU")
    return False, ""


def _gpu_trouble(
    phase: str, settings: Settings, paths: Paths, report: Callable[[str], None]
) -> StackError | None:
    """Why the GPU can't be used: asked of a container of ours, then of the CUDA image."""
    words = ["docker", "run", "--rm", "--gpus", "all", "--entrypoint", "true"]
    done = run_docker([*words, compose.image(API_GATEWAY)], GPU_TIMEOUT_S)
    if done is None:
        return StackError(tr("Docker's GPU does not answer"), hint=tr("Restart Docker."))
    if done.returncode != 0:
        return compose.explain(done.stderr)
    try:
        build(phase, settings, paths, report, gpu=True)
    except StackError as exc:
        return exc
    return None


def _has_image(image: str) -> bool:
    done = run_docker(["docker", "image", "inspect", "--format", "{{.Id}}", image], ASK_TIMEOUT_S)
    return done is not None and done.returncode == 0


def _is_to_be_had(image: str) -> bool:
    done = run_docker(["docker", "manifest", "inspect", image], REGISTRY_TIMEOUT_S)
    return done is not None and done.returncode == 0


def _compose(
    phase: str,
    settings: Settings,
    paths: Paths,
    verb: list[str],
    timeout_s: float,
    *,
    gpu: bool,
    ipv6: bool = False,
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        **compose.compose_environment(settings, paths),
        **mounts.prepare(settings, paths),
        "LAIS_SOURCE": source_fingerprint(paths),
    }
    words = [*compose.compose_command(phase, paths, gpu=gpu, ipv6=ipv6), *verb]
    done = run_docker(words, timeout_s, environment, cwd=str(paths.project))
    if done is None:
        raise StackError(
            tr(
                "`docker compose {verb}` did not end within {minutes:.0f} minutes",
                verb=verb[0],
                minutes=timeout_s / 60,
            ),
            hint=tr("Look at it with: docker compose ls"),
        )
    return done
