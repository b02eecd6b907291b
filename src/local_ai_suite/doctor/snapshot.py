"""What the checks look at, gathered once. Every fact may be missing; none is guessed."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from local_ai_suite.catalog.catalog import Catalog, configured_models
from local_ai_suite.engine.bandwidth import MemorySpeed
from local_ai_suite.engine.learning import FitMemory
from local_ai_suite.engines.find import FoundEngine, find_engines
from local_ai_suite.errors import StackError, SuiteError, UsageError
from local_ai_suite.fit import Record
from local_ai_suite.gateway.config import load_config
from local_ai_suite.hardware import Hardware, PathKind, detect, path_kind
from local_ai_suite.repository.changes import is_tracked
from local_ai_suite.repository.worktree import find_worktree
from local_ai_suite.settings import Settings, load_settings
from local_ai_suite.stack.containers import containers
from local_ai_suite.stack.docker import check_models, engine_trouble, gpu_inside
from local_ai_suite.stack.phases import PHASES
from local_ai_suite.stack.ports import PortHolder, port_holder
from local_ai_suite.stack.state import RunState, read_run

from .architectures import unknown_architectures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.engine.pace import Speed
    from local_ai_suite.fit import PartComparison
    from local_ai_suite.paths import Paths
    from local_ai_suite.repository.worktree import Worktree

T = TypeVar("T")

PACKAGES = ("local-ai-suite", "xllamacpp", "litellm")
# `docker info` asks a daemon that may be waking up; it answers in milliseconds when it is there.
_DOCKER_SECONDS = 15.0
_NVIDIA_VENDOR, _DISPLAY_CLASS = "0x10de", "0x03"


@dataclass(frozen=True, slots=True)
class PortFact:
    """``holder`` is ``None`` for a free port; ``ours``: the stack of this project holds it."""

    key: str
    port: int
    holder: PortHolder | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class DockerFacts:
    """``trouble``: why it can't be used. ``gpu``: whether its engine knows an NVIDIA runtime.

    ``inside`` are the GPUs that a container saw, or why it saw none. ``root`` is where the engine
    keeps images, if that lies on a disk that this machine sees.
    """

    version: str | None = None
    compose: str | None = None
    trouble: StackError | None = None
    gpu: bool | None = None
    inside: tuple[str, ...] | StackError | None = None
    root: Folder | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A place that the suite uses: what kind of disk it lies on and how much is free there."""

    path: Path
    kind: PathKind = "native"
    free_bytes: int | None = None
    writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All of them. An ``..._error`` stands for a fact that could not be had, and says why."""

    paths: Paths
    settings: Settings | None = None
    settings_error: SuiteError | None = None
    env_mode: int | None = None
    env_tracked: bool = False
    example_there: bool = True
    hardware: Hardware | None = None
    nvidia_on_bus: bool = False
    engines: tuple[FoundEngine, ...] = ()
    engine_error: SuiteError | None = None
    catalog: Catalog | None = None
    models_error: SuiteError | None = None
    unknown_architectures: frozenset[str] = frozenset()
    gateway_error: SuiteError | None = None
    project: Folder | None = None
    models: Folder | None = None
    state: Folder | None = None
    ports: tuple[PortFact, ...] = ()
    docker: DockerFacts | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    python: tuple[int, int] = (3, 11)
    run: RunState | None = None
    lessons: Record = field(default_factory=Record)
    loads: Mapping[str, tuple[PartComparison, ...]] = field(default_factory=dict)
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    memory_speed: float | None = None

    @property
    def engine(self) -> FoundEngine | None:
        return self.engines[0] if self.engines else None

    @property
    def catalog_default(self) -> ModelEntry | None:
        """The model that `up` loads."""
        return self.catalog.default if self.catalog else None

    @property
    def runtime(self) -> str:
        """``docker``, ``native``, or ``either`` where RUNTIME=auto has both to choose from."""
        wanted = self.settings.runtime if self.settings else "auto"
        if wanted != "auto":
            return wanted
        usable = self.docker is not None and self.docker.trouble is None
        return "either" if usable else "native"


def gather(
    paths: Paths, *, environ: Mapping[str, str] | None = None, root: Path = Path("/")
) -> Snapshot:
    """Look at everything. Bounded: each program that is asked has a time limit."""
    env = dict(os.environ if environ is None else environ)
    settings, settings_error = _attempt(lambda: load_settings(paths, environ=env))
    known = settings or Settings()
    run = read_run(paths.run_file)
    engines, engine_error = _attempt(lambda: find_engines(known, paths, environ=env))
    catalog, models_error = _attempt(lambda: configured_models(known, paths))
    if known.runtime == "docker" and models_error is None:
        _, models_error = _attempt(lambda: check_models(known, paths))
    memory = FitMemory(paths.state)
    hardware = detect(environ=env, root=root)
    return Snapshot(
        paths=paths,
        settings=settings,
        settings_error=settings_error,
        env_mode=_mode(paths.env_file),
        env_tracked=_tracked(paths),
        example_there=paths.env_example.is_file(),
        hardware=hardware,
        nvidia_on_bus=nvidia_on_bus(root),
        engines=engines or (),
        engine_error=engine_error,
        catalog=catalog,
        models_error=models_error,
        unknown_architectures=_unknown(engines, catalog),
        gateway_error=gateway_error(paths, known, env),
        project=folder(paths.project),
        models=folder(known.models_path(paths)),
        state=folder(paths.state),
        ports=port_facts(known, paths, run),
        docker=None if known.runtime == "native" else docker_facts(),
        versions=versions(),
        python=sys.version_info[:2],
        run=run,
        lessons=memory.record,
        loads=memory.loads(),
        speeds=memory.speeds(),
        memory_speed=MemorySpeed(paths.state, hardware).best,
    )


def _unknown(engines: tuple[FoundEngine, ...] | None, catalog: Catalog | None) -> frozenset[str]:
    if not engines or catalog is None:
        return frozenset()
    wanted = {entry.file.architecture for entry in catalog.entries}
    return unknown_architectures(engines[0], wanted)


def _attempt(what: Callable[[], T]) -> tuple[T | None, SuiteError | None]:
    try:
        return what(), None
    except SuiteError as exc:
        return None, exc


def gateway_error(paths: Paths, settings: Settings, env: Mapping[str, str]) -> SuiteError | None:
    """What is wrong with the gateway's configuration."""
    needed = {"INFERENCE_API_BASE": settings.inference_api_base, "INFERENCE_API_KEY": "checked"}
    relay = settings.gateway_relay == "on"
    try:
        load_config(paths.gateway_config, {**env, **needed}, relay=relay)
    except SuiteError as exc:
        return exc
    return None


