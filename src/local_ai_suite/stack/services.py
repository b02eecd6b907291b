"""Which services a phase has, in the order in which they start. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import NotBuiltYet, UsageError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.settings import Settings

PHASES = {
    "p1": tr("models and the OpenAI-compatible API"),
    "p2": tr("documents (RAG)"),
    "p3": tr("MCP tools"),
}
BUILT = ("p1",)
# What answers 200 only when a service will serve requests.
READY_PATHS = {"inference": "/health", "api-gateway": "/health/readiness"}


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service: its command, what it listens on, when it counts as ready.

    ``ready_path`` answers 200 only when requests will be served; ``ready_timeout_s`` bounds the
    wait. Secrets travel in ``environment``, never in ``command``.
    """

    name: str
    command: tuple[str, ...]
    port: int
    ready_path: str
    ready_timeout_s: float
    environment: Mapping[str, str]


def check_phase(phase: str) -> None:
    """Raise :class:`NotBuiltYet` for a phase to come, :class:`UsageError` for an unknown one."""
    if phase not in PHASES:
        raise UsageError(
            tr("there is no phase {phase!r}", phase=phase),
            hint=tr("Known phases: {phases}.", phases=", ".join(PHASES)),
        )
    if phase not in BUILT:
        raise NotBuiltYet(
            tr("phase {phase} ({what}) is not built yet", phase=phase[1:], what=PHASES[phase]),
            hint=tr("Phase 1 is: make up-p1"),
        )


def phase_services(phase: str, settings: Settings, master_key: str) -> tuple[ServiceSpec, ...]:
    """The services of ``phase`` as native processes, first to start first.

    Raises as :func:`check_phase` does.
    """
    check_phase(phase)
    shared = {"LITELLM_MASTER_KEY": master_key}
    return (
        ServiceSpec(
            name="inference",
            command=(sys.executable, "-m", "local_ai_suite.engine.server"),
            port=settings.inference_port,
            ready_path=READY_PATHS["inference"],
            # Python, imports and finding the engine; models are loaded after that.
            ready_timeout_s=60.0,
            environment=shared,
        ),
        ServiceSpec(
            name="api-gateway",
            command=(sys.executable, "-m", "local_ai_suite.gateway.server"),
            port=settings.api_gateway_port,
            ready_path=READY_PATHS["api-gateway"],
            # The relay is there at once. LiteLLM alone (GATEWAY_RELAY=off) took 5 to 14 s on two
            # idle cores and 88 s on two that ten others used.
            ready_timeout_s=180.0,
            environment={
                **shared,
                "INFERENCE_API_BASE": settings.inference_api_base,
                "INFERENCE_API_KEY": master_key,
            },
        ),
    )
