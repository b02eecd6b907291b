"""Steps of ``scenarios/features/phase1.feature``, for each runtime.

``globals().update(steps())`` gives a test module all of them; the projects come from its conftest:
``running`` (one stack for many scenarios) and ``fresh`` (an empty clone).
"""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import OpenAI
from pytest_bdd import given, parsers, then, when

from local_ai_suite.demo import write_scripted_gguf
from stack_project import QUESTION, RECOVERY_S, Project

FEATURE = Path(__file__).with_name("scenarios") / "features" / "phase1.feature"


def steps() -> dict[str, Any]:
    """This module's fixtures, the steps among them, by name."""
    kind = type(project)
    return {name: value for name, value in globals().items() if isinstance(value, kind)}


@pytest.fixture
def holder() -> dict[str, Project]:
    """The project that this scenario speaks of."""
    return {}


@pytest.fixture
def project(request: pytest.FixtureRequest, holder: dict[str, Project]) -> Project:
    if "it" not in holder:
        holder["it"] = request.getfixturevalue("fresh")
    return holder["it"]


@given("a GGUF model in models/")
def a_model(running: Project, holder: dict[str, Project]) -> None:
    holder["it"] = running


@given("the stack is up")
def stack_is_up(running: Project, holder: dict[str, Project]) -> None:
    holder["it"] = running
    done = running.make("up-p1")
    assert done.returncode == 0, done.stderr


@given("models/ is empty")
def no_models(fresh: Project, holder: dict[str, Project]) -> None:
    holder["it"] = fresh
    assert not list((fresh.folder / "models").iterdir())


@given(".env names a CHAT_MODEL that does not exist")
def missing_model(project: Project) -> None:
    project.environment["CHAT_MODEL"] = "not-there.gguf"
    project.note["file"] = "not-there.gguf"


@given("models/ holds a truncated GGUF as CHAT_MODEL")
def truncated_model(project: Project) -> None:
    path = project.folder / "models" / "cut.gguf"
    write_scripted_gguf(path)
    os.truncate(path, path.stat().st_size * 2 // 3)
    project.environment["CHAT_MODEL"] = path.name
    project.note["file"] = path.name


@given("the gateway's port is taken by another program")
def port_taken(project: Project) -> Iterator[None]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        project.ports["API_GATEWAY_PORT"] = taken.getsockname()[1]
        yield


@given("this machine has no GPU")
def no_gpu(project: Project, tmp_path: Any) -> None:
    # The rollback of the specification, so that the scenario means the same on a machine with one.
    project.environment["CUDA_VISIBLE_DEVICES"] = ""


@when(parsers.parse('I run "make {target}"'))
def run_make(project: Project, target: str) -> None:
    project.make(target)


@when("I GET /v1/models")
def get_models(project: Project) -> None:
    project.answer = project.request("GET", "/v1/models")


@when("I ask local-chat without a key")
def ask(project: Project) -> None:
    project.answer = project.chat()


@when("I ask local-chat for a stream")
def ask_stream(project: Project) -> None:
    status, body = project.chat(stream=True)
    assert status == 200, body
    project.note["events"] = [
        line.removeprefix("data: ")
        for line in body.decode().splitlines()
        if line.startswith("data: ")
    ]


@when("a page from another site asks local-chat")
def foreign_origin(project: Project) -> None:
    project.answer = project.request(
        "POST", "/v1/chat/completions", QUESTION, {"Origin": "https://example.com"}
    )


@when("the OpenAI SDK asks local-chat, streamed and not")
def sdk(project: Project) -> None:
    client = OpenAI(base_url=f"http://localhost:{project.gateway}/v1", api_key="anything")
    messages: Any = QUESTION["messages"]
    whole = client.chat.completions.create(
        model="local-chat", messages=messages, temperature=0, max_tokens=24
    )
    stream = client.chat.completions.create(
        model="local-chat", messages=messages, temperature=0, max_tokens=24, stream=True
    )
    parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    project.note["texts"] = (whole.choices[0].message.content, "".join(parts))


@when("the engine of local-chat is killed")
def kill_engine(project: Project) -> None:
    children = project.process_of("engine").children(recursive=True)
    assert children, "the engine service has no engine process"
    for child in children:
        child.kill()


@when("the gateway is killed")
def kill_gateway(project: Project) -> None:
    project.process_of("gateway").kill()


@when("everything is killed at once")
def kill_everything(project: Project) -> None:
    processes = project.processes()
    assert len(processes) >= 3
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=10)


@when('I measure the stack with "lais bench"')
def measure(project: Project) -> None:
    project.last = project.lais("bench", "-n", "3", "--json")


@then("the report judges each criterion of the specification")
def judges(project: Project) -> None:
    assert project.last is not None
    assert project.last.returncode == 0, project.last.stderr
    report = json.loads(project.last.stdout)["data"]
    assert report["failed"] == 0
    assert len(report["later_answers_s"]) == 3
    assert all(seconds > 0 for seconds in report["later_answers_s"])
    assert report["idle_cpu_percent"] is not None
    judged = {line["name"] for line in report["criteria"] if line["met"] is not None}
    assert judged >= {
        "first answer", "later answers, slowest", "consecutive requests", "CPU while idle",
    }  # fmt: skip