def port_facts(settings: Settings, paths: Paths, run: RunState | None) -> tuple[PortFact, ...]:
    """Who holds the two ports."""
    facts = []
    for service in (service for rows in PHASES.values() for service in reversed(rows)):
        key, port = service.port_setting or service.name, service.port(settings)
        holder = port_holder(port)
        ours = holder is not None and (
            holder.project == str(paths.project) or _held_by_run(holder, run, paths)
        )
        facts.append(PortFact(key, port, holder, ours))
    return tuple(facts)


def _held_by_run(holder: PortHolder, run: RunState | None, paths: Paths) -> bool:
    port = holder.port
    if run is None or port not in {service.port for service in run.services}:
        return False
    if run.runtime == "docker":
        # Docker's proxy keeps the port of a container that crashed and is being started again. Were
        # it another project's, Compose would say so.
        docker = holder.pid is None or "docker" in (holder.command or "")
        return docker and bool(containers(paths))
    return any(
        service.port == port and service.process is not None and service.process.process()
        for service in run.services
    )


def docker_facts() -> DockerFacts:
    """Versions of Docker's engine and of Compose, and whether the engine knows GPUs."""
    trouble = engine_trouble()
    if trouble is not None:
        return DockerFacts(trouble=trouble)
    runtimes = _ask("docker", "info", "--format", "{{json .Runtimes}}")
    try:
        gpu = None if runtimes is None else "nvidia" in json.loads(runtimes or "{}")
    except ValueError:
        gpu = None
    root = Path(_ask("docker", "info", "--format", "{{.DockerRootDir}}") or "/nowhere")
    return DockerFacts(
        inside=gpu_inside() if gpu else None,
        # Docker Desktop's lies in a machine of its own.
        root=folder(root) if root.is_dir() else None,
        version=_ask("docker", "version", "--format", "{{.Server.Version}}"),
        compose=_ask("docker", "compose", "version", "--short"),
        gpu=gpu,
    )


def folder(path: Path) -> Folder:
    """The disk that ``path`` lies on, or will lie on."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        free = None
    return Folder(path, path_kind(place), free, os.access(place, os.W_OK | os.X_OK))


def versions() -> dict[str, str | None]:
    """Of the packages that matter; from their metadata, so that nothing large is imported."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def nvidia_on_bus(root: Path) -> bool:
    """Whether an NVIDIA display controller is on the PCI bus, driver or not."""
    for device in (root / "sys/bus/pci/devices").glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _NVIDIA_VENDOR and kind.startswith(_DISPLAY_CLASS):
            return True
    return False


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def _tracked(paths: Paths) -> bool:
    """Whether `.env` was put under version control, with its key."""
    try:
        worktree = find_worktree(paths.project)
        return worktree is not None and is_tracked(worktree, _from_root(worktree, paths.project))
    except UsageError:  # no git, or a repository that can't be read: nothing is known
        return False


def _from_root(worktree: Worktree, project: Path) -> str:
    """`.env`, as the repository around the project names it."""
    return (project.resolve() / ".env").relative_to(worktree.root).as_posix()


def _ask(*words: str) -> str | None:
    """What a program prints; ``None`` when it isn't there, fails or does not answer."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_DOCKER_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
