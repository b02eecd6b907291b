"""What Docker says, and what a person is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from local_ai_suite.errors import NotBuiltYet, PortInUse, StackError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import KEYS, SECRET_KEYS, Settings
from local_ai_suite.stack import compose, mounts
from local_ai_suite.stack.phases import API_GATEWAY, INFERENCE

DOCKER = Path(__file__).parents[2] / "docker"

# Messages of real engines (20.10 to 28), shortened in front.
SAID = [
    (
        ('daemon: could not select device driver "nvidia" with capabilities: [[gpu]]'),
        "NVIDIA Container Toolkit",
    ),
    (
        "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1",
        "nvidia-smi",
    ),
    (
        (
            "permission denied while trying to connect to the Docker daemon socket at "
            "unix:///var/run/docker.sock"
        ),
        "usermod -aG docker",
    ),
    (
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the daemon "
            "running?"
        ),
        "RUNTIME=native",
    ),
    (
        (
            "The command 'docker' could not be found in this WSL 2 distro. We recommend to "
            "activate the WSL integration in Docker Desktop settings."
        ),
        "WSL integration",
    ),
    ("failed to register layer: write /usr/lib/x: no space left on device", "docker system df"),
    ("Error response from daemon: Mounts denied: the path /mnt/e is not shared", "File sharing"),
    (
        (
            'daemon: invalid mount config for type "bind": bind source path does '
            "not exist: /mnt/e/models"
        ),
        "plugged in",
    ),
    (
        (
            "failed to solve: python:3.12: failed to resolve source metadata for "
            "docker.io/library/python:3.12-slim-bookworm"
        ),
        "PYTHON_IMAGE",
    ),
    (
        (
            'failed to create LLB definition: failed to do request: Head "https://registry-1.docker'
            '.io/v2/library/python/manifests/3.12": dial tcp: lookup registry-1.docker.io: no such '
            "host"
        ),
        "PYTHON_IMAGE",
    ),
]


@pytest.mark.parametrize(("stderr", "remedy"), SAID)
def test_each_known_complaint_has_its_remedy(stderr: str, remedy: str) -> None:
    assert remedy in compose.explain("some progress\n" + stderr + "\n").hint


@pytest.mark.parametrize(
    "stderr",
    [
        "Bind for 127.0.0.1:8000 failed: port is already allocated",
        "listen tcp4 127.0.0.1:8000: bind: address already in use",
    ],
)
def test_a_port_of_another_container_is_a_port_in_use(stderr: str) -> None:
    error = compose.explain(stderr)
    assert isinstance(error, PortInUse)
    assert "8000" in error.message
    assert "API_GATEWAY_PORT" in error.hint


def test_an_unknown_complaint_is_passed_on_whole() -> None:
    assert "never heard of it" in compose.explain("x\nnever heard of it\n").message


def test_the_files_of_a_phase_and_the_overlay(paths: Paths) -> None:
    paths.env_file.write_text("")
    words = compose.compose_command("p1", paths, gpu=True, ipv6=True)
    assert [Path(word).name for word in words if word.endswith(".yml")] == [
        "compose.p1.yml", "compose.gpu.yml", "compose.ipv6.yml",
    ]  # fmt: skip
    assert words[words.index("-p") + 1] == f"local-ai-suite-{paths.project_id}"
    with pytest.raises(NotBuiltYet):
        compose.compose_command("p2", paths, gpu=False)


def test_no_secret_is_handed_to_compose(paths: Paths) -> None:
    settings = Settings(litellm_master_key="sk-very-secret", hf_token="hf_secret")
    paths.env_file.write_text("")
    handed = {**compose.compose_environment(settings, paths), **mounts.prepare(settings, paths)}
    assert not {"sk-very-secret", "hf_secret"} & set(handed.values())


def test_the_images_of_the_code_are_the_files_defaults() -> None:
    """Compose by hand and `lais up` use the same images."""
    services = yaml.safe_load((DOCKER / "compose.p1.yml").read_text())["services"]
    overlay = yaml.safe_load((DOCKER / "compose.gpu.yml").read_text())["services"]
    assert compose.image(INFERENCE) in services["inference"]["image"]
    assert compose.image(API_GATEWAY) in services["api-gateway"]["image"]
    assert compose.image(INFERENCE, gpu=True) in overlay["inference"]["image"]


def test_what_the_images_are_made_of_stands_in_one_place() -> None:
    """Compose hands an argument on only when somebody sets it; the rest is the Dockerfile's."""
    names = ("PYTHON_IMAGE", "ENGINE_IMAGE", "ENGINE_CUDA_IMAGE")
    values = [compose.dockerfile_default(DOCKER / "Dockerfile", name) for name in names]
    assert len(set(values)) == 3
    others = [path for path in DOCKER.parent.rglob("*.yml") if ".venv" not in path.parts]
    for path in [*others, *(DOCKER.parent / "src").rglob("*.py")]:
        text = path.read_text()
        assert not [value for value in values if value in text], path
    for file in ("compose.p1.yml", "compose.gpu.yml"):
        for service in yaml.safe_load((DOCKER / file).read_text())["services"].values():
            given = service["build"]["args"]
            assert {given[name] for name in names if name in given} <= {None}, file


def test_a_dockerfile_without_that_argument_is_named(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG OTHER=x\nFROM scratch\n")
    with pytest.raises(StackError, match="PYTHON_IMAGE"):
        compose.dockerfile_default(tmp_path / "Dockerfile", "PYTHON_IMAGE")


# Settings of the machine outside, and secrets, which the containers read from .env only.
OUTSIDE = {"RUNTIME", "LISTEN_ADDRESS", "AI_HISTORY", "HF_ENDPOINT"} | SECRET_KEYS


@pytest.mark.parametrize("service", ["inference", "api-gateway"])
def test_each_setting_reaches_the_containers_from_the_environment(service: str) -> None:
    """``REQUIRE_KEY=true make up-p1`` must not mean less in Docker than natively."""
    services = yaml.safe_load((DOCKER / "compose.p1.yml").read_text())["services"]
    given = services[service]["environment"]
    expected = set(KEYS) - OUTSIDE
    if service == "api-gateway":
        expected -= {"LLAMA_SERVER"}
    assert expected <= set(given)
    assert not SECRET_KEYS & set(given)


@pytest.mark.parametrize(
    ("bind_address", "published"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::]")],
)
def test_every_bind_address_has_a_form_that_compose_takes(
    bind_address: str, published: str
) -> None:
    assert compose.published_address(bind_address) == published


def test_containers_are_read_from_new_and_old_compose() -> None:
    new = '{"Service":"inference","State":"running"}\n{"Service":"api-gateway"}\n'
    old = '[{"Service":"inference","State":"running"},{"Service":"api-gateway"}]\n'
    both = [{"Service": "inference", "State": "running"}, {"Service": "api-gateway"}]
    assert compose.parse_containers(new) == compose.parse_containers(old) == both
    assert compose.parse_containers("") == compose.parse_containers("[]\n") == []


def test_nothing_is_published_beyond_loopback_by_default() -> None:
    services = yaml.safe_load((DOCKER / "compose.p1.yml").read_text())["services"]
    published = [port for service in services.values() for port in service["ports"]]
    assert len(published) == 2
    default = "${LAIS_PUBLISH:-${BIND_ADDRESS:-127.0.0.1}}:"
    assert all(port.startswith(default) for port in published)