@then("the command succeeds and names the address")
def succeeds(project: Project) -> None:
    assert project.last is not None
    assert project.last.returncode == 0, project.last.stderr
    assert f"http://localhost:{project.gateway}/v1" in project.last.stdout


@then("every service is healthy")
def healthy(project: Project) -> None:
    report = project.status()
    assert report["healthy"], report
    assert [service["phase"] for service in report["services"]] == ["ready", "ready"]


@then(parsers.parse("the answer is {status:d}"))
def answer_is(project: Project, status: int) -> None:
    assert project.answer is not None
    assert project.answer[0] == status, project.answer


@then("local-chat and local-code are listed with their context size")
def listed(project: Project) -> None:
    assert project.answer is not None
    models = {model["id"]: model for model in json.loads(project.answer[1])["data"]}
    for name in ("local-chat", "local-code"):
        assert models[name]["object"] == "model"
        assert models[name]["context_length"] >= 1024


@then("it holds text, a finish reason and usage")
def holds_text(project: Project) -> None:
    assert project.answer is not None
    body = json.loads(project.answer[1])
    assert body["choices"][0]["message"]["content"].strip()
    assert body["choices"][0]["finish_reason"] in {"stop", "length"}
    assert body["usage"]["completion_tokens"] > 0


@then("the chunks come one by one and end with [DONE]")
def chunks(project: Project) -> None:
    events = project.note["events"]
    assert len(events) > 2
    assert events[-1] == "[DONE]"


@then("together they say the same as the answer that is not streamed")
def same_text(project: Project) -> None:
    parts = [json.loads(event) for event in project.note["events"][:-1]]
    text = "".join(
        choice["delta"].get("content") or "" for part in parts for choice in part["choices"]
    )
    status, body = project.chat()
    assert status == 200
    assert text == json.loads(body)["choices"][0]["message"]["content"]
    assert text.strip()


@then("both answers hold the same text")
def same_from_sdk(project: Project) -> None:
    whole, streamed = project.note["texts"]
    assert whole
    assert whole == streamed


@then("the command says that it is already up")
def already_up(project: Project) -> None:
    assert project.last is not None
    assert project.last.returncode == 0, project.last.stderr
    assert "already up" in project.last.stdout


@then("local-chat answers again")
def answers(project: Project) -> None:
    assert project.chat_until_answered()["choices"][0]["message"]["content"]


@then("the status says why it was away")
def status_says_why(project: Project) -> None:
    models = project.status()["models"]
    chat = next(model for model in models if model["id"] == "local-chat")
    assert chat["meta"]["deaths"] >= 1, chat
    assert "SIGKILL" in chat["meta"]["last_death"], chat


@then("the preflight warns about the GPU and does not fail")
def preflight(project: Project) -> None:
    done = project.make("preflight", "--json")
    report = json.loads(done.stdout)
    checks = {check["name"]: check for check in report["data"]["checks"]}
    assert done.returncode == 0, report
    assert checks["gpu"]["status"] == "warning"
    assert checks["gpu"]["remedy"]


@then("no layer of it lies on a GPU")
def zero_layers(project: Project) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{project.engine}/running", timeout=60) as said:
        running = {model["model"]: model for model in json.load(said)["models"]}
    chat = running["local-chat"]
    assert chat["status"] == "ready"
    assert chat["plan"]["n_gpu_layers"] == 0, chat["plan"]
    commands = [" ".join(process.cmdline()) for process in project.processes()]
    engines = [words for words in commands if "--alias local-chat" in words]
    assert len(engines) == 1
    assert "--n-gpu-layers 0 " in engines[0]


@then("no process and no port of it is left")
def nothing_left(project: Project) -> None:
    nothing_running(project)
    for port in project.ports.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


@then("no process of it is left")
def nothing_running(project: Project) -> None:
    deadline = time.monotonic() + RECOVERY_S
    while project.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not project.processes()


@then(parsers.parse('a second "make down" says that nothing was running'))
def second_down(project: Project) -> None:
    done = project.make("down")
    assert done.returncode == 0
    assert "Nothing was running" in done.stdout


@then("the command says that the demo model serves and how to get a real one")
def demo_line(project: Project) -> None:
    assert project.last is not None
    assert project.last.returncode == 0, project.last.stderr
    lines = [line for line in project.last.stdout.splitlines() if "demo model" in line]
    assert len(lines) == 1
    assert "lais models pull" in lines[0]


@then("the command fails and names the file and what to do")
def names_file(project: Project) -> None:
    assert project.last is not None
    assert project.last.returncode != 0
    assert project.note["file"] in project.last.stderr
    assert "Traceback" not in project.last.stderr
    assert len(project.last.stderr.splitlines()) < 20


@then("the command fails, naming the program and API_GATEWAY_PORT")
def names_holder(project: Project) -> None:
    assert project.last is not None
    assert project.last.returncode != 0
    assert f"pid {os.getpid()}" in project.last.stderr
    assert "API_GATEWAY_PORT" in project.last.stderr


@then(parsers.parse('the command fails and says "{words}"'))
def fails_saying(project: Project, words: str) -> None:
    assert project.last is not None
    assert project.last.returncode != 0
    assert words in project.last.stderr
