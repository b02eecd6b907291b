"""The pool against llama-server's own router mode, and what the pool costs per request.

    python benchmarks/bench_pool.py [--router PATH/TO/llama-server] [--seconds 300] [--clients 16]

Four models of the same size, room for two of them. Printed: seconds from request to first token
for a cold model, a swap and a warm one; memory that idle models keep; a soak with random models,
its lost requests and longest wait against the bar; and the added milliseconds per request with a
warm model. The router is llama.cpp's (``--models-dir``, ``--models-max 2``), of the binary that
``lais engine build`` made (or a ``llama-server`` on PATH) unless ``--router`` names one; both sides
run the same binary, and without one only our own numbers are printed. Absolute numbers belong to
the machine; the ratios carry over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from bench_engine import native_engine
from local_ai_suite.catalog.catalog import configured_models
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine.placement import FitPlanner
from local_ai_suite.engine.server import EngineApp
from local_ai_suite.engine.service import EngineService
from local_ai_suite.hardware import detect
from local_ai_suite.paths import Paths, find_paths
from local_ai_suite.settings import load_settings
from local_ai_suite.wire.serve import Server as HttpServer
from local_ai_suite.wire.serve import listen, run

MODELS = ("one", "two", "three", "four")
CONTEXT = "8192"
STARTED_WITHIN = 60.0
# No request may take longer; one that does counts as lost.
LONGEST = 120.0
IDLE_SECONDS = 3.0  # KEEP_ALIVE of the service that is watched until it is idle
OVERHEAD_BAR_MS = 0.3
OVERHEAD_ROUNDS = 500
REOPEN = 50  # cpp-httplib ends a connection after 100 requests


@dataclass
class Server:
    """Ours or the router: a process, its address, and what a person calls it."""

    name: str
    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory_mib(self) -> float:
        """Proportional memory of the process and its children."""
        total = 0
        root = psutil.Process(self.process.pid)
        for member in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += member.memory_full_info().pss
        return total / 2**20

    def engines(self) -> int:
        return len(psutil.Process(self.process.pid).children(recursive=True))


@dataclass
class Soak:
    first_tokens: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)  # for the model, as the pool tells
    served: list[float] = field(default_factory=list)  # from then to the end of the answer
    swaps: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def main() -> int:
    options = _options()
    if options.serve:
        return _serve(options.port)
    options.router = options.router or native_engine()
    folder = Path(tempfile.mkdtemp(prefix="bench-pool-"))
    try:
        _make_models(folder)
        return asyncio.run(_bench(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--router", help="a llama-server with router mode")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the soak")
    parser.add_argument("--router-seconds", type=float, default=60.0, help="of the router's soak")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="of each first-token measurement")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _make_models(folder: Path) -> None:
    for name in MODELS:
        write_scripted_gguf(folder / "models" / f"{name}.gguf")


async def _bench(options: argparse.Namespace, folder: Path) -> int:
    size = next((folder / "models").iterdir()).stat().st_size
    print(f"four scripted models of {size / 2**20:.1f} MiB, {CONTEXT} tokens, room for two")
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores; load average before: {load:.1f}")
    if load > (os.cpu_count() or 1) / 2:
        print("note: this machine is busy; take the ratios, not the numbers")
    makers = [lambda: _our_server(folder, options.router)]
    if options.router:
        print(f"engine of both sides: {options.router}")
        makers.append(lambda: _router(folder, options.router))
    else:
        print("no llama-server for the router: `.venv/bin/lais engine build` makes one")
    await _after_keep_alive(folder, options.router)
    failed = False
    for make in makers:
        server = make()
        try:
            await _until_up(server)
            ok = await _measure(server, options)
            failed = failed or (server.name == "pool" and not ok)
        finally:
            _stop(server)
    return 1 if failed else 0


async def _after_keep_alive(folder: Path, engine: str | None) -> None:
    """What is left when two models were asked once and nobody asked again."""
    server = _our_server(folder, engine, KEEP_ALIVE=f"{IDLE_SECONDS:.0f}s")
    try:
        await _until_up(server)
        async with (
            httpx.AsyncClient(base_url=server.url, timeout=LONGEST, trust_env=False) as client,
            client.stream("GET", "/events") as events,
        ):
            for name in MODELS[:2]:
                await _first_token(client, name)
            most, began, gone = server.engines(), time.monotonic(), 0
            async for line in events.aiter_lines():
                gone += line == "event: unloaded"
                if gone == most:
                    break
            waited, left = time.monotonic() - began, server.memory_mib()
        print(
            f"\npool, KEEP_ALIVE={IDLE_SECONDS:.0f}s: {most} engines, {server.engines()} after "
            f"{waited:.1f} s; then {left:.0f} MiB in all"
        )
    finally:
        _stop(server)


async def _measure(server: Server, options: argparse.Namespace) -> bool:
    ok = True
    print(f"\n{server.name}")
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=options.clients)
    async with httpx.AsyncClient(
        base_url=server.url, timeout=LONGEST, limits=limits, trust_env=False
    ) as client:
        cold = await _first_token(client, MODELS[0])
        warm = [await _first_token(client, MODELS[0]) for _ in range(options.rounds * 4)]
        await _first_token(client, MODELS[1])
        # Each of these makes room: two of four are loaded.
        turns = range(2, options.rounds + 2)
        swaps = [await _first_token(client, MODELS[turn % 4]) for turn in turns]
        swap, typical = statistics.median(swaps), statistics.median(warm)
        print(
            f"  first token   cold {cold:.3f} s   swap {swap:.3f} s   warm {typical * 1e3:.1f} ms"
        )
        loaded = server.memory_mib()
        print(f"  two models loaded and idle: {loaded:.0f} MiB in {server.engines()} processes")
        seconds = options.seconds if server.name == "pool" else options.router_seconds
        soak = await _soak(client, options.clients, seconds, watch=server.name == "pool")
        first = soak.first_tokens or [0.0]
        print(
            f"  soak of {seconds:.0f} s, {options.clients} clients: {len(soak.first_tokens)} "
            f"answers, {len(soak.lost)} lost; first token p50 {statistics.median(first):.2f} s, "
            f"longest {max(first):.2f} s"
        )
        for reason in sorted(set(soak.lost))[:3]:
            print(f"    lost: {reason}")
        if server.name == "pool":
            ok = _judge(soak)
            await _overhead(server, client)
    return ok


def _judge(soak: Soak) -> bool:
    """None lost, no wait longer than the models times the swap plus the longest in flight."""
    swap, in_flight, longest = (
        max(found, default=0.0) for found in (soak.swaps, soak.served, soak.waited)
    )
    bar = len(MODELS) * swap + in_flight
    ok = not soak.lost and longest <= bar
    print(
        f"    longest wait for a model {longest:.2f} s; bar: none lost, none over {bar:.2f} s "
        f"(4 x swap of {swap:.2f} s + longest in flight of {in_flight:.2f} s): "
        f"{'met' if ok else 'MISSED'}"
    )
    return ok


async def _first_token(client: httpx.AsyncClient, model: str, soak: Soak | None = None) -> float:
    body = {
        "model": model, "stream": True, "max_tokens": 4,
        "messages": [{"role": "user", "content": f"hi {random.random()}"}],
    }  # fmt: skip
    began = time.perf_counter()
    # A connection of its own: cpp-httplib ends idle ones when it likes, which is no lost request.
    headers = {"Connection": "close"}
    async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {(await answer.aread())[:200]!r}")
        found = 0.0
        async for line in answer.aiter_lines():
            if not found and line.startswith("data: ") and '"content":"' in line:
                found = time.perf_counter() - began
            if line.startswith(("error", 'data: {"error"')):
                raise RuntimeError(line[:200])
    if not found:
        raise RuntimeError("no token came")
    if soak is not None:
        waited = int(answer.headers.get("x-lais-waited-ms", 0)) / 1000
        soak.first_tokens.append(found)
        soak.waited.append(waited)
        soak.served.append(time.perf_counter() - began - waited)
    return found


async def _watch_swaps(client: httpx.AsyncClient, soak: Soak) -> None:
    """What each swap took: from the word to stop one model to the next one that is ready."""
    stopping: list[float] = []
    async with client.stream("GET", "/events", timeout=None) as answer:
        async for line in answer.aiter_lines():
            if line == "event: stopping":
                stopping.append(time.perf_counter())
            elif line == "event: ready" and stopping:
                soak.swaps.append(time.perf_counter() - stopping.pop(0))


async def _soak(client: httpx.AsyncClient, clients: int, seconds: float, *, watch: bool) -> Soak:
    soak = Soak()
    end = time.perf_counter() + seconds
    dice = random.Random(7)

    async def one_client() -> None:
        while time.perf_counter() < end:
            try:
                async with asyncio.timeout(LONGEST):
                    await _first_token(client, dice.choice(MODELS), soak)
            except (RuntimeError, httpx.HTTPError, TimeoutError) as exc:
                soak.lost.append(f"{type(exc).__name__}: {exc}"[:160])

    watching = asyncio.create_task(_watch_swaps(client, soak)) if watch else None
    await asyncio.gather(*(one_client() for _ in range(clients)))
    if watching is not None:
        watching.cancel()
    return soak


async def _overhead(server: Server, client: httpx.AsyncClient) -> None:
    """``/tokenize`` of three words, in turns straight to the engine and through the pool."""
    row = (await client.post("/models/load", json={"model": MODELS[0]})).json()
    engine = psutil.Process(row["pid"])
    words = engine.cmdline()
    port, key = int(words[words.index("--port") + 1]), engine.environ()["LLAMA_API_KEY"]
    body = json.dumps({"model": MODELS[0], "content": "one two three"}).encode()
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(OVERHEAD_ROUNDS):
        if turn % REOPEN == 0:
            straight, through = await _Raw.open(port, key), await _Raw.open(server.port, key)
        for raw, taken in zip((straight, through), times, strict=True):
            began = time.perf_counter()
            await raw.post("/tokenize", body)
            taken.append((time.perf_counter() - began) * 1000)
    direct, pooled = (statistics.median(taken) for taken in times)
    differences = [b - a for a, b in zip(*times, strict=True)]
    added = statistics.median(differences)
    verdict = "met" if added < OVERHEAD_BAR_MS else "MISSED"
    print(f"  per request   engine alone p50 {direct:.3f} ms, through the pool {pooled:.3f} ms")
    print(f"    added p50 {added:.3f} ms (bar: under {OVERHEAD_BAR_MS} ms): {verdict}")


class _Raw:
    """One keep-alive connection with nothing around it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str):
        self._reader, self._writer, self._key = reader, writer, key

    @classmethod
    async def open(cls, port: int, key: str) -> _Raw:
        return cls(*await asyncio.open_connection("127.0.0.1", port), key)

    async def post(self, path: str, body: bytes) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in answer[:20]:
            raise RuntimeError(answer)
        length = next(
            int(line.split(b":")[1])
            for line in answer.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        return await self._reader.readexactly(length)


def _our_server(folder: Path, engine: str | None, **more: str) -> Server:
    port = _free_port()
    env = {**os.environ, "CTX_SIZE": CONTEXT, "PARALLEL": "1", "LAIS_PROJECT": str(folder), **more}
    if engine:
        env["LLAMA_SERVER"] = engine
    command = [sys.executable, __file__, "--serve", "--port", str(port)]
    log = (folder / "pool.log").open("wb")
    return Server("pool", subprocess.Popen(command, env=env, stdout=log, stderr=log), port)


def _router(folder: Path, binary: str) -> Server:
    port = _free_port()
    command = [
        binary, "--models-dir", str(folder / "models"), "--models-max", "2", "--port", str(port),
        "--host", "127.0.0.1", "--ctx-size", CONTEXT, "--parallel", "1", "--no-webui",
        "--fit", "off",
    ]  # fmt: skip
    log = (folder / "router.log").open("wb")
    return Server("router", subprocess.Popen(command, stdout=log, stderr=log), port)


def _serve(port: int) -> int:
    """Our service with room for two and a half of the models."""
    paths: Paths = find_paths()
    settings = load_settings(paths)
    entry = configured_models(settings, paths).entries[0]
    planner = FitPlanner(settings, detect(), engine_has_gpu=False)
    need = planner(entry, {"CPU": 16 * 2**30}, {}, {}).need["CPU"]

    async def serve(stopping: asyncio.Event) -> int:
        service = await EngineService.create(settings, paths, room={"CPU": int(need * 2.5)})
        server = HttpServer(EngineApp(service, settings), listen("127.0.0.1", port))
        try:
            await server.serve_until(stopping)
        finally:
            await service.close()
        return 0

    return run(serve)


async def _until_up(server: Server) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        while time.monotonic() < deadline:
            if server.process.poll() is not None:
                raise SystemExit(f"{server.name} ended with {server.process.returncode}")
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/health")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    raise SystemExit(f"{server.name} did not start")


def _stop(server: Server) -> None:
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(15)
    server.process.kill()
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
