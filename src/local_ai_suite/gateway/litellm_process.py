"""LiteLLM's proxy application, started in a process of its own when first needed.

Its import takes 5 to 14 s and 285 MB and would stall local streams in this process; in a child it
costs them nothing. The child listens on a loopback port with a key that only the gateway knows: who
may come in was decided at the gateway's door.
"""

from __future__ import annotations

import importlib.util
import secrets
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from local_ai_suite.errors import GatewayError
from local_ai_suite.gateway.config import ENVIRONMENT
from local_ai_suite.wire.upstream import Upstream, UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from local_ai_suite.gateway.config import GatewayConfig
    from local_ai_suite.process import ChildProcess

# Measured: 5 to 7 s with compiled bytecode, 14 s without, on two idle cores; busy ones take longer.
READY_S = 120.0
# A child that could not start is not tried again for this long: each try costs seconds of CPU.
RETRY_S = 10.0
# The gateway itself has 10 s to stop, with its children.
STOP_S = 3.0
COMMAND = (sys.executable, "-m", "local_ai_suite.gateway.litellm_app")
_PROBE = "/health/liveliness"


# What LiteLLM serves beside the gateway's endpoints. A list of what is let through, because the
# gateway shows LiteLLM its own master key: /v1/mcp and /v1/agents, for example, are for
# administrators (a test of an MCP server runs a command).
_SERVED = ("images", "audio", "moderations", "files", "batches", "responses", "videos", "ocr")


class LiteLlmFailed(GatewayError):
    """LiteLLM did not start."""

    code = "litellm_failed"
    http_status = 502


class LiteLlmMissing(GatewayError):
    """It is not installed."""

    code = "litellm_missing"
    http_status = 501


class LiteLlm:
    """Answers ``upstream()`` with LiteLLM's address, starting it if need be."""

    def __init__(
        self,
        config: GatewayConfig,
        environ: Mapping[str, str],
        *,
        silence_timeout_s: float,
        log_file: Path | None = None,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._silence_timeout_s = silence_timeout_s
        self._log_file = log_file
        self._command = command
        self._clock = clock
        self.child: ChildProcess | None = None
        self._upstream: Upstream | None = None
        self._not_before = -1e9
        self._why = ""
        # With a database, clients show keys that LiteLLM gave them.
        self.keeps_keys = config.litellm_keeps_keys
        self.key, self._environ = _with_key(config, environ)

    @property
    def started(self) -> bool:
        """Whether it is ready to answer."""
        child = self.child
        return child is not None and child.ready_at is not None and child.exit is None

    def serves(self, path: str) -> bool:
        """Whether it may be asked for ``path`` (canonical, decoded).

        Its pages for keys and budgets are reached only when it keeps them.
        """
        parts = path.split("/")
        listed = len(parts) > 2 and parts[1] == "v1" and parts[2] in _SERVED and ".." not in parts
        return listed or self.keeps_keys

    @asynccontextmanager
    async def place(self) -> AsyncIterator[tuple[Upstream, str]]:
        """Its address for one exchange, started if need be. Raises as :meth:`upstream`."""
        yield await self.upstream(), ""

    async def upstream(self) -> Upstream:
        """A client of the running child. Raises LiteLlmMissing, LiteLlmFailed."""
        if importlib.util.find_spec("litellm") is None:
            raise LiteLlmMissing(
                "This model is LiteLLM's, which is not installed here.",
                hint="Install it: uv sync --extra litellm",
            )
        if self.child is None or self.child.exit is not None:
            if self._clock() < self._not_before:
                raise LiteLlmFailed(self._why, hint="See `lais logs`.")
            self._spawn()
        child = self.child
        assert child is not None  # noqa: S101 (_spawn has set it)
        ended = await child.ready()
        if ended is not None or self._upstream is None:
            tail = " | ".join(line.strip() for line in child.log_tail(3))
            reason = ended.reason if ended else "it told no port"
            self._why = f"LiteLLM did not start: {reason}. {tail}".strip()
            self._not_before = self._clock() + RETRY_S
            raise LiteLlmFailed(self._why, hint="See `lais logs`.")
        return self._upstream

    async def stop(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        if self.child is not None:
            await self.child.stop()

    def _spawn(self) -> None:
        # psutil and asyncio's subprocesses are wanted only here.
        from local_ai_suite.process import ChildProcess  # noqa: PLC0415

        self._upstream = None
        self.child = ChildProcess(
            "LiteLLM",
            self._command,
            probe=self._answers,
            ready_seconds=READY_S,
            env=self._environ,
            log_file=self._log_file,
            on_line=self._read_line,
            stop_seconds=STOP_S,
        )

    def _read_line(self, line: str) -> None:
        word, _, number = line.strip().partition(" ")
        if self._upstream is None and word == "port" and number.isdigit():
            self._upstream = Upstream(
                "127.0.0.1", int(number), silence_timeout_s=self._silence_timeout_s
            )

    async def _answers(self) -> bool:
        if self._upstream is None:
            return False
        try:
            exchange = await self._upstream.start("GET", _PROBE)
            try:
                await exchange.head()
                return exchange.status == 200
            finally:
                exchange.close()
        except UpstreamError:
            return False


def _with_key(config: GatewayConfig, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The key that the child will accept, and its environment.

    The config's ``master_key`` is mostly ``os.environ/LITELLM_MASTER_KEY``: the child gets a fresh
    one under that name. A literal one stands; with a database LiteLLM keeps the keys itself.
    """
    env = {
        **environ,
        "CONFIG_FILE_PATH": str(config.path),
        # Otherwise it fetches a list of prices from the internet at every start.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        # 100 equal chunks end a stream with an error otherwise.
        "REPEATED_STREAMING_CHUNK_LIMIT": "1000000",
    }
    key = (config.document.get("general_settings") or {}).get("master_key")
    variable = "LITELLM_MASTER_KEY"
    if isinstance(key, str) and key.startswith(ENVIRONMENT):
        variable = key.removeprefix(ENVIRONMENT)
    elif isinstance(key, str) and key:
        return key, env
    if config.litellm_keeps_keys:
        return env.get(variable, ""), env
    # Its management pages and documentation stay shut: no keys are kept there.
    env |= {"DISABLE_ADMIN_UI": "True", "NO_DOCS": "True", "NO_REDOC": "True"}
    fresh = f"sk-{secrets.token_hex(24)}"
    return fresh, {**env, variable: fresh}
