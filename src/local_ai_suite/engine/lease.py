"""The right to send one request to a model's engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .llama_server import EngineProcess
    from .model import Model


class Lease:
    """Counts as a request in flight until it is released; release it, always. ``waited``: seconds
    that the request waited for the model."""

    __slots__ = ("_done", "_give_back", "engine", "model", "waited")

    def __init__(
        self, give_back: Callable[[Lease], None], model: Model, engine: EngineProcess, waited: float
    ) -> None:
        self._give_back = give_back
        self._done = False
        self.model = model
        self.engine = engine
        self.waited = waited

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        if not self._done:
            self._done = True
            self._give_back(self)
