"""``lais ps``, ``load``, ``unload``, ``engine list`` against a running service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine_service import Service


@pytest.fixture
def lais(
    shared: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command for the shared service: exit code and stdout."""
    monkeypatch.setenv("LAIS_PROJECT", str(shared.project))
    monkeypatch.setenv("INFERENCE_PORT", str(shared.port))
    monkeypatch.delenv("LLAMA_SERVER", raising=False)

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def test_a_model_is_loaded_shown_and_unloaded(lais: Callable[..., tuple[int, str]]) -> None:
    code, said = lais("load", "local-chat")
    assert code == 0
    assert said.startswith("local-chat is ready: 60")
    code, table = lais("ps")
    assert code == 0
    row = next(line for line in table.splitlines() if line.startswith("local-chat"))
    assert "ready" in row
    assert "CPU" in row
    assert "held by models" in table
    assert lais("unload", "local-chat") == (0, "local-chat is unloaded\n")
    data: Any = json.loads(lais("ps", "--json")[1])
    assert data["ok"]
    assert {row["status"] for row in data["data"]["models"]} <= {"unloaded", "ready"}


def test_an_unknown_model_is_an_error_with_the_known_names(
    lais: Callable[..., tuple[int, str]],
) -> None:
    code, said = lais("load", "gpt-9", "--json")
    assert code == 5
    message = json.loads(said)["error"]["message"]
    assert "gpt-9" in message
    assert "local-chat" in message


def test_no_service_is_an_error_that_says_how_to_start_it(
    lais: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("INFERENCE_PORT", str(free_port))
    code, said = lais("ps", "--json")
    assert code == 5
    assert "make up-p1" in json.loads(said)["error"]["hint"]


def test_the_engines_found_are_listed_with_the_reason(
    lais: Callable[..., tuple[int, str]],
) -> None:
    code, said = lais("engine", "list", "--json")
    assert code == 0
    engines = json.loads(said)["data"]["engines"]
    assert engines[0]["used"]
    assert engines[-1]["source"] == "embedded"
    text = lais("engine", "list")[1]
    assert text.startswith("* ")
    assert "CPU only" in text
