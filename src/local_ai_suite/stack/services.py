"""A phase's services as processes of this machine. Pure."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.stack.phases import Service, service_named, services_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.settings import Settings


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service: its command, what it listens on, when it counts as ready.

    ``ready_path`` answers 200 only when requests will be served; ``ready_timeout_s`` bounds the
    wait. ``alive_path`` is what it is asked afterwards. Secrets travel in ``environment``, never in
    ``command``.
    """

    name: str
    command: tuple[str, ...]
    port: int
    ready_path: str
    alive_path: str
    ready_timeout_s: float
    environment: Mapping[str, str]


def native_services(phase: str, settings: Settings, master_key: str) -> tuple[ServiceSpec, ...]:
    """The services of ``phase`` as native processes, first to start first.

    Raises :class:`NotBuiltYet`, :class:`UsageError`.
    """
    return tuple(
        ServiceSpec(
            name=service.name,
            command=(sys.executable, "-m", service.module),
            port=service.port(settings),
            ready_path=service.ready_path,
            alive_path=service.alive_path,
            ready_timeout_s=service.ready_seconds,
            environment={
                "LITELLM_MASTER_KEY": master_key,
                **_addresses(service, settings, master_key),
            },
        )
        for service in services_of(phase)
    )


def _addresses(service: Service, settings: Settings, master_key: str) -> dict[str, str]:
    """Where it finds what it calls, and with which key."""
    found = {}
    for needed in map(service_named, service.needs):
        found[f"{needed.variable}_API_BASE"] = f"http://127.0.0.1:{needed.port(settings)}/v1"
        found[f"{needed.variable}_API_KEY"] = master_key
    return found
