"""A server that asks for its key: real clients with the wrong one and then with the right one.

The key goes where ``lais connect`` says that this client keeps it, and no file that was written
holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from client_script import HELLO

if TYPE_CHECKING:
    from conftest import Person

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]

WRONG = "sk-wrong-0123456789"
KEY = "LOCAL_AI_SUITE_API_KEY"
RUN_CODEX = ("codex", "exec", "--skip-git-repo-check", "Hello")
RUN_AIDER = ("aider", "--no-git", "--no-check-update", "--analytics-disable", "--yes-always",
             "--message", "Hello")  # fmt: skip


@dataclass(frozen=True)
class Keyed:
    """``installed``: the fixture; ``run``: asks for an answer; the key's ``variable`` or the
    ``command`` that puts $KEY away, where it is not the environment.
    """

    installed: str
    run: tuple[str, ...]
    variable: str = ""
    command: str = ""
    connects: bool = True
    # What it says of a refused key: the server's own words, where it passes them on.
    told: tuple[str, ...] = field(default=("key is not valid",))


CLIENTS = {
    "codex": Keyed("npm", RUN_CODEX, KEY),
    "opencode": Keyed("npm", ("opencode", "run", "Hello"), KEY),
    "claude-code": Keyed("npm", ("claude", "-p", "Hello"), "ANTHROPIC_AUTH_TOKEN"),
    "qwen-code": Keyed("npm", ("qwen", "-p", "Hello"), "OPENAI_API_KEY"),
    "continue": Keyed(
        "npm",
        ("sh", "-c", "cn --config $HOME/.continue/config.yaml --auto -p Hello"),
        command=f'echo "{KEY}=$KEY" > $HOME/.continue/.env',
    ),
    "cline": Keyed(
        "npm",
        ("cline", "Say hello to me please"),
        command='cline auth -p openai-compatible -k "$KEY" -m local-code '
        "-b http://localhost:$API_GATEWAY_PORT/v1",
        connects=False,
    ),
    "llm": Keyed(
        "llm",
        ("llm", "-m", "local-chat", "Hello"),
        command='llm keys set local-ai-suite --value "$KEY"',
    ),
    "aider": Keyed("aider", RUN_AIDER, "OPENAI_API_KEY"),
}


def give_key(guest: Person, keyed: Keyed, key: str) -> None:
    guest.environment[keyed.variable or "KEY"] = key
    if keyed.command:
        guest.run("sh", "-c", keyed.command)


def files(home: Path) -> dict[str, bytes]:
    """Those that ``lais connect`` wrote or keeps (its own state is the ``lais`` folder)."""
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wrong_key_is_told_and_the_right_one_works(
    guest: Person, client: str, request: pytest.FixtureRequest
) -> None:
    keyed = CLIENTS[client]
    guest.uses(client, request.getfixturevalue(keyed.installed))
    if keyed.connects:
        guest.lais("connect", client, "--yes")
    written = files(guest.home)
    server_key = guest.key
    assert not [name for name, data in written.items() if server_key.encode() in data]

    give_key(guest, keyed, WRONG)
    said = guest.run(*keyed.run, check=False)
    assert any(words in said for words in keyed.told), said
    assert HELLO not in said
    now = files(guest.home)
    lost = [name for name, data in written.items() if "/lais/" not in name and now[name] != data]
    assert not lost or client in {"claude-code", "qwen-code"}, lost
    guest.saw("wrong key")

    give_key(guest, keyed, server_key)
    assert HELLO in guest.run(*keyed.run)
    guest.saw("key")


def test_copilot_gets_the_key_from_launch(guest: Person, npm: Path) -> None:
    guest.uses("copilot-cli", npm)
    assert HELLO in guest.lais("launch", "copilot-cli", "-p", "Hello")
    guest.saw("key")


def test_lais_itself_tells_of_a_wrong_key(guest: Person) -> None:
    guest.environment["LITELLM_MASTER_KEY"] = WRONG
    said = guest.lais("connect", "codex", "--yes", check=False)
    assert guest.code != 0
    assert "key" in said
    assert "LITELLM_MASTER_KEY" in said, said
    assert not (guest.home / ".codex").exists()
