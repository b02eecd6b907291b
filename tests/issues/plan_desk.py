"""A real repository, a stand-in `gh`, the real engine, and a server that answers nonsense."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from spec_issue import ANSWER, FILES, REPOSITORY

from local_ai_suite.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 120

GH = """#!{python}
import json, sys
stdin = sys.stdin.read() if not sys.stdin.isatty() else ""
with open({log!r}, "a") as log:
    log.write(json.dumps({{"argv": sys.argv[1:], "stdin": stdin}}) + "\\n")
answers = json.load(open({answers!r}))
answer = answers.get(" ".join(sys.argv[1:3]), {{}})
sys.stdout.write(answer.get("out", ""))
sys.stderr.write(answer.get("err", ""))
sys.exit(answer.get("rc", 0))
"""


class Gh:
    """A program named gh on a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "gh.log"
        self.answers = folder / "gh.json"
        self.tell(view={"out": json.dumps(ANSWER)})
        program = self.bin / "gh"
        program.write_text(
            GH.format(python=sys.executable, log=str(self.log), answers=str(self.answers))
        )
        program.chmod(0o755)

    def tell(self, **answers: dict[str, Any]) -> None:
        self.answers.write_text(
            json.dumps({f"issue {name}": answer for name, answer in answers.items()})
        )

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wrote(self) -> list[str]:
        """Which of gh's words that change something were called."""
        return [call["argv"][1] for call in self.calls() if call["argv"][1] != "view"]


def git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    ).stdout.strip()


def make_repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, content in (files or FILES).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "첫 커밋: 서버와 게이트웨이")
    git(folder, "remote", "add", "origin", f"git@github.com:{REPOSITORY}.git")
    return folder


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.out)["data"]
        return data


@dataclass
class Desk:
    """`lais plan ...` as a person calls it, in a repository of its own."""

    folder: Path
    repository: Path
    gh: Gh
    port: int
    capsys: pytest.CaptureFixture[str]
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        project = self.folder / "project"
        project.mkdir(exist_ok=True)
        self.environ = {
            "PATH": f"{self.gh.bin}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "LAIS_PROJECT": str(project),
            "API_GATEWAY_PORT": str(self.port),
        }

    def lais(self, *words: str, stdin: str = "") -> Done:
        """In this process, which has no terminal: `screen` has one."""
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ.keys() - {"PYTEST_CURRENT_TEST"}:
                patch.delenv(name)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            patch.chdir(self.repository)
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            self.capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(list(words))
        said = self.capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    def plan(self, *words: str, stdin: str = "") -> Done:
        return self.lais("plan", *words, stdin=stdin)

    def written(self, name: str = "issue-1") -> tuple[dict[str, Any], str]:
        plans = self.repository / "plans"
        plan: dict[str, Any] = json.loads((plans / f"{name}.json").read_text(encoding="utf-8"))
        return plan, (plans / f"{name}.md").read_text(encoding="utf-8")


class FakeServer:
    """Speaks the gateway's routes; what it answers to a chat is the test's."""

    def __init__(self, answer: Callable[[dict[str, Any]], str], context: int = 4096) -> None:
        self.answer = answer
        self.context = context
        self.chats: list[dict[str, Any]] = []
        server = self

        class Routes(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                meta = {"kind": "chat", "n_ctx": server.context}
                self.reply({"object": "list", "data": [{"id": "local-chat", "meta": meta}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path.endswith("/apply-template"):
                    text = "\n".join(message["content"] for message in body["messages"])
                    self.reply({"prompt": text})
                elif self.path.endswith("/tokenize"):
                    self.reply({"tokens": [0] * (len(body["content"]) // 3 + 1)})
                else:
                    server.chats.append(body)
                    message = {"role": "assistant", "content": server.answer(body)}
                    self.reply({"choices": [{"message": message, "finish_reason": "stop"}]})

            def reply(self, body: dict[str, Any]) -> None:
                raw = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Routes)
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def schema_of(body: dict[str, Any]) -> dict[str, Any]:
    """The schema in a chat request."""
    schema: dict[str, Any] = body["response_format"]["json_schema"]["schema"]
    return schema


def fill(schema: dict[str, Any], say: Callable[[int], str]) -> Any:
    """A value that fits ``schema``; ``say`` gives a text of at most so many characters."""
    match schema["type"]:
        case "object":
            return {name: fill(inner, say) for name, inner in schema["properties"].items()}
        case "array":
            count = max(1, schema["minItems"])
            return [fill(schema["items"], say) for _ in range(min(count, schema["maxItems"]))]
        case _ if "enum" in schema:
            return schema["enum"][0]
        case _ if "pattern" in schema:
            return "new_module.py"
    return say(schema["maxLength"])
