"""Real clients at pinned versions, each with a home of its own, and the whole stack for them.

Run by ``pytest -m clients tests/clients``. The first run installs what ``npm/package-lock.json``
and ``python/*.txt`` name (2 GB of npm packages, minutes on a good line), later ones find it:
``npm/node_modules`` and ``.cache/clients``. No package's install script runs, but for two that put
their own program in place.

Between the clients and the gateway stands a recorder. What a run saw lies in
``.cache/clients/seen``; ``python tests/clients/keep.py`` takes it into the replay corpus and the
compatibility matrix.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from packages import MODULES, NPM, PACKAGES, VSCODE, install, node_folder

import client_corpus
from client_recorder import Exchange, Recorder, recorder
from client_script import OUT, script_for
from local_ai_suite.demo import write_scripted_gguf
from stack_project import Project, close, new_project

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "clients"
SEEN = CACHE / "seen"
RUN_SECONDS = 600.0  # a client reads 30,000 tokens of its own prompt first, on a busy machine
KEY = "sk-of-the-clients-tests-0123456789"


def version_of(client: str) -> str:
    """The installed version."""
    package, environment = PACKAGES[client]
    if not environment:
        modules = VSCODE / "node_modules" if client == "vscode" else MODULES
        return str(json.loads((modules / package / "package.json").read_text())["version"])
    (folder,) = (CACHE / environment).glob("lib/python*/site-packages")
    return next(d.version for d in distributions(name=package, path=[str(folder)]))


@pytest.fixture(scope="session")
def npm() -> Path:
    """The folder of the clients' commands; they need a newer Node than many machines have."""
    lock, mark = NPM / "package-lock.json", MODULES / ".installed"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        # Not `npm ci`: it insists on lock entries for other systems, which not every registry has.
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund"]
        install(["npm", "install", "--no-save", *quiet], NPM)
        path = f"{node_folder()}:{os.environ['PATH']}"
        install(["node", "install.cjs"], MODULES / "@anthropic-ai" / "claude-code", PATH=path)
        install(["node", "postinstall.mjs"], MODULES / "opencode-ai", PATH=path)
        mark.write_bytes(lock.read_bytes())
    return MODULES / ".bin"


def _python(name: str) -> Path:
    """The commands of a Python environment with what ``python/NAME.txt`` names."""
    lock, folder = HERE / "python" / f"{name}.txt", CACHE / name
    mark = folder / ".installed"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        install([sys.executable, "-m", "venv", str(folder)], HERE)
        pip = [str(folder / "bin" / "pip"), "install", "-q", "--require-hashes", "-r", str(lock)]
        install(pip, HERE)
        mark.write_bytes(lock.read_bytes())
    return folder / "bin"


@pytest.fixture(scope="session")
def llm() -> Path:
    """simonw's ``llm``, and a Python with LangChain and OpenAI's own library."""
    return _python("llm")


@pytest.fixture(scope="session")
def aider() -> Path:
    """It pins a hundred packages; its last release wants a Python before 3.13."""
    return _python("aider")


@pytest.fixture(scope="session")
def llamaindex() -> Path:
    """Its current release does not resolve beside ``llm``'s."""
    return _python("llamaindex")


@dataclass
class Person:
    """Somebody's home and working folder, and the running project's ``lais``."""

    stack: Project
    home: Path
    work: Path
    recorder: Recorder
    client: str = ""
    key: str = KEY
    commands: list[Path] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    code: int = 0

    def uses(self, client: str, commands: Path) -> None:
        """From now on; its commands are found."""
        self.client = client
        self.commands.append(commands)

    def saw(self, what: str) -> None:
        """A line of the compatibility matrix: this client did ``what``."""
        self.shown.append(what)

    @property
    def out(self) -> Path:
        """The file that the scripted model tells each client to write."""
        return self.work / OUT

    def written(self) -> str:
        return self.out.read_text().strip()

    def run(self, *words: str, check: bool = True, seconds: float = RUN_SECONDS) -> str:
        """Standard output and error together, of a command in the working folder."""
        path = ":".join(map(str, [*self.commands, node_folder(), Path(sys.executable).parent]))
        environment = {
            "HOME": str(self.home), "PATH": f"{path}:/usr/bin:/bin", "LANG": "C.UTF-8",
            "LAIS_PROJECT": str(self.stack.folder), "LAIS_STATE": str(self.home / "lais"),
            "API_GATEWAY_PORT": str(self.recorder.port), "NO_COLOR": "1", "CI": "1",
            **self.environment,
        }  # fmt: skip
        with subprocess.Popen(
            words, cwd=self.work, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=seconds)
            finally:
                # Some leave a daemon behind in their session.
                subprocess.run(["pkill", "-9", "-s", str(process.pid)], check=False)
        self.code = process.returncode
        assert process.returncode == 0 or not check, f"{words}: {said}"
        return said

    def lais(self, *words: str, check: bool = True) -> str:
        return self.run(sys.executable, "-m", "local_ai_suite", *words, check=check)


