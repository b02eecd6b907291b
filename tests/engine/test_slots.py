"""A swap keeps the conversation: slot states, bounded and private."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine.catalog import configured_models
from local_ai_suite.engine.planning import FitPlanner
from local_ai_suite.engine.slots import SlotStore, fingerprint, slot_key
from local_ai_suite.hardware import Hardware
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service
    from local_ai_suite.paths import Paths

FAKE = Path(__file__).parents[1] / "fakes" / "fake_llama_server.py"
LONG = "Tell me about the weather in all the towns of the country. " * 20


def turn(service: Service, *texts: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    body = {"model": "local-chat", "messages": messages, "max_tokens": 8}
    answer = service.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def cached(answer: dict[str, Any]) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_the_next_turn_after_a_swap_does_not_read_the_whole_prompt_again(
    start: Callable[..., Service],
) -> None:
    service = start(PARALLEL="1")
    first = turn(service, LONG)
    total = first["usage"]["prompt_tokens"]
    pid = service.running()["pid"]
    service.client.post("/models/unload", json={"model": "local-chat"})
    assert not psutil.pid_exists(pid)
    kept = service.running()["conversations"]
    assert kept["problem"] is None
    assert kept["tokens"] >= total
    states = list((service.project / ".state" / "slots").rglob("*.bin*"))
    assert states
    assert {stat.S_IMODE(path.stat().st_mode) for path in states} == {0o600}
    assert stat.S_IMODE(states[0].parent.stat().st_mode) == 0o700
    reply = first["choices"][0]["message"]["content"]
    second = turn(service, LONG, reply, "And then?")
    assert service.running()["pid"] != pid
    assert cached(second) >= total * 0.9
    assert not list((service.project / ".state" / "slots").rglob("*.bin*")), "used once"


def test_a_stopped_service_leaves_no_conversation_on_the_disk(
    start: Callable[..., Service],
) -> None:
    service = start()
    turn(service, LONG)
    service.client.post("/models/unload", json={"model": "local-chat"})
    assert service.stop() == 0
    assert not (service.project / ".state" / "slots").exists()


def test_an_engine_that_cannot_save_is_swapped_without_and_says_so(
    start: Callable[..., Service],
) -> None:
    service = start(LLAMA_SERVER=str(FAKE), CTX_SIZE="2048")
    assert service.chat().status_code == 200
    service.client.post("/models/unload", json={"model": "local-chat"})
    row = service.running()
    assert row["status"] == "unloaded"
    assert "the engine says 404" in row["conversations"]["problem"]
    assert service.chat().status_code == 200


def entry_and_plan(paths: Paths, **environ: str) -> Any:
    settings = load_settings(paths, environ=environ)
    entry = configured_models(settings, paths).entries[0]
    planner = FitPlanner(settings, Hardware(), engine_has_gpu=False)
    return entry, planner(entry, {"CPU": 8 * 2**30}, {}, {}).fit


def test_a_state_fits_only_the_same_weights_and_settings(paths: Paths) -> None:
    model = write_scripted_gguf(paths.project / "models" / "m.gguf")
    entry, plan = entry_and_plan(paths)
    key = slot_key(entry, plan, "1")
    assert slot_key(entry, plan, "1") == key
    assert slot_key(entry, plan, "2") != key
    other, smaller = entry_and_plan(paths, CTX_SIZE="1024")
    assert slot_key(other, smaller, "1") != key
    before = fingerprint(model)
    raw = bytearray(model.read_bytes())
    raw[0:4] = b"GGUG"
    model.write_bytes(raw)
    assert fingerprint(model) != before


def put(folder: Path, name: str, size: int, age: int) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "slot-0.bin").write_bytes(b"x" * size)
    os.utime(place, (1_000_000 - age, 1_000_000 - age))
    return place


def test_older_states_go_for_a_new_one_and_the_whole_stays_bounded(tmp_path: Path) -> None:
    old, new = put(tmp_path, "old", 600, age=50), put(tmp_path, "new", 300, age=10)
    mine = put(tmp_path, "mine", 0, age=0)
    store = SlotStore(tmp_path, most_bytes=1000, kept_free=0, free=lambda _: 10**9)
    assert store.make_room(mine, 500)
    assert not old.exists()
    assert new.exists()


def test_a_full_disk_keeps_its_reserve_and_nothing_is_saved(tmp_path: Path) -> None:
    mine = put(tmp_path, "mine", 0, age=0)
    store = SlotStore(tmp_path, most_bytes=10**9, kept_free=500, free=lambda _: 900)
    assert store.make_room(mine, 400)
    assert not store.make_room(mine, 401)
