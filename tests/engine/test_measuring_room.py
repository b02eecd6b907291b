"""How much there is for models now, while some are loaded and other programs come and go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from local_ai_suite import hardware
from local_ai_suite.engine.bandwidth import MemorySpeed
from local_ai_suite.engine.ledger import minus
from local_ai_suite.engine.placement import FitPlanner, capacity
from local_ai_suite.engine.room import Room
from local_ai_suite.hardware import Gpu, Hardware, private_bytes
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from engine_service import Service
    from local_ai_suite.paths import Paths

GIB, MIB = 1 << 30, 1 << 20


def machine(*, memory: float, card: float | None = None) -> Hardware:
    """With these GiB free: in memory, and on a card of 24."""
    gpus = () if card is None else (Gpu(0, "A card", 24 * GIB, int(card * GIB)),)
    return Hardware(gpus, memory_total_bytes=32 * GIB, memory_available_bytes=int(memory * GIB))


def looks(
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    *times: tuple[Hardware, dict[str, int]],
    engine: dict[str, int] | None = None,
) -> list[dict[str, int]]:
    """What there is for models at each of ``times``: the machine then, and what ours have taken.

    ``engine``: the free bytes that it says its devices have."""
    seen_by_it = engine or {}
    settings = load_settings(paths, environ={})
    speed = MemorySpeed(paths.state, times[0][0], measure=lambda _: None)
    room = Room(FitPlanner(settings, times[0][0], engine_has_gpu=True), speed, lambda: seen_by_it)
    seen = iter([one for one, _ in times])
    monkeypatch.setattr(hardware, "detect", lambda: next(seen))

    async def all_of_them() -> list[dict[str, int]]:
        return [await room(taken) for _, taken in times]

    return asyncio.run(all_of_them())


def test_what_others_free_is_there_at_once_also_while_a_model_is_loaded(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {"CPU": 1 * GIB}
    crowded, roomy = looks(
        paths, monkeypatch, (machine(memory=6.4), ours), (machine(memory=26), ours)
    )
    assert roomy["CPU"] - crowded["CPU"] == int(26 * GIB) - int(6.4 * GIB)
    less, more = looks(
        paths, monkeypatch,
        (machine(memory=8, card=3), {"CUDA0": 2 * GIB}),
        (machine(memory=8, card=20), {"CUDA0": 2 * GIB}),
    )  # fmt: skip
    assert more["CUDA0"] - less["CUDA0"] == 17 * GIB


def test_what_ours_hold_and_what_is_free_are_all_there_is(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(paths, environ={})
    empty = machine(memory=20)
    found = looks(paths, monkeypatch, (machine(memory=17), {"CPU": 3 * GIB}))
    assert found == [capacity(empty, settings, engine_has_gpu=True)]


def test_a_card_has_no_more_room_than_the_driver_and_the_engine_both_say(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, both, none = (
        looks(paths, monkeypatch, (machine(memory=8, card=6), {}), engine=seen)[0]["CUDA0"]
        for seen in ({"CUDA0": 7 * GIB}, {"CUDA0": 5 * GIB}, None)
    )
    assert driver - both == 1 * GIB
    assert none == driver
    in_wsl = replace(machine(memory=8, card=6), is_wsl=True)
    (assumed,) = looks(paths, monkeypatch, (in_wsl, {}))
    assert driver - assumed["CUDA0"] == 1 * GIB


def test_pages_of_a_mapped_file_are_not_a_process_own(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(bytes(96 * MIB))
    program = (
        "import mmap, sys\n"
        "file = open(sys.argv[1], 'rb')\n"
        "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "read = sum(mapped[::4096])\n"
        "own = bytearray(b'x') * (48 << 20)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        own = private_bytes(process.pid)
        assert process.stdin is not None
        process.stdin.close()
    assert own is not None
    assert 48 * MIB <= own < 96 * MIB
    assert private_bytes(process.pid) is None, "it is gone"


def test_a_loaded_model_never_promises_more_than_is_free(start: Callable[..., Service]) -> None:
    service = start()
    service.chat()
    first = service.running()
    assert first["status"] == "ready"
    service.client.post("/models/load", json={"model": "demo"})
    told: dict[str, Any] = service.client.get("/running").json()
    left = minus(told["capacity_bytes"], told["used_bytes"])["CPU"]
    available = hardware.detect().memory_available_bytes
    assert available is not None
    assert left <= available + 256 * MIB, "what others took since is all that may be missing"
