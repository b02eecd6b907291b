#!/usr/bin/env python3
"""A llama-server for faults only: it takes the real one's flags, and these of its own.

    --load-delay S        says 503 on /health for S seconds
    --never-ready         says 503 for ever
    --exit-at-once        ends with 1 and an error line, as for a broken model
    --ignore-sigterm      only SIGKILL ends it
    --chunks N            how many chunks an answer has (3)
    --chunk-delay S       seconds between them (0)
    --crash-after N       kills itself with SIGKILL after N chunks of a stream
    --crash-loading       kills itself with SIGKILL while it loads
    --stall-after-chunks N  goes silent after N chunks, and so does all its HTTP
    --report-ctx N        /props tells another context than --ctx-size
    --offloaded N/M       the log line of layers on the GPU
    --card-full           with layers on the card it ends as one for which there is no room does
    --log-line TEXT       a further line of its log; any number
    --marker FILE         is there while it runs
    --saves N             a slot's save writes N bytes and tells as many tokens
    --save-fails N        the save of slot N stops halfway, as on a full disk
    --save-hangs          a save is never answered
    --save-crashes        kills itself with SIGKILL in a save

They may also stand in a file beside the model: MODEL.gguf.fake. Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

VERSION = "version: 1 (fake)"


def parse(words: list[str]) -> argparse.Namespace:
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--load-delay", type=float, default=0.0)
    for flag in ("--never-ready", "--exit-at-once", "--ignore-sigterm", "--crash-loading"):
        own.add_argument(flag, action="store_true")
    own.add_argument("--card-full", action="store_true")
    own.add_argument("--n-gpu-layers", type=int, default=0)
    own.add_argument("--chunks", type=int, default=3)
    own.add_argument("--chunk-delay", type=float, default=0.0)
    own.add_argument("--crash-after", type=int)
    own.add_argument("--stall-after-chunks", type=int)
    own.add_argument("--report-ctx", type=int)
    own.add_argument("--offloaded")
    own.add_argument("--log-line", action="append", default=[])
    own.add_argument("--marker", type=Path)
    own.add_argument("--saves", type=int)
    own.add_argument("--save-fails", type=int)
    own.add_argument("--save-hangs", action="store_true")
    own.add_argument("--save-crashes", action="store_true")
    own.add_argument("--model")
    own.add_argument("--port", type=int, default=8080)
    own.add_argument("--ctx-size", type=int, default=4096)
    own.add_argument("--parallel", type=int, default=1)
    own.add_argument("--slot-save-path")
    options, _ = own.parse_known_args(words)
    if options.model:
        beside = Path(options.model + ".fake")
        if beside.is_file():
            options, _ = own.parse_known_args([*words, *shlex.split(beside.read_text())])
    return options


class Fake:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.started = time.monotonic()
        self.stalled = asyncio.Event()
        self.busy = 0

    @property
    def ready(self) -> bool:
        loading = time.monotonic() - self.started < self.options.load_delay
        return not (self.options.never_ready or loading)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await self.head(reader):
                method, target, headers = head
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self.answer(writer, method, target, headers, body)
                if headers.get("connection") == "close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def head(self, reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
        line = (await reader.readline()).decode()
        if not line:
            return None
        method, target, _ = line.split(" ", 2)
        headers = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return method, target, headers

    async def answer(
        self, writer: asyncio.StreamWriter, method: str, target: str,
        headers: dict[str, str], body: bytes,
    ) -> None:  # fmt: skip
        path, _, query = target.partition("?")
        if path == "/health":
            status = 200 if self.ready else 503
            await self.send(writer, status, {"status": "ok" if status == 200 else "loading"})
            return
        if self.stalled.is_set():
            await asyncio.sleep(3600)
        if headers.get("authorization") != f"Bearer {os.environ.get('LLAMA_API_KEY')}":
            await self.send(writer, 401, {"error": {"message": "Invalid API Key"}})
        elif path == "/props":
            per_slot = self.options.ctx_size // self.options.parallel
            n_ctx = self.options.report_ctx or per_slot
            settings = {"n_ctx": n_ctx}
            await self.send(writer, 200, {
                "default_generation_settings": settings, "total_slots": self.options.parallel,
            })  # fmt: skip
        elif path == "/slots":
            await self.send(writer, 200, [{"id": 0, "is_processing": self.busy > 0}])
        elif path.startswith("/slots/") and self.options.saves is not None:
            await self.slot(writer, int(path.rsplit("/", 1)[1]), query, json.loads(body))
        elif method == "POST" and path == "/v1/chat/completions":
            self.busy += 1
            try:
                await self.chat(writer, json.loads(body))
            finally:
                self.busy -= 1
        else:
            await self.send(writer, 404, {"error": {"message": "no such path"}})

    async def slot(
        self, writer: asyncio.StreamWriter, number: int, query: str, request: dict[str, str]
    ) -> None:
        file, size = Path(self.options.slot_save_path) / request["filename"], self.options.saves
        if self.options.save_crashes:
            file.write_bytes(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.options.save_hangs:
            await asyncio.sleep(3600)
        if query == "action=restore":
            size = file.stat().st_size
            await self.send(writer, 200, {"n_restored": size, "n_read": size})
        elif self.options.save_fails == number:
            file.write_bytes(b"x" * (size // 2))
            await self.send(writer, 500, {"error": {"message": "Unable to save slot"}})
        else:
            file.write_bytes(b"x" * size)
            await self.send(writer, 200, {"n_saved": size, "n_written": size})

    async def chat(self, writer: asyncio.StreamWriter, request: dict[str, object]) -> None:
        if not request.get("stream"):
            for number in range(self.options.chunks):
                await self.between(number)
            message = {"role": "assistant", "content": "fake " * self.options.chunks}
            await self.send(writer, 200, {"choices": [{"index": 0, "message": message}],
                                          "pid": os.getpid()})  # fmt: skip
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        for number in range(self.options.chunks):
            await self.between(number)
            delta = {"choices": [{"index": 0, "delta": {"content": f"fake{number} "}}]}
            await self.chunk(writer, f"data: {json.dumps(delta)}\n\n".encode())
        await self.between(self.options.chunks)
        await self.chunk(writer, b"data: [DONE]\n\n")
        await self.chunk(writer, b"")

    async def between(self, number: int) -> None:
        if self.options.crash_after == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.options.stall_after_chunks == number:
            self.stalled.set()
            await asyncio.sleep(3600)
        await asyncio.sleep(self.options.chunk_delay)

    async def chunk(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()

    async def send(self, writer: asyncio.StreamWriter, status: int, value: object) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n".encode() + body)  # fmt: skip
        await writer.drain()


async def run(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        loop.add_signal_handler(signal.SIGTERM, done.set)
    if options.offloaded:
        print(f"0.00.000.001 I load_tensors: offloaded {options.offloaded} layers to GPU")
    print("0.00.000.002 I load_tensors:   CPU_Mapped model buffer size =     1.00 MiB", flush=True)
    for line in options.log_line:
        print(f"0.00.000.003 I {line}", flush=True)
    if options.marker:
        options.marker.touch()
    if options.crash_loading:
        await asyncio.sleep(options.load_delay)
        os.kill(os.getpid(), signal.SIGKILL)
    server = await asyncio.start_server(Fake(options).serve, "127.0.0.1", options.port)
    await done.wait()
    server.close()
    if options.marker:
        options.marker.unlink()


def main() -> int:
    words = sys.argv[1:]
    if "--version" in words:
        print(VERSION, file=sys.stderr)
        return 0
    if "--list-devices" in words:
        print("Available devices:")
        print(os.environ.get("FAKE_DEVICES", ""))
        return 0
    if "--help" in words:
        print("--model --port --fit --cache-ram --slot-save-path --slots --metrics --jinja "
              "--no-webui --kv-unified --no-kv-unified --load-mode --no-context-shift")  # fmt: skip
        return 0
    options = parse(words)
    if options.exit_at_once:
        print("0.00.000.001 E llama_model_load: error loading model: a tensor of the fake is wrong")
        print("0.00.000.002 E srv    load_model: failed to load model", flush=True)
        return 1
    if options.card_full and options.n_gpu_layers:
        print("0.00.000.001 I load_tensors:        CUDA0 model buffer size =     1.00 MiB")
        print("0.00.000.002 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 100.00 MiB on "
              "device 0: cudaMalloc failed: out of memory")  # fmt: skip
        print("0.00.000.003 E srv    load_model: failed to load model", flush=True)
        return 1
    asyncio.run(run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
