"""A swap keeps the conversation: slot states, bounded and private."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from fit_models import Model, mamba_block, transformer
from local_ai_suite.catalog.catalog import configured_models
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine.placement import FitPlanner
from local_ai_suite.engine.slots import SlotStore, fingerprint, slot_key
from local_ai_suite.hardware import Hardware
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine_service import Service
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


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, start_for_module: Callable[..., Service]
) -> Service:
    """A service with two slots a model: one that attends, one of recurrent layers only."""
    project = tmp_path_factory.mktemp("several")
    for name in ("talk", "gone"):
        write_scripted_gguf(project / "models" / f"{name}.gguf")
    small_mamba().write(project / "models" / "recurrent.gguf")
    transformer(
        "llama", layers=80, width=16_384, heads=128, heads_kv=128, feed_forward=65_536
    ).write(project / "models" / "huge.gguf")  # fmt: skip
    return start_for_module(project, CHAT_MODEL="talk.gguf", CTX_SIZE="2048", PARALLEL="2")


def small_mamba() -> Model:
    model = Model("mamba", 2, 256, {
        "context_length": 4096, "feed_forward_length": 0, "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": 1e-5, "ssm.conv_kernel": 4, "ssm.state_size": 16,
        "ssm.inner_size": 512, "ssm.time_step_rank": 16,
    }, 2000)  # fmt: skip
    model.ends()
    for n in range(model.layers):
        model.add(f"blk.{n}.attn_norm.weight", model.width)
        mamba_block(model, n, inner=512, state=16, rank=16, norms=False)
    return model


def read_again(service: Service, model: str, tokens: list[int]) -> int:
    """Continue ``tokens``; how many of them the engine had to read."""
    body = {"model": model, "prompt": tokens, "n_predict": 2, "ignore_eos": True}
    answer = service.client.post("/completion", json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["timings"]["prompt_n"])


@pytest.mark.parametrize("model", ["talk", "recurrent"])
def test_the_conversations_of_all_slots_survive_a_swap_also_of_recurrent_layers(
    several: Service, model: str
) -> None:
    name = "local-chat" if model == "talk" else model
    talks = [[300 + place + 200 * number for place in range(60)] for number in range(2)]
    assert [read_again(several, name, talk) for talk in talks] == [60, 60]
    several.client.post("/models/unload", json={"model": name})
    kept = several.running(name)["conversations"]
    assert kept["problem"] is None
    assert kept["tokens"] == 122
    again = [read_again(several, name, [*talk, 5, 6, 7]) for talk in talks]
    assert max(again) <= 10, "a recurrent state is kept a few tokens before the end"


def test_a_model_larger_than_the_machine_is_refused_in_words_and_takes_nothing(
    several: Service,
) -> None:
    before = several.client.get("/running").json()["used_bytes"]
    answer = several.chat("huge")
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "does_not_fit"
    assert "huge does not fit" in error["message"]
    assert several.meta("huge")["status"] == "failed"
    assert "does not fit" in several.meta("huge")["failure"]
    assert several.client.get("/running").json()["used_bytes"] == before
    assert several.chat().status_code == 200


def test_a_file_that_went_away_before_its_load_is_a_failed_load_and_takes_nothing(
    several: Service,
) -> None:
    before = several.client.get("/running").json()["used_bytes"]
    (several.project / "models" / "gone.gguf").unlink()
    answer = several.chat("gone")
    assert answer.status_code == 503
    assert "gone did not load" in answer.json()["error"]["message"]
    assert several.running("gone")["status"] == "failed"
    assert several.client.get("/running").json()["used_bytes"] == before


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


def test_a_state_that_is_being_written_does_not_go_for_another(tmp_path: Path) -> None:
    mine, other = put(tmp_path, "mine", 0, age=50), put(tmp_path, "other", 0, age=10)
    store = SlotStore(tmp_path, most_bytes=1000, kept_free=0, free=lambda _: 10**9)
    assert store.make_room(mine, 600)
    assert not store.make_room(other, 600), "what is reserved counts"
    assert mine.exists()
    store.done(mine)
    assert store.make_room(other, 600)


def test_a_place_that_went_for_another_model_is_made_again(tmp_path: Path) -> None:
    mine = put(tmp_path, "mine", 0, age=50)
    (mine / "slot-0.bin").unlink()
    mine.rmdir()
    store = SlotStore(tmp_path, most_bytes=1000, kept_free=0, free=lambda _: 10**9)
    assert store.make_room(mine, 10)
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700


def test_a_full_disk_keeps_its_reserve_and_nothing_is_saved(tmp_path: Path) -> None:
    mine = put(tmp_path, "mine", 0, age=0)
    store = SlotStore(tmp_path, most_bytes=10**9, kept_free=500, free=lambda _: 900)
    assert store.make_room(mine, 400)
    assert not store.make_room(mine, 401)
