"""What the connections of one server share: the application, the limits, and who is let in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from local_ai_suite.wire.asgi import App


class Held(Protocol):
    """A connection, as far as the server has to do with it."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """``None`` once the connection is lost."""

    def shut_down(self) -> None:
        """Close when idle, else after the answer that is under way."""

    def give_way(self) -> None:
        """Close for the sake of a new connection."""


@dataclass(slots=True)
class ServerState:
    """What the connections of one server share. ``unserved``: those that may be closed for a new
    one when there are ``max_connections``, the one that has waited longest first.
    """

    app: App
    head_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float
    stall_s: float
    max_connections: int
    connections: set[Held] = field(default_factory=set)
    unserved: dict[Held, None] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def tick_s(self) -> float:
        """How often a connection looks at its clock; limits are kept to within this time."""
        return min(self.head_timeout_s, self.body_timeout_s, self.keep_alive_s, self.stall_s)

    def admit(self, connection: Held) -> bool:
        """Count ``connection`` in, closing an idle one for it if need be; False: all are busy."""
        while len(self.connections) >= self.max_connections and self.unserved:
            next(iter(self.unserved)).give_way()
        admitted = len(self.connections) < self.max_connections
        self.connections.add(connection)
        if admitted:
            self.unserved[connection] = None
        return admitted

    def forget(self, connection: Held) -> None:
        """``connection`` is gone."""
        self.connections.discard(connection)
        self.unserved.pop(connection, None)
        if not self.connections:
            self.emptied.set()
