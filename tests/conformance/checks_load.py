"""Hanging up, large prompts, many streams."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import orjson
from checks import (
    CHAT,
    COMPLETIONS,
    HELLO,
    MESSAGES,
    RESPONSES,
    Differs,
    check,
    post,
    same,
    true,
    user,
)  # fmt: skip

if TYPE_CHECKING:
    from targets import Target

BEGUN_S = 30.0
POLL_S = 1.3
"""llama.cpp looks once a second whether the client of an answer that does not stream is still
there, and every other request's token puts that off, one for /slots too: look less often."""

FREE_POLLS = 5
"""An endless answer takes ten seconds here: a slot that is free earlier was freed."""

STREAMS = 200
ENDLESS = {"max_tokens": 60_000}


class Asked:
    """A request whose connection is ours to close."""

    def __init__(self, t: Target, path: str, *, stream: bool, **body: Any) -> None:
        address = urlsplit(t.url)
        self._stream = stream
        self._connection = http.client.HTTPConnection(
            str(address.hostname), address.port or 0, timeout=30
        )
        request = {"model": "local-chat", "stream": stream, **body}
        headers = {"content-type": "application/json", "authorization": f"Bearer {t.key}"}
        self._connection.request("POST", path, orjson.dumps(request), headers)
        self._socket = self._connection.sock

    def begun(self) -> None:
        if self._stream:
            answer = self._connection.getresponse()
            if answer.status != 200:
                raise Differs(f"{answer.status}")
            answer.read(1)

    def refused(self) -> None:
        """Raise the status of an answer that came already."""
        if not self._stream and select.select([self._socket], [], [], 0)[0]:
            raise Differs(f"{self._connection.getresponse().status}")

    def read_on(self) -> None:
        """Read until the connection is closed."""
        with contextlib.suppress(OSError):
            while self._socket.recv(65_536):
                pass

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._connection.close()


def hang_up(t: Target, path: str, *, stream: bool, **body: Any) -> None:
    """Ask for an endless answer, close the connection, see the slot become free."""
    _until_busy(t, 0)
    asked = Asked(t, path, stream=stream, **body)
    try:
        asked.begun()
        _until_busy(t, 1, asked)
    finally:
        asked.hang_up()
    for _ in range(FREE_POLLS):
        time.sleep(0.05 if stream else POLL_S)
        if t.busy_slots() == 0:
            return
        stream = False
    raise Differs("the slot stays busy")


def _until_busy(t: Target, busy: int, asked: Asked | None = None) -> None:
    deadline = time.monotonic() + BEGUN_S
    while t.busy_slots() != busy:
        if asked:
            asked.refused()
        if time.monotonic() > deadline:
            raise Differs("it never began" if busy else "slots are busy before")
        time.sleep(0.02 if busy else POLL_S)


@check
def hang_up_on_chat(t: Target) -> None:
    hang_up(t, CHAT, stream=False, messages=user("forever"), **ENDLESS)


@check
def hang_up_on_chat_streamed(t: Target) -> None:
    hang_up(t, CHAT, stream=True, messages=user("forever"), **ENDLESS)


@check
def hang_up_on_completions(t: Target) -> None:
    hang_up(t, COMPLETIONS, stream=False, prompt="x", ignore_eos=True, **ENDLESS)


@check
def hang_up_on_completions_streamed(t: Target) -> None:
    hang_up(t, COMPLETIONS, stream=True, prompt="x", ignore_eos=True, **ENDLESS)


@check
def hang_up_on_responses(t: Target) -> None:
    hang_up(t, RESPONSES, stream=False, input="forever", max_output_tokens=60_000)


@check
def hang_up_on_responses_streamed(t: Target) -> None:
    hang_up(t, RESPONSES, stream=True, input="forever", max_output_tokens=60_000)


@check
def hang_up_on_messages(t: Target) -> None:
    hang_up(t, MESSAGES, stream=False, messages=user("forever"), **ENDLESS)


@check
def hang_up_on_messages_streamed(t: Target) -> None:
    hang_up(t, MESSAGES, stream=True, messages=user("forever"), **ENDLESS)


@check
def hang_up_on_infill(t: Target) -> None:
    sides = {"input_prefix": "a", "input_suffix": "b", "n_predict": 60_000, "ignore_eos": True}
    hang_up(t, "/infill", stream=False, **sides)


@check
def hang_up_on_ollamas_chat(t: Target) -> None:
    hang_up(t, "/api/chat", stream=True, messages=user("forever"))


@check
def hang_up_beside_a_stream(t: Target) -> None:
    _until_busy(t, 0)
    other = Asked(t, CHAT, stream=True, messages=user("forever"), **ENDLESS)
    asked = Asked(t, CHAT, stream=False, messages=user("forever"), **ENDLESS)
    reading = threading.Thread(target=other.read_on, daemon=True)
    try:
        other.begun()
        reading.start()
        _until_busy(t, 2)
        asked.hang_up()
        time.sleep(POLL_S * 2)
        same(t.busy_slots(), 1, "the slot stays busy")
    finally:
        asked.hang_up()
        other.hang_up()
        reading.join(5)


@check
def a_prompt_of_one_megabyte_is_counted(t: Target) -> None:
    tokens = post(t, "/tokenize", content="hello " * 170_000)["tokens"]
    true(len(tokens) > 170_000, "too few tokens")


@check
def a_prompt_of_one_megabyte_is_answered(t: Target) -> None:
    # Text that the template does not show: the bytes travel, the context holds.
    padding = {"type": "function", "function": {
        "name": "f", "parameters": {"type": "object", "$comment": "x" * 1_000_000}}}  # fmt: skip
    said = post(t, CHAT, messages=user("hi"), metadata={"padding": padding})
    same(said["choices"][0]["message"]["content"], HELLO, "another text")


@check
def two_hundred_streams_at_once(t: Target) -> None:
    texts = asyncio.run(_streams(t))
    same(texts, [HELLO] * STREAMS, "not every stream is whole")


async def _streams(t: Target) -> list[str]:
    limits = httpx.Limits(max_connections=STREAMS)
    headers = {"authorization": f"Bearer {t.key}"}
    async with httpx.AsyncClient(
        base_url=t.url, timeout=100, limits=limits, headers=headers
    ) as client:

        async def one() -> str:
            body = {"model": "local-chat", "messages": user("hi"), "stream": True}
            answer = await client.post(CHAT, json=body)
            lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: {")]
            choices = [choice for line in lines for choice in orjson.loads(line)["choices"]]
            return "".join(choice["delta"].get("content") or "" for choice in choices)

        return list(await asyncio.gather(*(one() for _ in range(STREAMS))))
