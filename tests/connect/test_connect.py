"""``lais connect``, ``disconnect``, ``launch`` against the whole running stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from stack_project import Project

    Lais = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lais(stack: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lais:
    """``lais ...`` of the running project, for a person with an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    state = {"LAIS_STATE": str(tmp_path / "state")}

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        for name, value in {**state, **more}.items():
            monkeypatch.setenv(name, value)
        environment = {
            "LAIS_PROJECT": str(stack.folder),
            "API_GATEWAY_PORT": str(stack.gateway),
            "HOME": str(home),
            "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
            **state,
            **more,
        }
        return subprocess.run(
            [sys.executable, "-m", "local_ai_suite", *words],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip

    return run


def data_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout)["data"])


@pytest.mark.parametrize("client", ["continue", "codex", "claude-code", "llm"])
def test_connecting_writes_proves_and_gives_back(
    lais: Lais, tmp_path: Path, client: str, stack: Project
) -> None:
    done = lais("connect", client, "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    data = data_of(done)
    (path,) = [Path(file["path"]) for file in data["files"]]
    assert f"localhost:{stack.gateway}" in path.read_text()
    passed = {step["name"]: step["passed"] for step in data["proof"]}
    assert set(passed.values()) == {True}, data["proof"]
    assert "tool call and second turn" in passed
    assert ("fill in the middle" in passed) == (client == "continue")
    again = lais("connect", client, "--yes", "--no-proof")
    assert again.returncode == 0
    assert "as it was" in again.stdout
    back = lais("disconnect", client)
    assert back.returncode == 0
    assert not path.exists()


def test_limits_are_those_of_the_running_server(lais: Lais) -> None:
    done = lais("connect", "opencode", "--print", "--json")
    assert '"context": 16384' in data_of(done)["files"][0]["diff"]


def test_print_writes_nothing_and_nobody_there_writes_nothing(lais: Lais, tmp_path: Path) -> None:
    printed = lais("connect", "zed", "--print")
    assert printed.returncode == 0
    assert "+" in printed.stdout
    refused = lais("connect", "zed")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert list((tmp_path / "home").iterdir()) == []


def test_check_says_what_is_connected_and_what_has_changed(lais: Lais, tmp_path: Path) -> None:
    assert "nothing is connected" in lais("connect", "--check").stdout
    lais("connect", "aider", "--yes", "--no-proof")
    checked = lais("connect", "--check")
    assert checked.returncode == 0, checked.stdout
    assert "aider:" in checked.stdout
    metadata = tmp_path / "home" / ".aider.model.metadata.json"
    metadata.write_text(metadata.read_text().replace("16384", "4096"))
    assert "have changed since" in lais("connect", "--check", "aider").stdout
    assert "connected" in lais("connect").stdout


def test_a_broken_file_and_a_newer_schema_stop_before_writing(lais: Lais, tmp_path: Path) -> None:
    config = tmp_path / "home" / ".continue" / "config.yaml"
    config.parent.mkdir()
    config.write_text("models: [")
    done = lais("connect", "continue", "--yes")
    assert done.returncode == 2
    assert str(config) in done.stderr
    config.write_text("schema: v9\n")
    done = lais("connect", "continue", "--yes")
    assert done.returncode == 2
    assert "v9" in done.stderr
    assert config.read_text() == "schema: v9\n"


def test_launch_starts_the_client_with_the_right_environment(lais: Lais, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$ANTHROPIC_BASE_URL $ANTHROPIC_MODEL $@"\n')
    program.chmod(0o755)
    done = lais("launch", "claude-code", "-p", "hello there")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("local-code -p hello there")
    assert "/v1" not in done.stdout
    missing = lais("launch", "codex")
    assert missing.returncode == 2
    assert "npm install" in missing.stderr
    assert "can be launched" in lais("launch", "zed").stderr
    assert list((tmp_path / "home").iterdir()) == []


def program(tmp_path: Path, name: str, does: str) -> Path:
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


def test_a_client_that_runs_is_warned_of_before_anything_is_written(
    lais: Lais, tmp_path: Path
) -> None:
    quiet = lais("connect", "opencode", "--yes", "--no-proof")
    assert "is running" not in quiet.stdout + quiet.stderr
    lais("disconnect", "opencode")
    opencode = program(tmp_path, "opencode", "read _")
    with subprocess.Popen([opencode], stdin=subprocess.PIPE) as client:
        try:
            refused = lais("connect", "opencode")
            assert "opencode is running: close it" in refused.stderr
            assert refused.returncode == 2
            written = lais("connect", "opencode", "--yes", "--no-proof")
            assert "opencode is running" in written.stdout
        finally:
            client.kill()
    # What it was warned of happened: the client wrote its own settings over ours.
    config = tmp_path / "home" / ".config" / "opencode" / "opencode.json"
    config.write_text('{"theme": "mine"}')
    checked = lais("connect", "--check", "opencode")
    assert checked.returncode == 2
    assert "`lais connect opencode` writes them again" in checked.stderr
    lais("connect", "opencode", "--yes", "--no-proof")
    assert '"theme": "mine"' in config.read_text()
    assert str(lais("disconnect", "opencode").returncode) == "0"
    assert json.loads(config.read_text()).get("theme") == "mine"


def test_cursor_gets_a_tunnels_command_only_with_a_key_and_nothing_is_opened(
    lais: Lais, tmp_path: Path
) -> None:
    opened = tmp_path / "opened"
    program(tmp_path, "cloudflared", f"touch {opened}")
    without = lais("connect", "cursor")
    assert "REQUIRE_KEY=true" in without.stdout
    assert "cloudflared tunnel" not in without.stdout
    key = {"REQUIRE_KEY": "true", "LITELLM_MASTER_KEY": "sk-0123456789abcdef0123"}
    told = lais("connect", "cursor", **key)
    assert "cloudflared tunnel --url" in told.stdout, told.stderr
    assert "WARNING" in told.stdout
    assert "tailscale" not in told.stdout
    assert key["LITELLM_MASTER_KEY"] not in told.stdout
    assert not opened.exists()


def test_two_profiles_are_written_and_given_back(lais: Lais, tmp_path: Path) -> None:
    user = tmp_path / "home" / ".config" / "Code" / "User"
    profile = user / "profiles" / "1f2e"
    profile.mkdir(parents=True)
    mine = '// mine\n[{"name": "Ollama", "vendor": "ollama"}]\n'
    (profile / "chatLanguageModels.json").write_text(mine)
    done = lais("connect", "vscode", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    files = [folder / "chatLanguageModels.json" for folder in (user, profile)]
    assert all("local-chat" in path.read_text() for path in files)
    assert "// mine" in files[1].read_text()
    lais("disconnect", "vscode")
    assert not files[0].exists()
    assert files[1].read_text() == mine


def test_env_prints_what_a_shell_can_read(lais: Lais, stack: Project) -> None:
    done = lais("connect", "env")
    shell = subprocess.run(
        ["sh", "-c", done.stdout + "\nprintf %s $OPENAI_BASE_URL"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shell.stdout == f"http://localhost:{stack.gateway}/v1"


def test_no_server_an_unknown_client_and_nothing_to_undo(lais: Lais, free_port: int) -> None:
    done = lais("connect", "zed", "--yes", API_GATEWAY_PORT=str(free_port))
    assert done.returncode == 7
    assert "make up-p1" in done.stderr
    assert "There is: continue" in lais("connect", "emacs").stderr
    assert "not connected" in lais("disconnect", "zed").stderr
