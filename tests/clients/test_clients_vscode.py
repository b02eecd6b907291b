"""VS Code itself, as code-server in a headless browser: Copilot's chat with the file that
``lais connect vscode`` wrote, without a login: an answer, and a tool call that writes a file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from packages import VSCODE, install, node_folder

from client_script import HELLO, WRITTEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Person

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
STARTS_S = 120.0
DRIVES_S = 900.0
CHROMIUM = ("/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    assert found, f"no browser: install one of {', '.join(CHROMIUM)} (Debian: apt install chromium)"
    return found


@pytest.fixture(scope="session")
def code_server(npm: Path) -> Path:
    """code-server's entry point. Its native parts are built here: a compiler, libkrb5-dev."""
    lock, mark = VSCODE / "package-lock.json", VSCODE / "node_modules" / ".installed"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
        path = {"PATH": f"{node_folder()}:{os.environ['PATH']}"}
        install(["npm", "install", "--no-save", *quiet], VSCODE, **path)
        package = VSCODE / "node_modules" / "code-server"
        install(["sh", "postinstall.sh"], package, npm_config_user_agent="npm node/v24", **path)
        mark.write_bytes(lock.read_bytes())
    return VSCODE / "node_modules" / "code-server" / "out" / "node" / "entry.js"


@pytest.fixture
def window(person: Person, code_server: Path, free_port: int) -> Iterator[str]:
    """The address of an editor with the person's folder open."""
    words = ["--auth", "none", "--bind-addr", f"127.0.0.1:{free_port}", "--disable-telemetry",
             "--disable-update-check", "--disable-workspace-trust"]  # fmt: skip
    node = node_folder()
    environment = {"HOME": str(person.home), "PATH": f"{node}:/usr/bin:/bin", "LANG": "C.UTF-8"}
    url = f"http://127.0.0.1:{free_port}"
    log = person.home / "code-server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(node / "node"), str(code_server), *words, str(person.work)],
            cwd=person.work, env=environment, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        ) as process,
    ):  # fmt: skip
        try:
            deadline = time.monotonic() + STARTS_S
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    httpx.get(f"{url}/healthz", timeout=5)
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            else:
                raise AssertionError(log.read_text())
            yield f"{url}/?folder={person.work}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def test_vscode(person: Person, npm: Path, request: pytest.FixtureRequest) -> None:
    person.uses("vscode", npm)
    user = person.home / ".local" / "share" / "code-server" / "User"
    user.mkdir(parents=True)
    (user / "settings.json").write_text('{"workbench.startupEditor": "none"}')
    person.lais("connect", "vscode", "--yes")
    assert (user / "chatLanguageModels.json").exists()
    url = request.getfixturevalue("window")
    screenshot = HERE.parents[1] / ".cache" / "clients" / "vscode.png"
    turns = ["Hello", HELLO, "write it with vscode", WRITTEN]
    drive = ["node", str(VSCODE / "drive.mjs"), chromium(), url, str(screenshot), *turns]
    said = json.loads(person.run(*drive, seconds=DRIVES_S).splitlines()[-1])
    assert HELLO in said
    person.saw("answer")
    assert WRITTEN in said
    assert person.written() == "pelican"
    person.saw("tool loop")
