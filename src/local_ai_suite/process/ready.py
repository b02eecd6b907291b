"""Whether a service on this machine answers, asked on the event loop."""

from __future__ import annotations

import asyncio


async def answers(port: int, path: str, seconds: float) -> bool:
    """Whether ``GET path`` on 127.0.0.1:``port`` is a 200 within ``seconds``.

    Each question has a connection of its own: a server whose loop hangs, or whose queue of
    connections is full, does not answer it.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode("ascii")
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # ValueError: a line without an end
        return False
    return line.split(b" ")[1:2] == [b"200"]
