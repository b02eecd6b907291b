"""The gateway in a thread of the test's own process, on a port the system chooses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite.gateway.config import load_config
from local_ai_suite.gateway.litellm_process import COMMAND, LiteLlm
from local_ai_suite.gateway.server import Gateway
from local_ai_suite.wire.guard import Guard
from local_ai_suite.wire.serve import Server, listen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONFIG = Path(__file__).parents[1] / "services" / "api-gateway" / "config.p1.yaml"


@dataclass(frozen=True)
class Running:
    """A served gateway; ``url`` without a path. ``do`` runs a coroutine on its loop."""

    url: str
    port: int
    gateway: Gateway
    loop: asyncio.AbstractEventLoop

    def do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)


@contextlib.contextmanager
def running(
    engine_url: str,
    *,
    guard: Guard | None = None,
    config: Path = CONFIG,
    relay: bool = True,
    litellm_log: Path | None = None,
    litellm_command: Sequence[str] = COMMAND,
    **options: Any,
) -> Iterator[Running]:
    """Serve ``config`` over the engine at ``engine_url`` (without /v1)."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> tuple[Gateway, Server]:
        environ = {"INFERENCE_API_BASE": f"{engine_url}/v1", "INFERENCE_API_KEY": "internal"}
        options.setdefault("max_body", 4 * 1024 * 1024)
        loaded = load_config(config, {**os.environ, **environ}, relay=relay)
        if litellm_log is not None or litellm_command is not COMMAND:
            options["litellm"] = LiteLlm(
                loaded,
                {**os.environ, **environ},
                silence_timeout_s=60,
                log_file=litellm_log,
                command=litellm_command,
            )
        gateway = Gateway(loaded, guard or Guard(), **options)
        server = Server(gateway, listen("127.0.0.1", 0))
        await server.start()
        return gateway, server

    async def end(gateway: Gateway, server: Server) -> None:
        await server.stop(0)
        await gateway.close()

    gateway, server = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    try:
        yield Running(f"http://127.0.0.1:{server.port}", server.port, gateway, loop)
    finally:
        asyncio.run_coroutine_threadsafe(end(gateway, server), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
