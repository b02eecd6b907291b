"""The real Codex against the relay: it speaks /v1/responses and nothing else."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import js_clients
import pytest
import targets

from local_ai_suite.demo import Call, Rule, Say, Script, write_scripted_gguf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

_ANSWERS_S = 120
LIST = Rule("list the files", (Call("exec_command", {"cmd": "ls"}), Say("Only one: a.txt.")))
CONFIG = """
model = "local-chat"
model_provider = "suite"
model_context_window = 65536
[model_providers.suite]
name = "suite"
base_url = "{url}/v1"
env_key = "SUITE_KEY"
wire_api = "responses"
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("codex")
    project = targets.make_project(folder / "pool")
    write_scripted_gguf(project / "models" / "Scripted-Chat.gguf", Script(rules=(LIST,)))
    with (
        targets.pool(folder / "pool") as pool,
        targets.gateway("relay", folder / "relay", pool) as relay,
    ):
        yield relay.url


def codex(url: str, folder: Path, prompt: str) -> subprocess.CompletedProcess[str]:
    home, work = folder / "home", folder / "work"
    for made in (home, work):
        made.mkdir()
    (work / "a.txt").write_text("x", encoding="utf-8")
    (home / "config.toml").write_text(CONFIG.format(url=url), encoding="utf-8")
    words = ["exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", prompt]
    return subprocess.run(
        [str(js_clients.installed() / "codex"), *words],
        cwd=work, env={**os.environ, "CODEX_HOME": str(home), "SUITE_KEY": "none"},
        capture_output=True, text=True, timeout=_ANSWERS_S, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_codex_gets_its_answer(url: str, tmp_path: Path) -> None:
    done = codex(url, tmp_path, "hi there")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Hello from the scripted model."


def test_codex_runs_a_tool_and_goes_on(url: str, tmp_path: Path) -> None:
    done = codex(url, tmp_path, "list the files")
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stderr
    assert "a.txt" in done.stderr
    assert done.stdout.strip() == "Only one: a.txt."
