# ruff: noqa: E402 (the folders of the tests come onto the path first)
"""Native against Docker, request by request: `python tests/docker/parity.py`; needs an engine.

Both stacks run at the same time over the same models and are asked in turn, so that what else
this machine does disturbs both alike. `--write` writes docs/reference/docker-parity.md. Routes,
headers, answers and errors must be equal; times are told as ratios of medians and judged by nobody.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

from containers import packaged_project, remove

from local_ai_suite.demo import write_scripted_gguf
from stack_project import Project, close, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = FOLDER.parents[1] / "docs" / "reference" / "docker-parity.md"
REPEATS = 15
TIMEOUT_S = 60.0
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
# Differs from one answer to the next, also natively.
VOLATILE_HEADERS = {"date", "content-length", "x-request-id"}
VOLATILE = re.compile(
    r"^(id|item_id|call_id|created|created_at|completed_at|modified_at|timings|total_duration|"
    r"load_duration|prompt_eval_duration|eval_duration|obfuscation|prompt_cache_key|cached_tokens|"
    r"cache_read_input_tokens|cache_creation_input_tokens|tokens_cached|id_slot|pid|port|path|seconds|"
    r"since|started|memory|available_bytes|free_bytes|uptime|loaded|last_used|idle_seconds|"
    r"projected_bytes|tokens_per_second|deviations|resident_bytes|ready_seconds|load_seconds|digest|expires_at)$"
)


@dataclass(frozen=True)
class Request:
    """One line of the table. ``port`` is the setting that holds it."""

    name: str
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    port: str = "API_GATEWAY_PORT"
    timed: bool = False


def chat(name: str, **more: Any) -> Request:
    timed = bool(more.pop("timed", False))
    body = {"model": "local-chat", "messages": HI, "temperature": 0, "max_tokens": 24, **more}
    return Request(name, "POST", "/v1/chat/completions", body, timed=timed)


def engine(name: str, method: str, path: str, body: Any = None) -> Request:
    return Request(f"8001: {name}", method, path, body, port="INFERENCE_PORT")


REQUESTS = (
    Request("models", "GET", "/v1/models", timed=True),
    Request("one model", "GET", "/v1/models/local-chat"),
    chat("chat", timed=True),
    chat("chat streamed", stream=True, timed=True),
    chat("chat with a tool", tools=[TOOL]),
    Request("completion", "POST", "/v1/completions",
            {"model": "local-chat", "prompt": "x", "max_tokens": 8, "temperature": 0}),
    Request("responses", "POST", "/v1/responses", {"model": "local-chat", "input": "hi"}),
    Request("messages", "POST", "/v1/messages",
            {"model": "local-chat", "messages": HI, "max_tokens": 24}),
    Request("messages: count tokens", "POST", "/v1/messages/count_tokens",
            {"model": "local-chat", "messages": HI}),
    Request("tokenize", "POST", "/tokenize", {"model": "local-chat", "content": "hello"}),
    Request("Ollama: tags", "GET", "/api/tags"),
    Request("Ollama: chat", "POST", "/api/chat",
            {"model": "local-chat", "messages": HI, "stream": False}),
    Request("liveliness", "GET", "/health/liveliness"),
    Request("readiness", "GET", "/health/readiness"),
    Request("an unknown model", "POST", "/v1/chat/completions", {"model": "x", "messages": HI}),
    Request("not JSON", "POST", "/v1/chat/completions", b"{"),
    Request("no messages", "POST", "/v1/chat/completions", {"model": "local-chat"}),
    Request("a prompt over the context", "POST", "/v1/chat/completions",
            {"model": "local-chat", "messages": [{"role": "user", "content": "word " * 9000}]}),
    Request("a request over the limit", "POST", "/v1/chat/completions", b"x" * (2 * 1024 * 1024)),
    Request("no embedding model", "POST", "/v1/embeddings", {"model": "local-embed", "input": "x"}),
    Request("an unknown route", "GET", "/v1/nothing-here"),
    Request("a wrong method", "DELETE", "/v1/chat/completions"),
    Request("a foreign page", "GET", "/v1/models", headers={"Origin": "https://example.com"}),
    Request("a foreign name", "GET", "/v1/models", headers={"Host": "example.com"}),
    Request("a page's question before", "OPTIONS", "/v1/models",
            headers={"Origin": "http://localhost:3000", "Access-Control-Request-Method": "GET"}),
    engine("models", "GET", "/v1/models"),
    engine("health", "GET", "/health"),
    engine("an unknown model", "POST", "/v1/chat/completions", {"model": "x", "messages": HI}),
    engine("an unknown route", "GET", "/nothing-here"),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What came back, without what differs each time."""

    status: int
    headers: dict[str, str]
    body: Any
    seconds: float


