"""Each real client, with what ``lais connect`` wrote or ``lais launch`` set and nothing else:
a text answer, and a whole tool loop at whose end a file is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from client_script import HELLO, WRITTEN

if TYPE_CHECKING:
    from conftest import Person

HERE = Path(__file__).parent
pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]


def answers_and_writes(person: Person, client: str, ask: list[str], act: list[str]) -> None:
    """A text answer, and a file at the end of a tool loop. The prompt is the last word."""
    assert HELLO in person.run(*ask, "Say hello to me please")
    person.saw("answer")
    said = person.run(*act, f"write it with {client}")
    assert WRITTEN in said
    assert person.out.exists(), said
    assert person.written() == "pelican"
    person.saw("tool loop")


def test_codex(person: Person, npm: Path) -> None:
    person.uses("codex", npm)
    person.lais("connect", "codex", "--yes")
    run = ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    answers_and_writes(person, "codex", run, run)


def test_codex_launched_with_nothing_written(person: Person, npm: Path) -> None:
    person.uses("codex", npm)
    assert HELLO in person.lais("launch", "codex", "exec", "--skip-git-repo-check", "Hello")
    assert "local-ai-suite" not in "".join(
        path.read_text() for path in person.home.glob(".codex/config.toml")
    )
    person.saw("launch")


def test_claude_code(person: Person, npm: Path) -> None:
    person.uses("claude-code", npm)
    person.lais("connect", "claude-code", "--yes")
    # Its --allowedTools takes all words after it: the prompt stands first, or after another option.
    allowed = ["claude", "--allowedTools", "Write", "-p"]
    answers_and_writes(person, "claude-code", ["claude", "-p"], allowed)


def test_claude_code_launched_with_nothing_written(person: Person, npm: Path) -> None:
    person.uses("claude-code", npm)
    assert HELLO in person.lais("launch", "claude-code", "-p", "Hello")
    assert not (person.home / ".claude" / "settings.json").exists()
    person.saw("launch")


def test_opencode(person: Person, npm: Path) -> None:
    person.uses("opencode", npm)
    person.lais("connect", "opencode", "--yes")
    run = ["opencode", "run"]
    answers_and_writes(person, "opencode", run, run)


def test_opencode_launched_with_nothing_written(person: Person, npm: Path) -> None:
    person.uses("opencode", npm)
    assert HELLO in person.lais("launch", "opencode", "run", "Hello")
    assert not list(person.home.glob(".config/opencode/opencode.json"))
    person.saw("launch")


def test_qwen_code(person: Person, npm: Path) -> None:
    person.uses("qwen-code", npm)
    person.lais("connect", "qwen-code", "--yes")
    answers_and_writes(person, "qwen-code", ["qwen", "-p"], ["qwen", "--yolo", "-p"])


def test_qwen_code_launched_with_nothing_written(person: Person, npm: Path) -> None:
    person.uses("qwen-code", npm)
    assert HELLO in person.lais("launch", "qwen-code", "-p", "Hello")
    assert not (person.home / ".qwen" / ".env").exists()
    person.saw("launch")


def test_continue(person: Person, npm: Path) -> None:
    person.uses("continue", npm)
    person.lais("connect", "continue", "--yes")
    run = ["cn", "--config", str(person.home / ".continue" / "config.yaml"), "--auto", "-p"]
    answers_and_writes(person, "continue", run, run)


def test_copilot_cli(person: Person, npm: Path) -> None:
    person.uses("copilot-cli", npm)
    run = ["launch", "copilot-cli", "--allow-all-tools", "--allow-all-paths", "-p"]
    assert HELLO in person.lais(*run, "Hello")
    person.saw("answer")
    person.saw("launch")
    assert WRITTEN in person.lais(*run, "write it with copilot-cli")
    assert person.written() == "pelican"
    person.saw("tool loop")


def test_cline(person: Person, npm: Path) -> None:
    """Its settings are its own command's business: what `lais connect` prints is run as it is."""
    person.uses("cline", npm)
    printed = json.loads(person.lais("connect", "cline", "--json"))["data"]["steps"][0]
    assert "Provider configured" in person.run("sh", "-c", printed)
    answers_and_writes(person, "cline", ["cline"], ["cline"])


AIDER = ["aider", "--no-git", "--no-check-update", "--analytics-disable", "--yes-always"]


def test_aider(person: Person, aider: Path) -> None:
    """It has no tools: it reads whole files out of the answer."""
    person.uses("aider", aider)
    person.lais("connect", "aider", "--yes")
    said = person.run(*AIDER, "--message", "Hello")
    assert HELLO in said
    assert "with whole edit format" in said  # it judges by the name what a model is able to do
    person.saw("answer")
    person.run(*AIDER, person.out.name, "--message", "write it with aider")
    assert person.written() == "pelican"
    person.saw("edit")


def test_aider_launched_with_nothing_written(person: Person, aider: Path) -> None:
    person.uses("aider", aider)
    assert HELLO in person.lais("launch", *AIDER, "--message", "Hello")
    assert not (person.home / ".aider.conf.yml").exists()
    person.saw("launch")


def test_llm(person: Person, llm: Path) -> None:
    person.uses("llm", llm)
    person.lais("connect", "llm", "--yes")
    assert "local-chat" in person.run("llm", "models")
    assert HELLO in person.run("llm", "-m", "local-chat", "Hello")
    assert HELLO in person.run("llm", "-m", "local-chat", "--no-stream", "Hello")
    person.saw("answer")
    schema = '{"type":"object","properties":{"answer":{"type":"integer"}}}'
    said = person.run("llm", "-m", "local-chat", "--schema", schema, "as JSON please")
    assert json.loads(said) == {"answer": 42}
    person.saw("schema")
    tool = "def get_weather(city: str) -> str:\n    open('called', 'w').write(city)\n    return 'x'"
    said = person.run("llm", "-m", "local-chat", "--functions", tool, "the weather?")
    assert "It is sunny in Seoul" in said
    assert (person.work / "called").read_text() == "Seoul"
    person.saw("tool loop")


SEEN = {
    "whole": HELLO,
    "streamed": HELLO,
    "asked": ["Seoul"],
    "looped": "It is sunny in Seoul, 21 degrees.",
}


def library(person: Person, command: str) -> None:
    """A program that uses a library, with the environment that `lais connect env` prints."""
    exported = person.lais("connect", "env")
    said = person.run("sh", "-c", f"{exported}\n{command}")
    assert json.loads(said.splitlines()[-1]) == SEEN, said
    person.saw("answer")
    person.saw("tool loop")


def test_openai_for_javascript(person: Person, npm: Path) -> None:
    person.uses("openai-js", npm)
    library(person, f"node {HERE / 'npm' / 'ask_openai.mjs'}")


def test_the_ai_sdk(person: Person, npm: Path) -> None:
    person.uses("ai-sdk", npm)
    library(person, f"node {HERE / 'npm' / 'ask_ai_sdk.mjs'}")


def test_openai_for_python(person: Person, llm: Path) -> None:
    person.uses("openai-python", llm)
    library(person, f"{llm / 'python'} {HERE / 'python' / 'ask_openai.py'}")


def test_langchain(person: Person, llm: Path) -> None:
    person.uses("langchain", llm)
    library(person, f"{llm / 'python'} {HERE / 'python' / 'ask_langchain.py'}")


def test_llamaindex(person: Person, llamaindex: Path) -> None:
    person.uses("llamaindex", llamaindex)
    library(person, f"{llamaindex / 'python'} {HERE / 'python' / 'ask_llamaindex.py'}")
