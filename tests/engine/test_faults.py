"""What goes wrong with an engine process, driven by the fake llama-server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from engine_service import end_service, start_service
from local_ai_suite.demo import write_scripted_gguf

FAKE = Path(__file__).parents[1] / "fakes" / "fake_llama_server.py"
BOUND = 30.0

Begin = Callable[..., Any]


class Faulty:
    """A service whose engine is the fake, and its models with their faults."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self._made = 0

    def model(self, flags: str) -> str:
        """The name of a new model whose engine has these faults."""
        self._made += 1
        name = f"m{self._made}"
        add_model(self.service.project, name, flags)
        return name

    def set(self, name: str, flags: str) -> None:
        (self.service.project / "models" / f"{name}.gguf.fake").write_text(flags)


def add_model(project: Path, name: str, flags: str) -> None:
    models = project / "models"
    models.mkdir(parents=True, exist_ok=True)
    (models / f"{name}.gguf.fake").write_text(flags)
    write_scripted_gguf(models / f"{name}.gguf")


def fake_settings(**more: str) -> dict[str, str]:
    return {"LLAMA_SERVER": str(FAKE), "CTX_SIZE": "2048", "N_GPU_LAYERS": "0", **more}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    project = tmp_path_factory.mktemp("faulty")
    add_model(project, "first", "")
    service = start_service(project, **fake_settings(CHAT_MODEL="first.gguf"))
    yield Faulty(service)
    end_service(service)


@pytest.fixture
def fake(start: Begin, tmp_path: Path) -> Begin:
    """A service of a test's own, with one model ``m``, for faults that end it."""

    def begin(flags: str, **environ: str) -> Any:
        add_model(tmp_path / "own", "m", flags)
        return start(tmp_path / "own", **fake_settings(CHAT_MODEL="m.gguf", **environ))

    return begin


def until(what: Callable[[], Any], wanted: str) -> Any:
    deadline = time.monotonic() + BOUND
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited in vain for: {wanted}"
        time.sleep(0.01)
    return found


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_an_engine_that_exits_at_once_answers_all_who_wait_with_its_reason(
    faulty: Faulty,
) -> None:
    service, m = faulty.service, faulty.model("--exit-at-once")
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: service.chat(m), range(4)))
    for answer in answers:
        assert answer.status_code == 503
        assert "a tensor of the fake is wrong" in error_of(answer)["message"]
    row = service.running(m)
    assert row["status"] == "failed"
    assert "a tensor of the fake is wrong" in row["failure"]
    assert row["pid"] is None