def ask(project: Project, request: Request) -> Answer:
    body = request.body
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    began = time.perf_counter()
    connection = http.client.HTTPConnection(
        "127.0.0.1", project.ports[request.port], timeout=TIMEOUT_S
    )
    try:
        headers = {"Content-Type": "application/json", **request.headers}
        connection.request(request.method, request.path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    seconds = time.perf_counter() - began
    kept = {
        # Server-Timing: which times are told, not how long they were.
        name.lower(): re.sub(r"dur=[0-9.]+", "dur", value)
        for name, value in answer.getheaders()
        if name.lower() not in VOLATILE_HEADERS
    }
    return Answer(answer.status, kept, _lasting(_parsed(text), project), seconds)


def _parsed(text: bytes) -> Any:
    if text.startswith(b"data:") or b"\ndata:" in text:
        lines = [line[5:].strip() for line in text.split(b"\n") if line.startswith(b"data:")]
        return [_parsed(line) for line in lines]
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")


def _lasting(value: Any, project: Project) -> Any:
    """``value`` without what differs from one run to the next, each left as its type."""
    if isinstance(value, dict):
        return {
            key: type(item).__name__ if VOLATILE.match(key) else _lasting(item, project)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_lasting(item, project) for item in value]
    if isinstance(value, str):
        for name, port in project.ports.items():
            value = value.replace(str(port), name)
        return re.sub(r"\b[0-9a-f]{16,}\b", "HEX", value)
    return value


def difference(one: Answer, other: Answer) -> str:
    """What is not the same; empty when all is."""
    if one.status != other.status:
        return f"status {one.status}, {other.status}"
    if one.headers != other.headers:
        names = {
            name
            for name in {*one.headers, *other.headers}
            if one.headers.get(name) != other.headers.get(name)
        }
        return f"headers: {', '.join(sorted(names))}"
    return _first_difference(one.body, other.body, "body")


def _first_difference(one: Any, other: Any, where: str) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if key not in one or key not in other:
                return f"{where}.{key} is only in one"
            if found := _first_difference(one[key], other[key], f"{where}.{key}"):
                return found
        return ""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        parts = (
            _first_difference(*pair, f"{where}[{at}]")
            for at, pair in enumerate(zip(one, other, strict=True))
        )
        return next((found for found in parts if found), "")
    return "" if one == other else f"{where}: {one!r}, {other!r}"[:200]


SETTINGS = {"CTX_SIZE": "4096", "PARALLEL": "2", "MAX_REQUEST_MIB": "1"}


@contextlib.contextmanager
def both(folder: Path) -> Iterator[tuple[Project, Project]]:
    """The two stacks, up, with the same settings over models of the same bytes."""
    native, docker = new_project(folder / "native"), packaged_project(folder / "docker")
    try:
        for project in (native, docker):
            write_scripted_gguf(project.folder / "models" / "scripted.gguf")
            project.environment |= SETTINGS
            done = project.make("up-p1")
            assert done.returncode == 0, done.stderr
        yield native, docker
    finally:
        close(native)
        remove(docker)


def compare(native: Project, docker: Project) -> dict[str, str]:
    """By request, what differs."""
    return {
        request.name: difference(ask(native, request), ask(docker, request)) for request in REQUESTS
    }


def ratios(native: Project, docker: Project) -> dict[str, float]:
    """Docker's median time over the native one, asked in turn."""
    found = {}
    for request in REQUESTS:
        if request.timed:
            pairs = [
                (ask(native, request).seconds, ask(docker, request).seconds) for _ in range(REPEATS)
            ]
            one, other = (statistics.median(column) for column in zip(*pairs, strict=True))
            found[request.name] = other / one
    return found


def render(differences: dict[str, str], times: dict[str, float]) -> str:
    lines = [
        "# Native against Docker",
        "",
        "The same models and settings, as processes and as containers, asked in turn. Written by",
        "",
        "    tests/docker/with-docker.sh .venv/bin/python tests/docker/parity.py --write",
        "",
        "Status, headers (but for date, length and request id) and body (but for ids and times)",
        "are compared; `make test-docker` fails when one differs. Times are medians of",
        f"{REPEATS}, as Docker's over the native one: of a tiny scripted model, so that the way",
        "there counts and not the model.",
        "",
        "| request | | the same | time, Docker / native |",
        "|---|---|---|---|",
    ]
    for request in REQUESTS:
        ratio = f"{times[request.name]:.2f}" if request.name in times else ""
        same = differences[request.name] or "yes"
        lines.append(f"| {request.name} | `{request.method} {request.path}` | {same} | {ratio} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"Write {PAGE.name}.")
    words = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        both(Path(folder)) as (native, docker),
    ):
        differences = compare(native, docker)
        page = render(differences, ratios(native, docker))
    print(page)
    if words.write:
        PAGE.write_text(page, encoding="utf-8")
    return 1 if any(differences.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
