"""`tools/pin_images.py` against a registry that speaks the distribution API. Needs no Docker."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import pin_images

INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Registry:
    """A registry; ``manifests`` by repository and tag, ``lies`` about digests if told to."""

    port: int = 0
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    private: bool = False
    lies: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        self.asked.append(handler.path)
        if url.path == "/token":
            scope = parse_qs(url.query)["scope"][0]
            return send(handler, 200, json.dumps({"token": f"for {scope}"}).encode(), {})
        _, _, *repository, _, tag = url.path.split("/")
        name = "/".join(repository)
        bearer = handler.headers.get("authorization")
        if self.private and bearer != f"Bearer for repository:{name}:pull":
            realm = f'Bearer realm="http://127.0.0.1:{self.port}/token",service="test"'
            return send(handler, 401, b"{}", {"www-authenticate": realm})
        body = self.manifests.get((name, tag))
        if body is None or INDEX not in handler.headers["accept"]:
            return send(handler, 404, b"{}", {})
        digest = "sha256:" + ("0" * 64 if self.lies else hashlib.sha256(body).hexdigest())
        return send(handler, 200, body, {"docker-content-digest": digest, "content-type": INDEX})


def send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
) -> None:
    handler.send_response(status)
    for name, value in {**headers, "content-length": str(len(body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def registry() -> Iterator[Registry]:
    it = Registry()

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            it.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        it.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield it
        server.shutdown()


@pytest.fixture
def dockerfile(tmp_path: Path, registry: Registry) -> Path:
    host = f"127.0.0.1:{registry.port}"
    path = tmp_path / "Dockerfile"
    path.write_text(
        f"# made of\nARG PYTHON_IMAGE={host}/library/python:3.12\n"
        f"ARG ENGINE_IMAGE={host}/team/llama.cpp:server-b1\n"
        f"ARG ENGINE_CUDA_IMAGE={host}/team/llama.cpp:server-cuda-b1\nFROM ${{PYTHON_IMAGE}}\n"
    )
    registry.manifests = {
        ("library/python", "3.12"): b'{"one":1}',
        ("team/llama.cpp", "server-b1"): b'{"two":2}',
        ("team/llama.cpp", "server-cuda-b1"): b'{"three":3}',
    }
    return path


@pytest.mark.parametrize("private", [False, True], ids=["open", "with tokens"])
def test_each_image_gets_the_digest_of_its_bytes(
    registry: Registry, dockerfile: Path, private: bool
) -> None:
    registry.private = private
    assert pin_images.main([], dockerfile) == 0
    text = dockerfile.read_text()
    for (repository, tag), body in registry.manifests.items():
        assert f"/{repository}:{tag}@sha256:{hashlib.sha256(body).hexdigest()}\n" in text
    assert text.startswith("# made of\n")
    assert text.endswith("FROM ${PYTHON_IMAGE}\n")
    assert pin_images.main(["--check"], dockerfile) == 0
    registry.manifests["team/llama.cpp", "server-b1"] = b'{"moved":1}'
    assert pin_images.main(["--check"], dockerfile) == 1
    assert dockerfile.read_text() == text
    assert pin_images.main([], dockerfile) == 0
    assert dockerfile.read_text().count("@sha256:") == 3


def test_a_tag_that_is_not_there_changes_nothing(
    registry: Registry, dockerfile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del registry.manifests["team/llama.cpp", "server-cuda-b1"]
    before = dockerfile.read_text()
    assert pin_images.main([], dockerfile) == 1
    assert "server-cuda-b1" in capsys.readouterr().err
    assert dockerfile.read_text() == before


def test_a_digest_that_is_not_that_of_the_bytes_is_refused(
    registry: Registry, dockerfile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.lies = True
    assert pin_images.main([], dockerfile) == 1
    assert "its bytes are sha256:" in capsys.readouterr().err


def test_without_a_network_it_says_so_and_changes_nothing(
    dockerfile: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    text = dockerfile.read_text()
    gone = text.replace(text.split("127.0.0.1:")[1].split("/")[0], str(free_port))
    dockerfile.write_text(gone)
    assert pin_images.main([], dockerfile) == 1
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert "internet" in said
    assert dockerfile.read_text() == gone


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (
            "python:3.12-slim-bookworm",
            "https://registry-1.docker.io/v2/library/python/manifests/3.12-slim-bookworm",
        ),
        ("team/image:1", "https://registry-1.docker.io/v2/team/image/manifests/1"),
        (
            f"ghcr.io/ggml-org/llama.cpp:server-b1@sha256:{'a' * 64}",
            "https://ghcr.io/v2/ggml-org/llama.cpp/manifests/server-b1",
        ),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, url: str) -> None:
    assert pin_images.Reference.parse(text).url == url


def test_the_dockerfile_of_the_project_can_be_pinned() -> None:
    assert set(pin_images.read(pin_images.DOCKERFILE)) == set(pin_images.NAMES)