def test_a_failed_load_backs_off_and_says_when_it_tries_again(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("--exit-at-once")
    service.chat(m)
    refused = service.chat(m)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    faulty.set(m, "")
    asked = service.client.post("/models/load", json={"model": m})
    assert asked.status_code == 200, "a person's own request tries at once"
    assert service.chat(m).status_code == 200


def test_an_engine_that_never_becomes_ready_is_ended_at_its_bound(fake: Begin) -> None:
    service = fake("--never-ready", LOAD_TIMEOUT="1s")
    answer = service.chat("m")
    assert answer.status_code == 503
    assert "was not ready after 1 s" in error_of(answer)["message"]
    assert not service.children()


def test_a_kill_during_the_load_is_told_to_those_who_wait(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("--crash-loading --load-delay 0.2")
    answer = service.chat(m)
    assert answer.status_code == 503
    assert "SIGKILL" in error_of(answer)["message"]


def test_a_kill_before_the_first_byte_is_a_502_that_says_so(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("--crash-after 0")
    answer = service.chat(m)
    assert answer.status_code == 502
    assert "died" in error_of(answer)["message"]
    assert "SIGKILL" in error_of(answer)["message"]


def test_a_kill_during_a_stream_ends_it_with_an_error_event_and_the_engine_comes_back(
    faulty: Faulty,
) -> None:
    service, m = faulty.service, faulty.model("--crash-after 2 --chunks 5 --chunk-delay 0.05")
    answer = service.chat(m, stream=True)
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert "fake1" in lines[1]
    assert "SIGKILL" in lines[2]
    assert "[DONE]" not in answer.text
    faulty.set(m, "")
    until(lambda: service.running(m)["status"] == "ready", "the restart by itself")
    assert service.running(m)["deaths"] == 1
    assert service.chat(m).status_code == 200


def test_an_idle_engine_that_is_killed_is_noticed_and_restarted(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("")
    service.chat(m)
    first = service.running(m)["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: service.running(m)["pid"] not in {first, None}, "another engine")
    assert service.chat(m).status_code == 200


def test_an_engine_that_keeps_dying_is_left_alone_and_running_says_why(
    faulty: Faulty,
) -> None:
    service, m = faulty.service, faulty.model("--crash-after 0")

    def crash() -> bool:
        service.chat(m)
        return bool(service.running(m)["deaths"] >= 4)

    until(crash, "the fourth death")
    row = until(
        lambda: (r := service.running(m))["status"] == "failed" and r, "the end of the restarts"
    )
    assert "died 4 times" in row["failure"]
    refused = service.chat(m)
    assert refused.status_code == 503
    assert "died 4 times" in error_of(refused)["message"]
    until(lambda: service.running(m)["pid"] is None, "the engine's end")


def test_an_engine_that_ignores_sigterm_is_killed_within_the_services_own_stop(fake: Begin) -> None:
    service = fake("--ignore-sigterm")
    service.chat("m")
    children = service.children()
    assert children
    assert service.stop() == 0
    assert not [child for child in children if psutil.pid_exists(child.pid)]


def test_a_kill_of_the_service_takes_its_engines_along(fake: Begin) -> None:
    service = fake("--ignore-sigterm")
    service.chat("m")
    children = service.children()
    service.process.kill()
    service.process.wait()
    _, alive = psutil.wait_procs(children, timeout=BOUND)
    assert not alive


def test_a_smaller_context_than_planned_is_a_failure_or_a_warning(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("--report-ctx 512")
    answer = service.chat(m)
    assert answer.status_code == 503
    assert "512 tokens of context per slot, planned were 2048" in error_of(answer)["message"]
    until(lambda: service.running(m)["pid"] is None, "the engine's end")


def test_a_misfit_is_served_with_a_header_where_it_only_warns(fake: Begin) -> None:
    service = fake("--report-ctx 512", ON_MISFIT="warn")
    answer = service.chat("m")
    assert answer.status_code == 200
    assert "512 tokens" in answer.headers["x-lais-misfit"]
    meta = service.meta("m")
    assert meta["n_ctx"] == 512, "what is published is what the engine has"
    assert "512 tokens" in meta["misfit"][0]
    assert "512 tokens" in meta["deviations"][0]


def test_a_client_that_leaves_while_the_model_loads_leaves_nothing_behind(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("--load-delay 1")
    with pytest.raises(httpx.ReadTimeout):
        service.client.post("/v1/chat/completions", json={"model": m, "messages": []}, timeout=0.3)
    until(lambda: service.running(m)["waiting"] == 0, "the waiter's going")
    until(lambda: service.running(m)["status"] == "ready", "the load's end")
    assert service.running(m)["in_flight"] == 0


def test_a_model_that_was_replaced_on_the_disk_is_loaded_anew(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("")
    service.chat(m)
    first = service.running(m)["pid"]
    path = service.project / "models" / f"{m}.gguf"
    other = path.with_suffix(".new")
    write_scripted_gguf(other)
    other.replace(path)
    assert service.chat(m).status_code == 200
    assert service.running(m)["pid"] != first


def test_a_model_whose_file_was_removed_is_served_on_and_then_an_error(faulty: Faulty) -> None:
    service, m = faulty.service, faulty.model("")
    service.chat(m)
    (service.project / "models" / f"{m}.gguf").unlink()
    assert service.chat(m).status_code == 200
    service.client.get("/v1/models")
    until(lambda: service.chat(m).status_code == 404, "the catalog's word")


def test_a_truncated_model_is_passed_over_with_a_word_in_running(faulty: Faulty) -> None:
    service = faulty.service
    models = service.project / "models"
    whole = (models / "first.gguf").read_bytes()
    (models / "half.gguf").write_bytes(whole[: len(whole) // 2])
    assert service.chat("half").status_code == 404
    problems = service.client.get("/running").json()["problems"]
    assert len(problems) == 1
    assert "half.gguf" in problems[0]
