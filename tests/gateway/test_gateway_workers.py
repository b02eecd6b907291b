"""The gateway's further processes: one that hangs is ended, and another takes its place."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil

from local_ai_suite.gateway.limits import SharedCounts
from local_ai_suite.gateway.workers import Workers
from local_ai_suite.process import Health, Keeper
from local_ai_suite.process.keeper import Phase
from local_ai_suite.process.restarts import Backoff
from local_ai_suite.wire.serve import listen

CONFIG = Path(__file__).parents[2] / "services" / "api-gateway" / "config.p1.yaml"
BOUND_S = 90.0
# A worker writes a sign of life each second.
QUICK = Health(every=0.2, within=2.5, misses=2, stop_seconds=0.3)


def test_a_worker_that_hangs_is_ended_and_another_takes_its_place(
    tmp_path: Path, free_port: int
) -> None:
    place = tmp_path / "services" / "api-gateway"
    place.mkdir(parents=True)
    (place / CONFIG.name).write_bytes(CONFIG.read_bytes())
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith("LAIS_")},
        "LAIS_PROJECT": str(tmp_path),
        "INFERENCE_API_BASE": "http://127.0.0.1:9/v1",
        "API_GATEWAY_PORT": str(free_port),
        "GATEWAY_WORKERS": "2",
    }

    async def story() -> None:
        listeners = listen("127.0.0.1", free_port)
        workers = Workers(
            listeners, 1, environ, SharedCounts(), backoff=Backoff((0.01,)), health=QUICK
        )
        (keeper,) = workers.keepers
        try:
            await until_ready(keeper, restarts=0)
            assert await answers(free_port)
            assert keeper.child is not None
            hanging = keeper.child.pid
            assert hanging is not None
            os.kill(hanging, signal.SIGSTOP)
            await until_ready(keeper, restarts=1)
            assert "did not answer" in keeper.reason
            assert not psutil.pid_exists(hanging)
            assert await answers(free_port)
        finally:
            await workers.stop()
            for sock in listeners:
                sock.close()

    async def until_ready(keeper: Keeper, restarts: int) -> None:
        while (keeper.restarts, keeper.phase) != (restarts, Phase.READY):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def answers(port: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /health/liveliness HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        line = await reader.readline()
        writer.close()
        return b" 200 " in line

    asyncio.run(asyncio.wait_for(story(), BOUND_S))
