"""An engine that does not answer any more: the real pool and a real process, on short bounds."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from local_ai_suite.catalog.catalog import configured_models
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine import watch
from local_ai_suite.engine.abilities import TemplateMemory
from local_ai_suite.engine.ledger import Phase
from local_ai_suite.engine.llama_server import Launch
from local_ai_suite.engine.placement import FitPlanner
from local_ai_suite.engine.pool import Pool
from local_ai_suite.engine.service import EngineService
from local_ai_suite.engine.slots import SlotStore
from local_ai_suite.engine.watch import STALLED
from local_ai_suite.engines.find import FoundEngine
from local_ai_suite.hardware import Hardware
from local_ai_suite.paths import Paths
from local_ai_suite.settings import load_settings
from local_ai_suite.wire.upstream import UpstreamError

FAKE = Path(__file__).parents[1] / "fakes" / "fake_llama_server.py"
BOUND = 60.0
SHORT = 2.0  # a well engine on a busy machine answers within it
ROOM = {"CPU": 8 * 2**30}

Story = Callable[[EngineService], Awaitable[None]]


@pytest.fixture
def tell(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Story], None]:
    """Run a story with a service whose model's engine has the given faults."""
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0.1)

    def run(faults: str, story: Story) -> None:
        model = write_scripted_gguf(paths.project / "models" / "m.gguf")
        model.with_name("m.gguf.fake").write_text(faults)
        asyncio.run(asyncio.wait_for(_run(paths, story), BOUND))

    return run


async def _run(paths: Paths, story: Story) -> None:
    settings = load_settings(paths, environ={"CTX_SIZE": "2048", "PARALLEL": "2"})
    catalog = configured_models(settings, paths)
    found = FoundEngine("setting", (str(FAKE),), "a test's own")
    slots = SlotStore(paths.state / "slots")
    launch = Launch(
        found=found, log_folder=paths.ensure_state() / "logs", slots=slots,
        templates=None, cuda_visible_devices=None, load_seconds=30,
        stall_seconds=SHORT, slot_seconds=SHORT,
    )  # fmt: skip
    planner = FitPlanner(settings, Hardware(), engine_has_gpu=False)
    pool = Pool(
        catalog.entries, capacity=ROOM, placer=planner, launch=launch, keep_alive=3600,
        on_misfit="warn",
    )  # fmt: skip
    service = EngineService(
        settings, paths, catalog=catalog, found=found, slots=slots,
        templates=TemplateMemory(paths.state, "fake"), planner=planner, pool=pool,
    )  # fmt: skip
    try:
        await story(service)
    finally:
        await service.close()


async def answer(service: EngineService) -> Any:
    """One streamed chat to its end, as the HTTP service passes it on."""
    lease = await service.admit(service.default)
    try:
        body = json.dumps({"stream": True, "messages": []}).encode()
        exchange = await lease.engine.upstream.start(
            "POST", "/v1/chat/completions", lease.engine.headers, body
        )
        try:
            await exchange.head()
            while not exchange.at_end:
                await exchange.read()
        except UpstreamError as exc:
            return await service.cause(lease, exc)
        finally:
            exchange.close()
    finally:
        lease.release()


def test_a_stalled_engine_answers_its_requests_with_the_reason_and_comes_back(
    tell: Callable[[str, Story], None], paths: Paths
) -> None:
    async def story(service: EngineService) -> None:
        model = service.default
        (await service.admit(model)).release()
        (paths.project / "models" / "m.gguf.fake").write_text("")  # the next one is well
        errors = await asyncio.gather(answer(service), answer(service))
        assert {error.message for error in errors} == {f"The engine of local-chat died: {STALLED}."}
        assert await answer(service) is None
        assert len(model.deaths) == 1
        assert model.in_flight == 0

    tell("--stall-after-chunks 1", story)


def test_a_save_that_is_never_answered_costs_the_conversation_and_no_more(
    tell: Callable[[str, Story], None], paths: Paths
) -> None:
    async def story(service: EngineService) -> None:
        model = service.default
        assert await answer(service) is None
        pid = model.engine.pid if model.engine else None
        await service.pool.unload(model)
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert model.kept is not None
        assert f"not answered within {SHORT:g} s" in (model.kept.problem or "")
        assert not list((paths.state / "slots").rglob("*.bin*"))
        assert service.pool.ledger.held() == {}

    tell("--saves 100 --save-hangs", story)


def test_a_save_that_stops_halfway_keeps_the_slots_before_it(
    tell: Callable[[str, Story], None], paths: Paths
) -> None:
    async def story(service: EngineService) -> None:
        model = service.default
        assert await answer(service) is None
        await service.pool.unload(model)
        assert model.kept is not None
        assert (model.kept.tokens, model.kept.bytes) == (100, 100)
        assert model.kept.problem == "the engine says 500: Unable to save slot"
        assert [path.name for path in (paths.state / "slots").rglob("*.bin*")] == ["slot-0.bin"]
        assert await answer(service) is None
        assert model.engine is not None
        assert model.engine.kept is not None
        assert (model.engine.kept.tokens, model.engine.kept.problem) == (100, None)
        assert not list((paths.state / "slots").rglob("*.bin*")), "used once"

    tell("--saves 100 --save-fails 1", story)


def test_an_engine_that_dies_in_a_save_is_not_started_again_for_it(
    tell: Callable[[str, Story], None], paths: Paths
) -> None:
    async def story(service: EngineService) -> None:
        model = service.default
        assert await answer(service) is None
        await service.pool.unload(model)
        assert (model.phase, len(model.deaths), model.restart_at) == (Phase.UNLOADED, 0, None)
        assert model.kept is not None
        assert model.kept.problem, "its conversations are lost, and that is told"
        assert not list((paths.state / "slots").rglob("*.bin*"))
        assert service.pool.ledger.held() == {}

    tell("--saves 100 --save-crashes", story)
