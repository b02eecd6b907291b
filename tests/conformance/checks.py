"""The suite's vocabulary: a check is a function of a target that raises what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import httpx
import openai
import orjson
import pydantic

if TYPE_CHECKING:
    from collections.abc import Callable

    from targets import Target

M = TypeVar("M", bound=pydantic.BaseModel)

OK = "ok"
CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, EMBEDDINGS = "/v1/messages", "/v1/embeddings"
HELLO = "Hello from the scripted model."
KOREAN = "안녕하세요! 무엇을 도와드릴까요?"
SUNNY = "It is sunny in Seoul, 21 degrees."
GOES_ON = " and so the text goes on."
FILLED = "return a + b"

WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
FILES_SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string", "maxLength": 20}},
    "required": ["path"],
    "additionalProperties": False,
}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "d", "parameters": WEATHER_SCHEMA},
}
FILES: Any = {"type": "function", "function": {"name": "list_files", "parameters": FILES_SCHEMA}}


class Differs(Exception):
    """The answer is not what the protocol says; the text stands in the table of differences."""


@dataclass(frozen=True)
class Check:
    """One line of the matrix."""

    area: str
    name: str
    run: Callable[[Target], None]

    def outcome(self, target: Target) -> str:
        """`ok`, or what differs, in words that are the same on every run.

        llama.cpp closes a kept connection after 5 s or 100 requests; one that dies just as it is
        used again is tried once more, as the pool of every client does.
        """
        try:
            try:
                self.run(target)
            except httpx.RemoteProtocolError:
                self.run(target)
        except Differs as exc:
            return str(exc)
        except (openai.APIStatusError, anthropic.APIStatusError) as exc:
            return f"{type(exc).__name__} {exc.status_code}"
        except httpx.HTTPStatusError as exc:
            return f"HTTP {exc.response.status_code}"
        except Exception as exc:  # noqa: BLE001 - whatever an SDK raises is an outcome here
            return type(exc).__name__
        return OK


CHECKS: list[Check] = []


def check(function: Callable[[Target], None]) -> Callable[[Target], None]:
    """Register a check: its area is its module's name, its name the function's, as words."""
    area = function.__module__.removeprefix("checks_")
    CHECKS.append(Check(area, function.__name__.replace("_", " "), function))
    return function


def same(got: object, wanted: object, what: str) -> None:
    if got != wanted:
        raise Differs(what)


def true(fact: object, what: str) -> None:
    if not fact:
        raise Differs(what)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def post(target: Target, path: str, **body: Any) -> dict[str, Any]:
    """The answer's JSON; an HTTP error becomes the outcome."""
    base = target.embed_url if path.endswith(("embeddings", "/embed")) else target.url
    answer = target.http.post(base + path, json={"model": "local-chat", **body})
    answer.raise_for_status()
    value: dict[str, Any] = answer.json()
    return value


def valid(model: type[M], value: Any) -> M:
    """`value` as the SDK's own type says it; an error names the first wrong field."""
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as exc:
        where = ".".join(str(part) for part in exc.errors()[0]["loc"])
        raise Differs(f"not valid for the SDK: {where}") from exc


def datas(target: Target, path: str, **body: Any) -> list[bytes]:
    """The data of each event of a stream, without [DONE]."""
    request = {"model": "local-chat", "stream": True, **body}
    with target.http.stream("POST", path, json=request) as answer:
        if answer.status_code != 200:
            answer.read()
            answer.raise_for_status()
        true(answer.headers["content-type"].startswith("text/event-stream"), "not an event stream")
        text = b"".join(answer.iter_raw())
    lines = [line[5:].strip() for line in text.split(b"\n") if line.startswith(b"data:")]
    return [line for line in lines if line != b"[DONE]"]


def events(target: Target, path: str, **body: Any) -> list[dict[str, Any]]:
    return [orjson.loads(data) for data in datas(target, path, **body)]


def refused(target: Target, path: str, **body: Any) -> tuple[int, Any]:
    """Status and JSON of a request that must be refused."""
    answer = target.http.post(path, json={"model": "local-chat", **body})
    true(answer.status_code >= 400, "accepted")
    try:
        return answer.status_code, answer.json()
    except ValueError as exc:
        raise Differs(f"{answer.status_code} without JSON") from exc


def openai_error(said: Any) -> dict[str, Any]:
    """The inner error, if the envelope is OpenAI's."""
    error = said.get("error") if isinstance(said, dict) else None
    whole = isinstance(error, dict) and {"message", "type", "param", "code"} <= set(error)
    true(whole and isinstance(error["code"], str | None), "not OpenAI's error envelope")
    found: dict[str, Any] = error
    return found


def anthropic_error(said: Any) -> dict[str, Any]:
    error = said.get("error") if isinstance(said, dict) else None
    whole = isinstance(error, dict) and said.get("type") == "error" and {"type", "message"} <= set(
        error
    )  # fmt: skip
    true(whole, "not Anthropic's error envelope")
    found: dict[str, Any] = error
    return found
