"""An upstream whose every byte a test chooses, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import orjson

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Script = Callable[["Talk"], Awaitable[None]]

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Talk:
    """One request and the socket that it came on."""

    def __init__(self, fake: FakeEngine, head: bytes, body: bytes, pair: tuple[Reader, Writer]):
        self.fake, self.head, self.body = fake, head, body
        self.reader, self.writer = pair

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.send(b"0\r\n\r\n")

    async def json(self, value: object, status: bytes = b"200 OK") -> None:
        text = orjson.dumps(value)
        await self.send(
            b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % len(text) + text
        )

    async def until_closed(self) -> None:
        """Wait for the other side to close, and note when that was."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()
        self.fake.closed_at = time.perf_counter()
        self.fake.closed.set()

    def cut(self) -> None:
        self.writer.transport.abort()


class FakeEngine:
    def __init__(self, script: Script, slots: int) -> None:
        self.script, self.slots = script, slots
        self.url = ""
        self.begun = threading.Event()
        self.closed = threading.Event()
        self.closed_at = 0.0
        self.requests: list[Talk] = []

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.startswith(b"content-length")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                talk = Talk(self, head, body, (reader, writer))
                if head.startswith(b"GET /v1/models"):
                    meta: dict[str, object] = {"parallel": self.slots, "n_ctx": 1000}
                    meta["name"] = "local-chat"  # one model under two names
                    entries = [{"id": name, "meta": meta} for name in ("local-chat", "local-code")]
                    await talk.json({"data": entries})
                    continue
                self.requests.append(talk)
                self.begun.set()
                await self.script(talk)
        except asyncio.IncompleteReadError:
            pass
        except ConnectionError:  # closed while the script was still sending
            self.closed_at = time.perf_counter()
            self.closed.set()
        finally:
            writer.close()


@contextlib.contextmanager
def fake_engine(script: Script, *, slots: int = 4) -> Iterator[FakeEngine]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    fake = FakeEngine(script, slots)

    async def begin() -> asyncio.Server:
        return await asyncio.start_server(fake, "127.0.0.1", 0)

    async def end(server: asyncio.Server) -> None:
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
