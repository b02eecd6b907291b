"""A running engine, looked at now and then: does its loop still turn, is it as fast as planned?"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from local_ai_suite.process import Clock, Exit

from .ledger import Phase
from .readback import too_slow

if TYPE_CHECKING:
    from .learning import Notes
    from .llama_server import EngineProcess
    from .model import Model

logger = logging.getLogger(__name__)

# How often an engine with requests in flight is asked whether it still turns its loop.
WATCH_SECONDS = 30.0
STALLED = "it did not answer any more and was ended"


async def until_gone(
    model: Model, engine: EngineProcess, clock: Clock, notes: Notes | None
) -> Exit:
    """Wait for the end of the engine; one that does not answer under a request is ended."""
    gone = asyncio.create_task(engine.exited())
    while True:
        pause = asyncio.create_task(clock.sleep(WATCH_SECONDS))
        await asyncio.wait({gone, pause}, return_when=asyncio.FIRST_COMPLETED)
        pause.cancel()
        if gone.done():
            return gone.result()
        if model.phase is not Phase.READY:
            continue
        if not model.in_flight:
            await look_at_speed(model, engine, notes)
            continue
        asking = asyncio.create_task(engine.responsive())
        await asyncio.wait({gone, asking}, return_when=asyncio.FIRST_COMPLETED)
        if not gone.done() and not asking.result():
            model.last_death = STALLED  # first: who loses an answer by it asks why
            await engine.stop()
            return Exit(None, asked=False, reason=STALLED)
        asking.cancel()


async def look_at_speed(model: Model, engine: EngineProcess, notes: Notes | None) -> None:
    """Once something was generated since the last look: how fast, and is it as planned?"""
    if model.placement is None or model.served == model.served_at_look:
        return
    model.served_at_look = model.served
    counters = await engine.counters()
    if counters is None or not model.pace.look(counters):
        return
    speed = model.pace.speed(model.placement.fit.tokens_per_second)
    if speed is None:
        return
    model.speed = speed
    if notes is not None:
        notes.generated(model.name, speed)
    slow = too_slow(speed)
    others = [item for item in model.deviations if item != model.slowness]
    if slow is not None:
        logger.warning("%s is slow: %s", model.name, slow.message)
    model.slowness = slow
    model.deviations = (*others, slow) if slow is not None else tuple(others)
