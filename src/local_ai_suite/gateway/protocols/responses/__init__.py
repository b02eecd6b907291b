"""/v1/responses: OpenAI's Responses API over chat completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.gateway.protocols.endpoint import Endpoint
from local_ai_suite.wire.envelope import Envelope
from local_ai_suite.wire.routes import llama_server

from .answer import ResponseShape, whole_response
from .request import Tools, chat_request, read_tools
from .stream import ResponseStream

if TYPE_CHECKING:
    from local_ai_suite.gateway.protocols.endpoint import Asked
    from local_ai_suite.wire.envelope import Error


class ResponsesEnvelope(Envelope):
    """OpenAI's errors; but a stream that failed before its first event is a failed response."""

    def event(self, error: Error) -> bytes:
        return ResponseStream(ResponseShape({}, Tools(), "")).fail(error)


def responses(asked: Asked) -> None:
    """Every request, as a chat completion. Raises Refused."""
    request = asked.edit()
    tools = read_tools(request)
    asked.send("/v1/chat/completions", chat_request(request, tools))
    shape = ResponseShape(request, tools, asked.target.public, asked.remembered)
    asked.translate(
        lambda completion: whole_response(shape, completion),
        lambda: ResponseStream(shape),
        says_name=True,
    )


def input_tokens(asked: Asked) -> None:
    """Count the tokens that the same request's prompt would have. Raises Refused."""
    request = asked.edit()
    chat = chat_request(request, read_tools(request))
    asked.send("/v1/chat/completions/input_tokens", chat)


ENDPOINTS = (
    Endpoint(
        llama_server("/v1/responses"),
        translations=(responses,),
        envelope=ResponsesEnvelope(),
        remembers=True,
    ),
    Endpoint(
        llama_server("/v1/responses/input_tokens"), translations=(input_tokens,), remembers=True
    ),
)
