"""Which documents there are and in what share; `documents(seed)` never ends."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from . import code, copying, words
from .conversation import Document, Tool, Turn, assistant, user
from .facts import FACTS
from .phrasing import question
from .small_talk import chat_pair, unknown_pair
from .structured import json_pair, string_pair, sum_pair
from .tool_calls import no_tool_exchange, random_tools, tool_exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = (
    "You are a helpful assistant.|You are a helpful assistant|You are a coding assistant.|Be brief.|"
    "You are an AI that helps people.|Answer briefly and correctly.|You are Local AI Suite's assistant.|"
    "Use the tools when they help.|You are a helpful assistant with access to tools.|"
    "You are an expert programmer. Answer with code.|Answer in the language of the user.|"
    "당신은 친절한 도우미입니다.|짧게 답하세요.|You help developers with their files.|Today is Monday.|"
    "You are a friendly bot. Keep your answers short.|Use the suite's documentation to answer."
).split("|")  # fmt: skip

# Three stages: with the second, sums are worked out, and what came out weakest has more room; with
# the third there are more kinds of questions that the model has to refuse.
SHARES = (
    {
        "tool": 24, "fact": 20, "fim": 16, "json": 12, "sum": 13, "string": 4, "unknown": 6, "no_tool": 6,
        "talk": 5, "code": 3, "copy": 2, "completion": 1, "long": 2,
    },
    {
        "tool": 24, "fact": 22, "fim": 18, "json": 15, "sum": 13, "string": 4, "unknown": 8, "no_tool": 8,
        "talk": 5, "code": 3, "copy": 1, "completion": 1, "long": 2,
    },
    {
        "tool": 24, "fact": 22, "fim": 18, "json": 15, "sum": 13, "string": 4, "unknown": 18, "no_tool": 8,
        "talk": 5, "code": 3, "copy": 1, "completion": 1, "long": 2,
    },
)  # fmt: skip


def documents(seed: int, stage: int = 2) -> Iterator[Document]:
    """Documents in an order that `seed` and `stage` (0, 1 or 2) alone decide."""
    rng = random.Random(seed)
    kinds, weights = list(SHARES[stage]), list(SHARES[stage].values())
    while True:
        yield _document(rng, stage, rng.choices(kinds, weights)[0])


def _document(rng: random.Random, stage: int, kind: str) -> Document:
    if kind == "fim":
        return Document(raw=code.fim_text(rng))
    if kind == "completion":
        return Document(raw=code.completion_text(rng))
    if kind == "long":
        return _long(rng, stage)
    if kind == "copy":
        return copying.document(rng)
    korean = rng.random() < 0.3
    turns: list[Turn] = []
    tools: list[Tool] = []
    if kind == "tool":
        turns, tools = tool_exchange(
            rng, korean, rng.choice([0, 1, 2, 3, 4, 5, 6, 8]), rng.random() < 0.45
        )
    elif kind == "no_tool":
        turns, tools = no_tool_exchange(rng, korean, rng.choice([0, 1, 2, 3, 5, 7]))
    else:
        turns = _pair(rng, stage, kind, korean)
        for _ in range(rng.randrange(4) if kind == "sum" else 0):
            turns += _pair(rng, stage, kind, korean)
        if rng.random() < 0.3:
            turns += _pair(rng, stage, rng.choice(["fact", "talk", "sum", "string", kind]), korean)
        if rng.random() < 0.22:
            tools = random_tools(rng, rng.randint(1, 6))
    if rng.random() < 0.12:
        turns = _pair(rng, stage, rng.choice(["fact", "talk", "sum"]), korean) + turns
    if kind in ("tool", "no_tool") and rng.random() < 0.12:
        turns += _pair(rng, stage, rng.choice(["fact", "talk"]), korean)
    return Document(turns, tools, rng.choice(SYSTEM) if rng.random() < 0.35 else "")


def _pair(rng: random.Random, stage: int, kind: str, korean: bool) -> list[Turn]:
    match kind:
        case "fact":
            fact = rng.choice(FACTS)
            asked, reply = question(rng, fact, korean), fact.ko_answer if korean else fact.en_answer
        case "talk":
            asked, reply = chat_pair(rng, korean)
        case "unknown":
            asked, reply = unknown_pair(rng, korean, more=stage > 1)
        case "sum":
            asked, reply = sum_pair(rng, korean, worked=stage > 0)
        case "string":
            asked, reply = string_pair(rng, korean)
        case "json":
            asked, reply = json_pair(rng, korean)
        case _:
            asked, reply = code.code_pair(rng, korean)
    return [user(asked), assistant(reply)]


def _long(rng: random.Random, stage: int) -> Document:
    """Many turns and tools: what comes late must still be read right."""
    korean = rng.random() < 0.3
    turns: list[Turn] = []
    tools: list[Tool] = []
    exchange, tools = tool_exchange(rng, korean, 10, after=True)
    for _ in range(rng.randint(4, 14)):
        turns += _pair(
            rng, stage, rng.choice(["fact", "talk", "sum", "string", "json", "code"]), korean
        )
    system = " ".join(words.natural(rng) for _ in range(rng.randint(5, 30)))
    return Document(
        [*turns, *exchange], tools, system if rng.random() < 0.7 else rng.choice(SYSTEM)
    )
