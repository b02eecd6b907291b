"""A request's conversation, made to fit the chat template of the model that it is for.

What the template would refuse, or lose a part of, is rewritten (``templates.translate``); a
conversation that it takes goes to the engine in the client's own bytes. A protocol says once how
its requests are read as chat messages, and how messages are written back
(``endpoint.Conversation``); one that is translated to another protocol needs nothing of its own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from local_ai_suite.templates import EVERYTHING_REFUSED, translate, typed

from .endpoint import MISFIT
from .schemas import parameters

if TYPE_CHECKING:
    from local_ai_suite.templates import Abilities
    from local_ai_suite.templates.conversation import Message

    from .endpoint import Asked, Conversation

logger = logging.getLogger(__name__)


class ChatMessages:
    """OpenAI's ``messages``."""

    def read(self, request: dict[str, Any]) -> list[Message]:
        messages = request["messages"]
        if not isinstance(messages, list):
            raise TypeError("messages is no list")
        return messages

    def write(self, request: dict[str, Any], messages: list[Message]) -> None:
        request["messages"] = messages


class Template(Protocol):
    """The chat template that a request is for."""

    @property
    def abilities(self) -> Abilities | None:
        """What it takes, if that is known now."""
        ...

    async def learn(self) -> Abilities | None:
        """The same, found out if need be: the model may have to be loaded."""
        ...


async def fit(asked: Asked, template: Template) -> tuple[str, ...]:
    """Make the conversation of ``asked`` fit ``template``, and say what was changed.

    Nothing is found out for a conversation that any template takes.
    """
    form = asked.conversation
    if form is None:
        return ()
    try:
        return await _fit(asked, form, template)
    except MISFIT:
        logger.info("a conversation for %s cannot be read", asked.path, exc_info=True)
        return ()


async def _fit(asked: Asked, form: Conversation, template: Template) -> tuple[str, ...]:
    messages = form.read(asked.request)
    if any_template_takes(messages) and not any(parameters(asked.request)):
        return ()
    able = template.abilities
    if able is None and (
        translate(messages, EVERYTHING_REFUSED).changes or any(parameters(asked.request))
    ):
        able = await template.learn()
    made = translate(messages, able)
    changes = made.changes
    if able is not None and not able.loose_schemas and any(parameters(asked.request)):
        for owner, key, _ in parameters(asked.edit()):
            owner[key] = typed(owner[key])
        changes += ("typed-parameters",)
    if made.changes:
        before = asked.request
        request = asked.edit()
        if request is not before:  # read anew, with every digit of its integers
            made = translate(form.read(request), able)
        form.write(request, made.messages)
    return changes


def any_template_takes(messages: list[Message]) -> bool:
    """Whether it is a plain talk: texts alone, user and assistant in turn, the user first and last,
    with at most one system message before them. Most requests are, and need no closer look."""
    spoken = messages[1:] if messages and messages[0].get("role") == "system" else messages
    if len(spoken) % 2 == 0 or any(not _is_plain(message) for message in messages):
        return False
    return all(
        message["role"] == ("assistant" if number % 2 else "user")
        for number, message in enumerate(spoken)
    )


def _is_plain(message: Message) -> bool:
    content = message.get("content")
    return len(message) == 2 and isinstance(content, str) and content != "" and "role" in message
