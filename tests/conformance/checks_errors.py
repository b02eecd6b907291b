"""What is refused, with which status and in whose envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checks import (
    CHAT,
    COMPLETIONS,
    MESSAGES,
    RESPONSES,
    Differs,
    anthropic_error,
    check,
    openai_error,
    refused,
    same,
    true,
    user,
)  # fmt: skip

if TYPE_CHECKING:
    from targets import Target

LONG = "hello " * 25_000
"""Some 75,000 of the scripted model's tokens; a slot has 65,536."""


@check
def no_json(t: Target) -> None:
    answer = t.http.post(CHAT, content=b"{no", headers={"content-type": "application/json"})
    same(answer.status_code, 400, f"{answer.status_code}")
    openai_error(answer.json())


@check
def no_json_on_messages(t: Target) -> None:
    answer = t.http.post(MESSAGES, content=b"{no", headers={"content-type": "application/json"})
    same(answer.status_code, 400, f"{answer.status_code}")
    anthropic_error(answer.json())


@check
def no_messages(t: Target) -> None:
    status, said = refused(t, CHAT)
    same(status, 400, f"{status}")
    openai_error(said)


@check
def messages_of_a_wrong_type(t: Target) -> None:
    status, said = refused(t, CHAT, messages=7)
    same(status, 400, f"{status}")
    openai_error(said)


@check
def a_role_that_nobody_knows(t: Target) -> None:
    status, said = refused(t, CHAT, messages=[{"role": 7, "content": "x"}])
    same(status, 400, f"{status}")
    openai_error(said)


@check
def no_prompt(t: Target) -> None:
    status, said = refused(t, COMPLETIONS)
    same(status, 400, f"{status}")
    openai_error(said)


@check
def no_input(t: Target) -> None:
    status, said = refused(t, RESPONSES)
    same(status, 400, f"{status}")
    openai_error(said)


@check
def no_messages_on_messages(t: Target) -> None:
    status, said = refused(t, MESSAGES, max_tokens=5)
    same(status, 400, f"{status}")
    anthropic_error(said)


def unknown(t: Target, path: str, **body: Any) -> Any:
    status, said = refused(t, path, model="nobody", **body)
    if status != 404:
        raise Differs(f"{status}")
    return said


@check
def unknown_model_on_chat(t: Target) -> None:
    error = openai_error(unknown(t, CHAT, messages=user("hi")))
    same(error["code"], "model_not_found", "not model_not_found")


@check
def unknown_model_on_chat_streamed(t: Target) -> None:
    error = openai_error(unknown(t, CHAT, messages=user("hi"), stream=True))
    same(error["code"], "model_not_found", "not model_not_found")


@check
def unknown_model_on_completions(t: Target) -> None:
    openai_error(unknown(t, COMPLETIONS, prompt="x", max_tokens=1))


@check
def unknown_model_on_responses(t: Target) -> None:
    openai_error(unknown(t, RESPONSES, input="hi"))


@check
def unknown_model_on_messages(t: Target) -> None:
    anthropic_error(unknown(t, MESSAGES, max_tokens=5, messages=user("hi")))


@check
def unknown_route(t: Target) -> None:
    answer = t.http.post("/v1/nowhere", json={})
    same(answer.status_code, 404, f"{answer.status_code}")
    openai_error(answer.json())


def overflow(said: Any) -> None:
    error = openai_error(said)
    same(error["code"], "context_length_exceeded", "not context_length_exceeded")
    true("65536" in error["message"], "the message has not both numbers")


@check
def overflow_on_chat(t: Target) -> None:
    status, said = refused(t, CHAT, messages=user(LONG))
    same(status, 400, f"{status}")
    overflow(said)


@check
def overflow_on_chat_streamed(t: Target) -> None:
    status, said = refused(t, CHAT, messages=user(LONG), stream=True)
    same(status, 400, f"{status}")
    overflow(said)


@check
def overflow_on_completions(t: Target) -> None:
    status, said = refused(t, COMPLETIONS, prompt=LONG, max_tokens=1)
    same(status, 400, f"{status}")
    overflow(said)


@check
def overflow_on_responses(t: Target) -> None:
    status, said = refused(t, RESPONSES, input=LONG)
    same(status, 400, f"{status}")
    overflow(said)


@check
def overflow_on_messages(t: Target) -> None:
    status, said = refused(t, MESSAGES, max_tokens=5, messages=user(LONG))
    same(status, 400, f"{status}")
    message = anthropic_error(said)["message"]
    true(message.startswith("prompt is too long: "), "not in the words that Claude Code knows")


@check
def a_body_that_is_too_large(t: Target) -> None:
    answer = t.http.post(CHAT, content=b" " * 9_000_000)
    same(answer.status_code, 413, f"{answer.status_code}")


@check
def a_foreign_host_is_refused(t: Target) -> None:
    answer = t.http.get("/v1/models", headers={"host": "evil.example"})
    same(answer.status_code, 403, f"{answer.status_code}")


@check
def a_foreign_origin_is_refused(t: Target) -> None:
    headers = {"origin": "https://evil.example"}
    answer = t.http.post(
        CHAT, json={"model": "local-chat", "messages": user("hi")}, headers=headers
    )
    same(answer.status_code, 403, f"{answer.status_code}")
