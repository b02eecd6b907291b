"""One history in one protocol, asked of both services and judged."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import yaml
from spoken import PROTOCOLS

import real_templates
from engine_service import end_service, start_service
from gateway_running import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from histories import History

ANSWER_SECONDS = 120.0
NOT_FOR_CLIENTS = ("Jinja", "While executing", "jinja", "at row", "nlohmann", "json.exception")
# Under a grammar the scripted model writes whatever the grammar lets through.
_FORCED = "required"
_ERROR = re.compile(r'"error"\s*:\s*[{"]|event: error')


# What the scripted model cannot play: it says always the same. And one that the engine cannot.
NOT_TRIED = {
    ("CohereForAI-c4ai-command-r-plus-tool_use", "tools"):
        "offered tools, this family answers in actions alone; and llama.cpp's template language "
        "takes `items` for a method, so that it renders no array",
    ("CohereForAI-c4ai-command-r7b-12-2024-tool_use", "prefill"):
        "a continued answer begins without the mark that any other begins with",
    # On /v1/messages llama.cpp puts the results of a turn behind its text.
    ("deepseek-ai-DeepSeek-V3.2", "parallel calls, one answered"): "as after a result",
    ("deepseek-ai-DeepSeek-V3.2", "result"):
        "llama.cpp expects an assistant's mark there that the template does not write, and reads "
        "no answer at all",
    ("meetkai-functionary-medium-v3.1", "tool: large bounds"):
        "what a grammar forces is cut by the limit of tokens, and llama.cpp reads nothing of it",
}  # fmt: skip
# A translator with neither tools nor reasoning; its template takes an assistant's text alone, and
# Anthropic's turns have reasoning beside it only as a block.
REFUSED = {("google-translategemma-4b-it", "reasoning before a call", "/v1/messages"),
           ("google-translategemma-4b-it", "reasoning in the history", "/v1/messages")}  # fmt: skip


class Cell(NamedTuple):
    """What one request came to."""

    template: str
    history: str
    path: str
    stream: bool
    status: int
    problem: str


@contextlib.contextmanager
def suite(project: Path, names: list[str]) -> Iterator[httpx.Client]:
    """Both services with a model for each template; a client of port 8000."""
    for name in names:
        real_templates.write_gguf(name, project / "models" / f"{name}.gguf")
    service = start_service(project, CTX_SIZE="4096", PARALLEL="1", KEEP_ALIVE="600")
    try:
        url = str(service.client.base_url)
        rows = [
            {
                "model_name": name,
                "litellm_params": {"model": f"openai/{name}", "api_base": f"{url}/v1"},
            }
            for name in names
        ]
        config = project / "config.yaml"
        config.write_text(yaml.safe_dump({"model_list": rows}))
        with (
            running(url, config=config) as gateway,
            httpx.Client(base_url=gateway.url, timeout=ANSWER_SECONDS, trust_env=False) as client,
        ):
            yield client
    finally:
        end_service(service)


def ask(client: httpx.Client, name: str, history: History, path: str, *, stream: bool) -> Cell:
    """Send ``history`` and judge what comes back."""
    if any((name, kind) in NOT_TRIED for kind in {*history.kinds, history.name}):
        return Cell(name, history.name, path, stream, 0, "")
    body = PROTOCOLS[path](history, name, stream=stream)
    answer = client.post(path, json=body)
    problem = judge(answer, history, name)
    if (name, history.name, path) in REFUSED and answer.status_code == 400:
        problem = "" if name in message_of(answer.json()) else problem
    return Cell(name, history.name, path, stream, answer.status_code, problem)


def judge(answer: httpx.Response, history: History, model: str) -> str:
    """What is wrong with an answer; empty if nothing is."""
    text = answer.text
    if leaked := next((word for word in NOT_FOR_CLIENTS if word in text), None):
        return f"{leaked} in {text[:300]}"
    if answer.status_code == 400:
        said = message_of(answer.json())
        if not history.refused:
            return f"refused: {said}"
        return "" if model in said else f"names no model: {said}"
    if answer.status_code != 200:
        return f"{answer.status_code}: {text[:300]}"
    if not history.messages:
        return ""  # to nothing some say nothing, and Ollama's clients load a model so
    if history.refused:
        return "taken, though the model cannot"
    if history.more.get("tool_choice") == _FORCED:
        return ""
    if _ERROR.search(text) or "scripted" not in text:
        return f"no answer: {text[:300]} ... {text[-200:]}"
    return ""


def message_of(body: dict[str, Any]) -> str:
    """The error's text in the envelope of OpenAI, Anthropic or Ollama."""
    error = body["error"]
    return str(error if isinstance(error, str) else error["message"])
