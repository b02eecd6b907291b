"""Every history, in every protocol, streamed and whole, on real templates, through both services.

What must hold: the answer is there, or a 400 in the caller's envelope says what the model cannot
do; never a 500, and never a trace of the template's own language.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
import yaml
from histories import HISTORIES, History
from spoken import PROTOCOLS
from test_real_templates import SAMPLE

import real_templates
from engine_service import end_service, start_service
from gateway_running import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

ANSWER_SECONDS = 120.0
NOT_FOR_CLIENTS = ("Jinja", "While executing", "jinja", "at row", "nlohmann", "json.exception")
# Under a grammar the scripted model writes whatever the grammar lets through.
_FORCED = "required"
_ERROR = re.compile(r'"error"\s*:\s*[{"]|event: error')


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


@pytest.fixture
def served(
    sources: Path, tmp_path: Path
) -> Callable[[list[str]], AbstractContextManager[httpx.Client]]:
    return lambda names: suite(tmp_path, names)


def ask(client: httpx.Client, name: str, history: History, path: str, *, stream: bool) -> Cell:
    """Send ``history`` and judge what comes back."""
    body = PROTOCOLS[path](history, name, stream=stream)
    answer = client.post(path, json=body)
    problem = judge(answer, history, name)
    return Cell(name, history.name, path, stream, answer.status_code, problem)


def judge(answer: httpx.Response, history: History, model: str) -> str:
    """What is wrong with an answer; empty if nothing is."""
    text = answer.text
    if leaked := next((word for word in NOT_FOR_CLIENTS if word in text), None):
        return f"{leaked} in {text[:300]}"
    if answer.status_code == 400:
        said = message_of(answer.json())
        if not history.refused and history.messages:
            return f"refused: {said}"
        return "" if model in said or not history.refused else f"names no model: {said}"
    if answer.status_code != 200:
        return f"{answer.status_code}: {text[:300]}"
    if not history.messages:
        return ""  # some templates render nothing, and Ollama's clients load a model so
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


@pytest.mark.parametrize("name", SAMPLE)
def test_a_family_takes_every_history_in_every_protocol(
    name: str, served: Callable[[list[str]], AbstractContextManager[httpx.Client]]
) -> None:
    """Each history in one of the protocols, in turn; the slow tier asks for all of them, both
    streamed and whole. Over the ten families every history is told in every protocol."""
    paths, first = list(PROTOCOLS), list(SAMPLE).index(name)
    with served([name]) as client:
        cells = [
            ask(
                client, name, history, paths[(row + first) % 4], stream=bool((row + first // 4) % 2)
            )
            for row, history in enumerate(HISTORIES)
        ]
    assert [cell for cell in cells if cell.problem] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_template_takes_every_history_in_every_protocol(
    served: Callable[[list[str]], AbstractContextManager[httpx.Client]],
) -> None:
    found: list[Cell] = []
    names = real_templates.names()
    with served(names) as client:
        for name in names:
            cells = [
                ask(client, name, history, path, stream=stream)
                for history in HISTORIES
                for path in PROTOCOLS
                for stream in (False, True)
            ]
            found += [cell for cell in cells if cell.problem]
            print(json.dumps({"template": name, "cells": len(cells)}))
    assert found == []
