"""Each real client, with what ``lais connect`` wrote or ``lais launch`` set and nothing else:
a text answer, and a whole tool loop at whose end a file is there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Person

HERE = Path(__file__).parent
pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

HELLO = "Hello from the scripted model."
WRITTEN = "I have written the file."


def written(person: Person) -> str:
    return person.out.read_text().strip()


def test_codex(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    person.lais("connect", "codex", "--yes")
    run = ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    assert HELLO in person.run(*run, "Hello")
    assert WRITTEN in person.run(*run, "write it with codex")
    assert written(person) == "pelican"


def test_codex_launched_with_nothing_written(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    assert HELLO in person.lais("launch", "codex", "exec", "--skip-git-repo-check", "Hello")
    assert "local-ai-suite" not in "".join(
        path.read_text() for path in person.home.glob(".codex/config.toml")
    )


def test_claude_code(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    person.lais("connect", "claude-code", "--yes")
    assert HELLO in person.run("claude", "-p", "Hello")
    said = person.run("claude", "-p", "write it with claude-code", "--allowedTools", "Write")
    assert WRITTEN in said
    assert written(person) == "pelican"


def test_opencode(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    person.lais("connect", "opencode", "--yes")
    assert HELLO in person.run("opencode", "run", "Hello")
    said = person.run("opencode", "run", "write it with opencode")
    assert WRITTEN in said
    assert person.out.exists(), said
    assert written(person) == "pelican"


def test_opencode_launched_with_nothing_written(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    assert HELLO in person.lais("launch", "opencode", "run", "Hello")
    assert not list(person.home.glob(".config/opencode/opencode.json"))


def test_qwen_code(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    person.lais("connect", "qwen-code", "--yes")
    assert HELLO in person.run("qwen", "-p", "Hello")
    assert WRITTEN in person.run("qwen", "--yolo", "-p", "write it with qwen-code")
    assert written(person) == "pelican"


def test_continue(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    person.lais("connect", "continue", "--yes")
    run = ["cn", "--config", str(person.home / ".continue" / "config.yaml"), "--auto", "-p"]
    assert HELLO in person.run(*run, "Hello")
    assert WRITTEN in person.run(*run, "write it with continue")
    assert written(person) == "pelican"


def test_copilot_cli(person: Person, npm: Path) -> None:
    person.commands.append(npm)
    run = ["launch", "copilot-cli", "--allow-all-tools", "--allow-all-paths", "-p"]
    assert HELLO in person.lais(*run, "Hello")
    assert WRITTEN in person.lais(*run, "write it with copilot-cli")
    assert written(person) == "pelican"


def test_cline(person: Person, npm: Path) -> None:
    """Its settings are its own command's business: what `lais connect` prints is run as it is."""
    person.commands.append(npm)
    printed = json.loads(person.lais("connect", "cline", "--json"))["data"]["steps"][0]
    assert "Provider configured" in person.run("sh", "-c", printed)
    assert HELLO in person.run("cline", "Say hello to me please")
    assert WRITTEN in person.run("cline", "write it with cline")
    assert written(person) == "pelican"


def test_llm(person: Person, llm: Path) -> None:
    person.commands.append(llm)
    person.lais("connect", "llm", "--yes")
    assert "local-chat" in person.run("llm", "models")
    assert HELLO in person.run("llm", "-m", "local-chat", "Hello")
    assert HELLO in person.run("llm", "-m", "local-chat", "--no-stream", "Hello")
    schema = '{"type":"object","properties":{"answer":{"type":"integer"}}}'
    said = person.run("llm", "-m", "local-chat", "--schema", schema, "as JSON please")
    assert json.loads(said) == {"answer": 42}
    tool = "def get_weather(city: str) -> str:\n    open('called', 'w').write(city)\n    return 'x'"
    said = person.run("llm", "-m", "local-chat", "--functions", tool, "the weather?")
    assert "It is sunny in Seoul" in said
    assert (person.work / "called").read_text() == "Seoul"


def test_openai_for_javascript_from_the_environment(person: Person, npm: Path) -> None:
    script = person.work / "ask.mjs"
    script.write_text(
        f"import OpenAI from '{npm.parent}/openai/index.mjs';\n"
        "const client = new OpenAI();\n"
        "const stream = await client.chat.completions.create({model: process.env.OPENAI_MODEL,"
        " messages: [{role: 'user', content: 'Hello'}], stream: true});\n"
        "let text = ''; for await (const chunk of stream)"
        " text += chunk.choices[0]?.delta?.content ?? '';\n"
        "console.log(text);\n"
    )
    exported = person.lais("connect", "env")
    assert HELLO in person.run("sh", "-c", f"{exported}\nnode {script}")


SEEN = {
    "whole": HELLO,
    "streamed": HELLO,
    "asked": ["Seoul"],
    "looped": "It is sunny in Seoul, 21 degrees.",
}


def test_the_ai_sdk_from_the_environment(person: Person, npm: Path) -> None:
    exported = person.lais("connect", "env")
    said = person.run("sh", "-c", f"{exported}\nnode {HERE / 'npm' / 'ask_ai_sdk.mjs'}")
    assert json.loads(said.splitlines()[-1]) == SEEN, said


def test_langchain_from_the_environment(person: Person, llm: Path) -> None:
    exported = person.lais("connect", "env")
    script = HERE / "python" / "ask_langchain.py"
    said = person.run("sh", "-c", f"{exported}\n{llm / 'python'} {script}")
    assert json.loads(said.splitlines()[-1]) == SEEN, said
