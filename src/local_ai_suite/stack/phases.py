"""The one table of services: what each is called, where it listens, when it is ready. Pure.

Everything that names a service reads this: both runtimes, the Compose files (held by a test),
``status``, ``logs``, the doctor. A new service is a row here and its module; a port that people may
move is a row in the settings as well, and a container is its part of ``docker/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import NotBuiltYet, UsageError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """One service: a row of the table.

    ``name`` is what Compose, ``status`` and ``logs`` call it. ``python -m module`` serves it.
    ``port_setting`` says where it listens on this machine; without one, and inside its container,
    that is ``container_port``. ``ready_path`` answers 200 only when requests will be served, at
    the latest ``ready_seconds`` after its start; ``alive_path`` is the same, or one that asks
    nobody else: a service must not be taken for hanging because one that it calls hangs.
    ``config`` is a file of the project that it cannot do without, relative to ``services/``.
    ``needs`` are the services that it calls: it finds each one's address in ``<NAME>_API_BASE``.
    """

    name: str
    module: str
    container_port: int
    port_setting: str | None = None
    ready_path: str = "/health"
    alive_path: str = "/health"
    ready_seconds: float = 60.0
    config: str | None = None
    needs: tuple[str, ...] = ()
    image: str | None = None  # without the registry; the name when there is none

    def port(self, settings: Settings) -> int:
        """Where it listens on this machine."""
        if self.port_setting is None:
            return self.container_port
        port: int = getattr(settings, self.port_setting.lower())
        return port

    def config_file(self, paths: Paths) -> Path | None:
        """The file that it cannot do without, if there is one."""
        return paths.services / self.config if self.config else None

    @property
    def variable(self) -> str:
        """How its name begins in the environment: ``API_GATEWAY``."""
        return self.name.upper().replace("-", "_")


INFERENCE = Service(
    name="inference",
    module="local_ai_suite.engine.server",
    container_port=8001,
    port_setting="INFERENCE_PORT",
    # Python, imports and finding the engine; models are loaded after that.
    ready_seconds=60.0,
)
API_GATEWAY = Service(
    name="api-gateway",
    module="local_ai_suite.gateway.server",
    container_port=8000,
    port_setting="API_GATEWAY_PORT",
    ready_path="/health/readiness",
    alive_path="/health/liveliness",
    # The relay is there at once. LiteLLM alone (GATEWAY_RELAY=off) took 5 to 14 s on two idle cores
    # and 88 s on two that ten others used.
    ready_seconds=180.0,
    config="api-gateway/config.p1.yaml",
    needs=("inference",),
    image="gateway",
)

# What each phase adds to those before it, in the order in which it starts.
PHASES: dict[str, tuple[Service, ...]] = {
    "p1": (INFERENCE, API_GATEWAY),
    "p2": (),
    "p3": (),
}
TITLES = {
    "p1": tr("models and the OpenAI-compatible API"),
    "p2": tr("documents (RAG)"),
    "p3": tr("MCP tools"),
}


def check_phase(phase: str) -> None:
    """Raise :class:`NotBuiltYet` for a phase to come, :class:`UsageError` for an unknown one."""
    if phase not in PHASES:
        raise UsageError(
            tr("there is no phase {phase!r}", phase=phase),
            hint=tr("Known phases: {phases}.", phases=", ".join(PHASES)),
        )
    if not PHASES[phase]:
        raise NotBuiltYet(
            tr("phase {phase} ({what}) is not built yet", phase=phase[1:], what=TITLES[phase]),
            hint=tr("Phase 1 is: make up-p1"),
        )


def phases_up_to(phase: str) -> tuple[str, ...]:
    """``p2`` is what ``p1`` is, and its own; phases that have nothing yet are left out.

    Raises as :func:`check_phase` does.
    """
    check_phase(phase)
    names = list(PHASES)
    return tuple(name for name in names[: names.index(phase) + 1] if PHASES[name])


def services_of(phase: str) -> tuple[Service, ...]:
    """The services of ``phase``, first to start first. Raises as :func:`check_phase` does."""
    return tuple(service for name in phases_up_to(phase) for service in PHASES[name])


def service_named(name: str) -> Service:
    """The row of ``name``, in whatever phase. Raises :class:`KeyError`."""
    return {service.name: service for rows in PHASES.values() for service in rows}[name]
