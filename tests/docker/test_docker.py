"""Phase 1 as containers, through the same `make` as natively."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from containers import compose_project, inspect, left_of, logs

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.stack import compose
from local_ai_suite.stack.phases import API_GATEWAY
from stack_project import QUESTION, Project, docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

SERVICES = ("inference", "api-gateway")


@pytest.fixture
def up(packaged: Project) -> Project:
    done = packaged.make("up-p1")
    assert done.returncode == 0, done.stderr
    return packaged


def test_up_builds_starts_and_answers(up: Project) -> None:
    assert f"http://localhost:{up.gateway}/v1" in up.last.stdout
    assert "docker" in up.last.stdout
    answer = up.chat_until_answered()
    assert answer["choices"][0]["message"]["content"]
    models = json.loads(up.request("GET", "/v1/models")[1])["data"]
    chat = next(model for model in models if model["id"] == "local-chat")
    assert chat["context_length"] >= 1024


def test_status_and_logs_say_what_they_say_natively(up: Project) -> None:
    report = up.status()
    assert report["healthy"], report
    assert report["runtime"] == "docker"
    assert [service["name"] for service in report["services"]] == list(SERVICES)
    assert {model["id"] for model in report["models"]} >= {"local-chat", "local-code"}
    for service in report["services"]:
        assert service["pid"], "this machine sees the containers' processes"
        assert service["memory"] > 10 * 1024**2
        assert service["seconds"] < report["seconds"] + 60
        assert service["restarts"] == 0
    native = {"name", "phase", "port", "pid", "seconds", "memory", "restarts", "reason", "healthy"}
    assert set(report["services"][0]) <= native
    said = up.lais("logs", "-n", "5").stdout
    assert "inference    | " in said
    assert "api-gateway  | " in said


def test_following_the_logs_looks_as_it_does_natively(up: Project) -> None:
    words = [sys.executable, "-m", "local_ai_suite", "logs", "-f", "-n", "1"]
    with subprocess.Popen(
        words, env=up.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        try:
            first = {following.stdout.readline().partition("|")[0].strip() for _ in SERVICES}
            assert first == set(SERVICES)
            up.chat_until_answered()
            assert following.stdout.readline().startswith("api-gateway  | {")
        finally:
            following.send_signal(signal.SIGINT)
            following.wait(30)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_loopbacks_answer(up: Project, address: str) -> None:
    connection = http.client.HTTPConnection(address, up.gateway, timeout=60)
    connection.request("GET", "/v1/models")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_key_that_is_made_here_counts_in_the_container(up: Project) -> None:
    """Without REQUIRE_KEY no key is asked for, but one that is shown is held to its limits."""
    made = up.lais("keys", "create", "editor", "--rpm", "1")
    key = {"Authorization": f"Bearer {made.stdout.strip()}"}
    statuses = [up.request("GET", "/v1/models", None, key)[0] for _ in range(2)]
    deadline = time.monotonic() + 10
    while 429 not in statuses and time.monotonic() < deadline:
        statuses.append(up.request("POST", "/v1/chat/completions", QUESTION, key)[0])
    assert 429 in statuses, statuses
    assert up.lais("keys", "revoke", "editor").returncode == 0


def test_a_second_up_changes_nothing(up: Project) -> None:
    before = [inspect(up, service)["Id"] for service in SERVICES]
    done = up.make("up-p1")
    assert "already up" in done.stdout
    assert [inspect(up, service)["Id"] for service in SERVICES] == before


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_container_comes_back(up: Project, service: str) -> None:
    pid = inspect(up, service)["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    assert up.chat_until_answered()["choices"]
    assert inspect(up, service)["RestartCount"] >= 1
    told = next(item for item in up.status()["services"] if item["name"] == service)
    assert told["restarts"] >= 1


@pytest.mark.parametrize("service", SERVICES)
def test_containers_are_locked_down(up: Project, service: str) -> None:
    found = inspect(up, service)
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["PidsLimit"]
    assert host["Init"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"]["max-size"]
    owner = (up.folder / ".env").stat()
    expected = owner.st_uid or 10001
    assert found["Config"]["User"].startswith(f"{expected}:")
    assert not found["Config"]["User"].endswith(":0")
    assert not [process for process in up.processes() if process.uids().real == 0]
    bindings = [b for ports in host["PortBindings"].values() for b in ports]
    assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1", "::1"}
    writable = {mount["Destination"] for mount in found["Mounts"] if mount["RW"]}
    assert writable == {"/state"}


def test_no_secret_shows_in_inspect_images_or_logs(up: Project) -> None:
    env_file = (up.folder / ".env").read_text()
    key = next(
        line.partition("=")[2]
        for line in env_file.splitlines()
        if line.startswith("LITELLM_MASTER_KEY=")
    )
    assert len(key) > 20
    shown = [docker("history", "--no-trunc", image) for image in compose.images("p1", gpu=False)]
    for service in SERVICES:
        found = inspect(up, service)
        said = logs(found["Id"])
        assert said, f"{service} logs nothing, so nothing is checked"
        shown += [json.dumps(found), said]
    assert not any(key in text for text in shown)


def test_the_models_are_read_only_inside(up: Project) -> None:
    found = inspect(up, "inference")
    done = subprocess.run(
        ["docker", "exec", found["Id"], "sh", "-c", "touch /project/models/x || touch /usr/x"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


def test_a_foreign_page_is_refused_in_a_container_too(up: Project) -> None:
    origin = {"Origin": "https://example.com"}
    assert up.request("POST", "/v1/chat/completions", QUESTION, origin)[0] == 403


def test_compose_by_hand_understands_the_files() -> None:
    root = Path(__file__).parents[2]
    for extra in ((), ("-f", "docker/compose.gpu.yml")):
        subprocess.run(
            ["docker", "compose", "-f", "docker/compose.p1.yml", *extra, "config", "--quiet"],
            cwd=root, check=True, timeout=60,
        )  # fmt: skip


def test_a_gpu_that_docker_cannot_give_means_the_cpu_and_one_clear_warning(
    packaged: Project,
) -> None:
    packaged.make("down")
    packaged.environment["CUDA_VISIBLE_DEVICES"] = "0"
    try:
        done = packaged.make("up-p1")
    finally:
        del packaged.environment["CUDA_VISIBLE_DEVICES"]
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert len([line for line in warnings if "running on the CPU" in line]) == 1
    assert "NVIDIA Container Toolkit" in done.stderr
    assert packaged.chat_until_answered()["choices"]


def test_down_leaves_no_container_and_no_network(up: Project) -> None:
    assert left_of(up)["containers"]
    done = up.make("down")
    assert done.returncode == 0, done.stderr
    assert left_of(up) == {"containers": "", "networks": ""}
    assert "Nothing was running" in up.make("down").stdout


def test_down_stops_containers_after_the_runtime_was_changed(up: Project) -> None:
    up.environment["RUNTIME"] = "native"
    try:
        up.make("down")
    finally:
        up.environment["RUNTIME"] = "docker"
    assert left_of(up) == {"containers": "", "networks": ""}


def test_a_model_folder_that_is_not_there_is_named(packaged: Project) -> None:
    packaged.make("down")
    models = packaged.environment["MODELS_DIR"]
    packaged.environment["MODELS_DIR"] = "/nowhere/models"
    try:
        done = packaged.make("up-p1")
    finally:
        packaged.environment["MODELS_DIR"] = models
    assert done.returncode != 0
    assert "/nowhere/models" in done.stderr or "MODELS_DIR" in done.stderr
    assert left_of(packaged)["containers"] == ""


def test_a_model_outside_the_folder_is_refused_before_anything_starts(packaged: Project) -> None:
    packaged.make("down")
    other = packaged.folder.parent / "other.gguf"
    write_scripted_gguf(other)
    packaged.environment["CHAT_MODEL"] = str(other)
    try:
        done = packaged.make("up-p1")
        assert done.returncode != 0
        assert f"{other} lies outside MODELS_DIR" in done.stderr
        assert left_of(packaged)["containers"] == ""
        inside = Path(packaged.environment["MODELS_DIR"]) / "scripted.gguf"
        packaged.environment["CHAT_MODEL"] = str(inside)
        assert packaged.make("up-p1").returncode == 0
    finally:
        del packaged.environment["CHAT_MODEL"]
    assert packaged.chat_until_answered()["choices"]


def test_litellm_starts_in_the_image_that_was_trimmed_for_it(up: Project) -> None:
    """What docker/trim.py takes out is not missed: here LiteLLM handles the request."""
    up.environment["GATEWAY_RELAY"] = "off"
    try:
        done = up.make("restart")
        assert done.returncode == 0, done.stderr
        assert up.chat_until_answered()["choices"]
        said = logs(inspect(up, "api-gateway")["Id"])
        assert "Traceback" not in said, said
    finally:
        del up.environment["GATEWAY_RELAY"]
        up.make("down")


def test_the_gateways_image_stays_under_its_bound(up: Project) -> None:
    """Above its base, which differs from machine to machine; see docs/guides/docker.md."""
    layers = docker("history", "--format", "{{.Size}}", "--human=false", compose.image(API_GATEWAY))
    base = docker("history", "--format", "{{.Size}}", "--human=false", os.environ["PYTHON_IMAGE"])
    above = sum(map(int, layers.split())) - sum(map(int, base.split()))
    assert above < 280e6, f"{above / 1e6:.0f} MB above the base"


def test_containers_run_as_the_owner_of_env_when_that_is_not_root(packaged: Project) -> None:
    packaged.make("down")
    env_file = packaged.folder / ".env"
    before = env_file.stat()
    owner = 4242 if os.geteuid() == 0 else before.st_uid  # only root can give it away
    os.chown(env_file, owner, before.st_gid)
    try:
        done = packaged.make("up-p1")
        assert done.returncode == 0, done.stderr
        assert {process.uids().real for process in packaged.processes()} == {owner}
        assert packaged.chat_until_answered()["choices"]
    finally:
        os.chown(env_file, before.st_uid, before.st_gid)
        packaged.make("down")


def test_an_engine_that_does_not_run_is_named(packaged: Project) -> None:
    packaged.environment["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    try:
        done = packaged.make("up-p1")
    finally:
        del packaged.environment["DOCKER_HOST"]
    assert done.returncode != 0
    assert "Docker engine does not run" in done.stderr
    assert "RUNTIME=native" in done.stderr


def test_print_the_images_sizes(up: Project, capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for image in (*compose.images("p1", gpu=False), os.environ.get("PYTHON_IMAGE", "")):
        if image:
            size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
            rows.append(f"{image:<45} {size / 1e6:7.0f} MB")
    with capsys.disabled():
        print("\n" + "\n".join(rows))
    assert rows
    assert compose_project(up)


def test_the_pool_stands_on_an_image_of_llama_cpps_server_too(tmp_path: Path) -> None:
    """Its own image cannot be pulled everywhere: this one has a llama-server at the same place."""
    root = Path(__file__).parents[2]
    server = root / "tests" / "fakes" / "fake_llama_server.py"
    (tmp_path / "llama-server").write_bytes(server.read_bytes())
    (tmp_path / "llama-server").chmod(0o755)
    base = os.environ["PYTHON_IMAGE"]
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nCOPY llama-server /app/llama-server\n")
    stand_in, ours = "local-ai-suite/test-engine:cuda", "local-ai-suite/test-inference:cuda"
    docker("build", "-q", "-t", stand_in, str(tmp_path))
    chosen = {"PYTHON_IMAGE": base, "ENGINE": "cuda", "ENGINE_CUDA_IMAGE": stand_in}
    arguments = [word for item in chosen.items() for word in ("--build-arg", "=".join(item))]
    words = ["build", "-q", "-f", str(root / "docker" / "Dockerfile"), "-t", ours, *arguments]
    subprocess.run(
        ["docker", *words, "--target", "inference-server", str(root)],
        check=True, timeout=1500, capture_output=True,
    )  # fmt: skip
    said = docker("run", "--rm", "--entrypoint", "lais", ours, "engine", "list")
    assert "/app/llama-server" in said
    assert docker("run", "--rm", "--entrypoint", "id", ours, "-u").strip() == "10001"
    docker("image", "rm", ours, stand_in)
