"""From a server's refusal to our errors: pure, one place."""

from __future__ import annotations

import re
from typing import Any

from local_ai_suite.errors import BadAnswer, ContextOverflow, NetworkError, NoServer, RequestRefused
from local_ai_suite.messages import tr

START_HINT = tr("Start it with `make up-p1`, then look at `lais status`.")
_SHOWN = 300  # characters of a foreign body that a message quotes

# llama.cpp: "the request exceeds the available context size (4096 tokens), try increasing it" and
# "request (5000 tokens) exceeds the available context size (4096 tokens)"; the body has the numbers
# as n_prompt_tokens and n_ctx unless LiteLLM rewrote it.
_OVERFLOW = re.compile(
    r"exceeds? the available context size|context_length_exceeded|maximum context length|"
    r"exceed_context_size",
    re.IGNORECASE,
)
_PROMPT_TOKENS = re.compile(r"request \((\d+) tokens\)|n_prompt_tokens\D{1,4}(\d+)")
_CONTEXT_TOKENS = re.compile(r"context size \((\d+) tokens\)|n_ctx\D{1,4}(\d+)")


def refusal(status: int, body: Any, url: str, model: str | None = None) -> RequestRefused:
    """The error for a response with an error ``status`` (or an error inside a stream).

    ``body`` is the parsed JSON, or the text when it was none.
    """
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        said = str(error.get("message") or error.get("detail") or error)
        code, kind = error.get("code"), error.get("type")
    else:
        said, code, kind = str(error), None, None
    said = " ".join(said.split())[:_SHOWN]
    facts = {"status": status, "server_code": code, "server_type": kind}
    if _OVERFLOW.search(f"{said} {code} {kind}"):
        numbers = error if isinstance(error, dict) else {}
        return overflow(
            _number(numbers.get("n_prompt_tokens")) or _found(_PROMPT_TOKENS, said),
            _number(numbers.get("n_ctx")) or _found(_CONTEXT_TOKENS, said),
            **facts,
        )
    return RequestRefused(
        tr(
            "{url} refused the request ({status}): {said}",
            url=url,
            status=status,
            said=said or tr("no reason given"),
        ),
        hint=_hint(status, model),
        **facts,
    )


def overflow(
    prompt_tokens: int | None, context_tokens: int | None, **facts: Any
) -> ContextOverflow:
    """The error for a prompt that does not fit; also used before anything is sent."""
    prompt = (
        tr("an unknown number of")
        if prompt_tokens is None
        else tr("{prompt_tokens:,}", prompt_tokens=prompt_tokens)
    )
    context = "fewer" if context_tokens is None else f"{context_tokens:,}"
    return ContextOverflow(
        tr(
            "the prompt has {tokens} tokens; the model's context holds {context}",
            tokens=prompt,
            context=context,
        ),
        hint=tr("Send less, or raise CTX_SIZE in .env if the memory allows it (`lais plan-fit`)."),
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
        **facts,
    )


def unreachable(url: str, exc: OSError) -> NetworkError:
    """No connection could be made."""
    if isinstance(exc, ConnectionRefusedError):
        return NoServer(tr("no server answers at {url}", url=url), hint=START_HINT)
    if isinstance(exc, TimeoutError):
        return NoServer(tr("{url} did not take the connection in time", url=url), hint=START_HINT)
    return NoServer(
        tr("{url} cannot be reached: {strerror}", url=url, strerror=exc.strerror or exc),
        hint=START_HINT,
    )


def timed_out(url: str, seconds: float) -> NetworkError:
    return NetworkError(
        tr("{url} sent nothing for {seconds:.0f} s", url=url, seconds=seconds),
        hint=tr("`lais status` shows what the model is doing; `lais logs` says why."),
    )


def broke_off(url: str) -> NetworkError:
    return NetworkError(
        tr("{url} closed the connection before the answer was complete", url=url),
        hint=tr("The engine may have stopped: `lais status`, then `lais logs`."),
    )


def not_an_api(url: str, body: str) -> BadAnswer:
    shown = " ".join(body.split())[:80]
    return BadAnswer(
        tr("what answers at {url} is not an OpenAI API: {shown!r}", url=url, shown=shown),
        hint=tr(
            "Another program may hold the port: `lais status`; API_GATEWAY_PORT in .env moves it."
        ),
    )


def _hint(status: int, model: str | None) -> str:
    if status == 401:
        return tr("LITELLM_MASTER_KEY in .env must be the key that the running server has.")
    if status == 403:
        return tr(
            "The server refuses this Host or Origin: ALLOWED_HOSTS or ALLOWED_ORIGINS in .env."
        )
    if status == 404 and model:
        return tr("Is {model} there? `lais ai --models` lists the models.", model=model)
    if status == 413:
        return tr("The request is larger than MAX_REQUEST_MIB in .env allows.")
    if status in {502, 503, 504}:
        return tr("The model is not ready: `lais status`, then `lais logs`.")
    return tr("`lais logs` may say more.") if status >= 500 else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _found(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return int(next(group for group in match.groups() if group)) if match else None
