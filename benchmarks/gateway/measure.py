"""What bench_gateway.py measures of one server."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, Any

import servers

from local_ai_suite.demo import write_scripted_gguf
from scripted_engine import engine

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server

WIDTHS = (1, 8, 32)
PARTS = ("p50", "p90", "p99")
ROUNDS = 3
REQUESTS = {"direct": 20_000, "relay": 10_000, "portkey": 4_000, "litellm": 400}
"""Per width; LiteLLM does a hundred a second."""

GROWTH_STEPS = 3
"""Of 10,000 requests each."""

STREAMS, CHUNKS, STREAM_WIDTH = 96, 200, 32
HANG_UPS = 10
FREE_S = 3.0


def everything(
    server: Server, upstream: Server, fast: Path, folder: Path, scale: float
) -> dict[str, Any]:
    """All numbers of one server; latencies in ms, memory in MB, rates per second."""
    count = max(int(REQUESTS[server.name] * scale), 20)
    memory = server.memory()
    load(server, fast, folder, 1, max(count // 20, 10))  # warm
    found: dict[str, Any] = {"ready": server.ready, "requests": {}}
    cpu = requests = 0.0
    for width in WIDTHS:
        rounds: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for _ in range(ROUNDS):
            # Going direct is measured in turns with the server, so that both meet the same noise.
            beside = load(upstream, fast, folder, width, max(count // ROUNDS, 10))
            before = server.cpu()
            said = load(server, fast, folder, width, max(count // ROUNDS, 10))
            if width > 1:
                cpu, requests = cpu + server.cpu() - before, requests + said["done"]
            rounds.append((said, beside))
        found["requests"][width] = _best(rounds)
    found["requests_per_core"] = requests / cpu if cpu else 0.0
    before = server.cpu()
    streams = max(int(STREAMS * scale), STREAM_WIDTH)
    said = load(server, fast, folder, STREAM_WIDTH, streams, stream=True)
    used = server.cpu() - before
    found["chunks_per_core"] = said["events"] / used if used else 0.0
    found["chunks_per_second"] = said["events"] / said["seconds"]
    found["chunks_lost"] = (said["done"] * (CHUNKS + 1)) - said["events"]
    found["first_chunk"] = said["first"]["p50"] / 1e6
    found["hang_up"] = {
        "streamed": hang_up(server, upstream, {"stream": True}),
        "whole": hang_up(server, upstream, {"hold": True}),
    }
    done = len(WIDTHS) * count
    if server.name == "relay":
        # Warm by now: what comes on top of this is growth. Shared pages are left out, because their
        # part changes with what else runs.
        found["growth"] = [server.own_memory()]
        for _ in range(GROWTH_STEPS):
            load(server, fast, folder, 8, max(int(10_000 * scale), 10))
            found["growth"].append(server.own_memory())
    found["memory"] = (memory, server.memory())
    found["memory_after"] = done
    return found


def _best(rounds: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """The least of each percentile over the rounds (ms), and what it is over going direct."""
    own = {part: min(said["whole"][part] for said, _ in rounds) / 1e6 for part in PARTS}
    direct = {part: min(beside["whole"][part] for _, beside in rounds) / 1e6 for part in PARTS}
    return {
        **own,
        "added": {part: own[part] - direct[part] for part in PARTS},
        "per_second": max(said["done"] / said["seconds"] for said, _ in rounds),
        "failed": sum(said["failed"] for said, _ in rounds),
    }


def load(
    server: Server, fast: Path, folder: Path, width: int, count: int, *, stream: bool = False
) -> dict[str, Any]:
    """One run of the load generator."""
    body = folder / "body.json"
    body.write_text(json.dumps({**servers.BODY, "stream": stream}), encoding="utf-8")
    headers = [f"{name}: {value}" for name, value in server.headers.items()]
    command = [str(fast), "load", "127.0.0.1", str(server.port), str(width), str(count)]
    done = subprocess.run(
        [*command, str(body), *headers], capture_output=True, text=True, check=True, timeout=600
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def hang_up(server: Server, upstream: Server, more: dict[str, Any]) -> float | None:
    """Median ms from closing the client's socket to the upstream's being closed.

    ``None``: the upstream stays open. -1: it was never asked, the request failed.
    """
    taken = []
    for _ in range(HANG_UPS):
        if _active(upstream):
            return None
        with _ask(server, {**servers.BODY, **more}) as client:
            deadline = time.monotonic() + FREE_S
            while not _active(upstream) and time.monotonic() < deadline:
                time.sleep(0.001)
            if not _active(upstream):
                return -1
            if more.get("stream"):
                client.recv(1)
            begun = time.monotonic()
        while _active(upstream):
            if time.monotonic() - begun > FREE_S:
                return None
        taken.append((time.monotonic() - begun) * 1e3)
    return statistics.median(taken)


@contextlib.contextmanager
def _ask(server: Server, request: dict[str, Any]) -> Any:
    body = json.dumps(request).encode()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in server.headers.items()),
    ]
    client = socket.create_connection(("127.0.0.1", server.port), 30)
    try:
        client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        yield client
    finally:
        client.close()


def _active(upstream: Server) -> int:
    with socket.create_connection(("127.0.0.1", upstream.port), 10) as client:
        client.sendall(b"GET /active HTTP/1.1\r\nHost: x\r\n\r\n")
        return int(client.recv(1024).rpartition(b"\r\n\r\n")[2])


def over_the_real_engine(fast: Path, folder: Path, scale: float) -> dict[str, Any]:
    """The same request to llama.cpp's server, direct and through the relay, in turns."""
    model = write_scripted_gguf(folder / "scripted.gguf")
    count = max(int(600 * scale), 60)
    with engine(model, context=8192, slots=4) as running:
        port = int(running.url.rpartition(":")[2])
        process = servers.psutil.Process(running.pid)
        direct = servers.Server("direct", port, process, 0.0, {})
        with servers.relay(folder, direct) as relay:
            rounds: dict[str, list[dict[str, float]]] = {"direct": [], "relay": []}
            for _ in range(3):
                for server in (direct, relay):
                    said = load(server, fast, folder, 1, count)
                    rounds[server.name].append(said["whole"])
    best = {
        name: {part: min(r[part] for r in said) / 1e6 for part in PARTS}
        for name, said in rounds.items()
    }
    added = {part: best["relay"][part] - best["direct"][part] for part in best["relay"]}
    return {**best, "added": added}
