"""The model behind the gateway, as the planner uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import BadAnswer, FitError, RequestRefused
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from local_ai_suite.client import Client

# Greedy first, so that the same issue gives the same plan; then with some freedom.
_TEMPERATURES = (0.0, 0.7)


class ServerWriter:
    """A model behind the gateway. Its context is what the server says; nothing is guessed."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name
        context = client.model(name).context
        if context is None:
            raise FitError(
                tr("the server doesn't say how many tokens {name} holds", name=name),
                hint=tr("Use one of the suite's own models: lais models list."),
            )
        self.context = context

    def count(self, messages: list[dict[str, Any]]) -> int:
        """Tokens of ``messages`` in the model's template. Raises RequestRefused for a server that
        can't count."""
        counted = self._client.count_tokens(messages, model=self.name)
        if counted is None:
            raise RequestRefused(
                tr("the server can't count the tokens of {name}", name=self.name),
                hint=tr("Use one of the suite's own models: lais models list."),
                status=501,
            )
        return counted

    def ask(
        self, messages: list[dict[str, Any]], schema: dict[str, Any], most: int, attempt: int
    ) -> Any:
        """An object that fits ``schema``, of ``most`` tokens at most. ``attempt`` counts from 0;
        later ones are asked with more freedom. Raises NetworkError."""
        answer = self._client.chat(
            messages,
            model=self.name,
            max_tokens=most,
            temperature=_TEMPERATURES[min(attempt, len(_TEMPERATURES) - 1)],
            schema=schema,
            extra={"seed": attempt},
        )
        if answer.tool_calls:
            raise BadAnswer(
                tr("the model called a tool instead of answering"), hint=tr("Ask again.")
            )
        return answer.json()