def _up(folder: Path, **env: str) -> Project:
    """The stack with a scripted model of 65,536 tokens that can call each client's own tools."""
    project = new_project(folder / "project")
    script = script_for(str(folder / "work"))
    model = write_scripted_gguf(project.folder / "models" / "scripted.gguf", script)
    project.environment |= {"CHAT_MODEL": model.name, "CTX_SIZE": "65536", "PARALLEL": "1"}
    if env:
        lines = (f"{name}={value}\n" for name, value in env.items())
        (project.folder / ".env").write_text("".join(lines))
    up = project.lais("up")
    if up.returncode:
        close(project)
        raise AssertionError(up.stdout + up.stderr)
    return project


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """As it comes: no key is asked for."""
    project = _up(tmp_path_factory.mktemp("clients"))
    yield project
    close(project)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """It asks for :data:`KEY`."""
    folder = tmp_path_factory.mktemp("locked")
    project = _up(folder, REQUIRE_KEY="true", LITELLM_MASTER_KEY=KEY)
    yield project
    close(project)


@contextlib.contextmanager
def _person(project: Project, home: Path, item: pytest.Item) -> Iterator[Person]:
    work = project.folder.parent / "work"
    work.mkdir(exist_ok=True)
    home.mkdir()
    with recorder(project.gateway) as record:
        person = Person(project, home, work, record)
        yield person
        person.out.unlink(missing_ok=True)
        # Cline leaves a daemon behind, in a session of its own; its home tells it from any other.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HOME") == str(home):
                    process.kill()
        _remember(person, item)


@pytest.fixture
def person(stack: Project, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Person]:
    with _person(stack, tmp_path / "home", request.node) as somebody:
        yield somebody


@pytest.fixture
def guest(locked: Project, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Person]:
    """A person before the stack that asks for a key."""
    with _person(locked, tmp_path / "home", request.node) as somebody:
        yield somebody


_PASSED: pytest.StashKey[bool] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


def _remember(person: Person, item: pytest.Item) -> None:
    """A file per test: what the client did and what it sent."""
    if not person.client:
        return
    places = {
        str(person.work): client_corpus.WORK,
        str(person.home): client_corpus.HOME,
        str(person.stack.folder): "/project",
        str(HERE.parents[1]): "/suite",
        KEY: client_corpus.PLACEHOLDER,
    }
    exchanges = person.recorder.take()
    seen = {
        "client": person.client,
        "package": PACKAGES[person.client][0],
        "version": version_of(person.client),
        "test": item.name,
        "passed": item.stash.get(_PASSED, False),
        "shown": person.shown,
        "prompt_tokens": _longest_prompt(exchanges),
        "exchanges": client_corpus.trim(exchanges, places),
    }
    SEEN.mkdir(parents=True, exist_ok=True)
    text = json.dumps(seen, ensure_ascii=False, indent=1)
    (SEEN / f"{person.client}--{item.name}.json").write_text(text, encoding="utf-8")


def _longest_prompt(exchanges: list[Exchange]) -> int | None:
    """In tokens of the scripted model, as the answers' usage tells."""
    found = [client_corpus.prompt_tokens(one.answer) for one in exchanges if one.status == 200]
    return max((tokens for tokens in found if tokens), default=None)
