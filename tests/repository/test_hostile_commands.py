"""Every command that reads git, as a person types it, in a repository full of traps."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from git_repository import git, make, plain
from hostile import TRAPS, make_program

from local_ai_suite.approvals import open_gate
from local_ai_suite.approvals.terminal import Presence
from local_ai_suite.cli.main import main
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.paths import find_paths
from scripted_engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Those that one repository can hold at once.
TOGETHER = (
    "file_monitor", "clean_filter", "filter_whose_name_is_no_text", "text_converter",
    "attributes_in_the_git_folder", "a_drivers_command", "external_difference", "alias", "hooks",
    "editor", "included_configuration", "credential_program", "signature_program", "pager",
)  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    path = write_scripted_gguf(tmp_path_factory.mktemp("model") / "scripted.gguf")
    with engine(path, context=8192, slots=1) as started:
        yield int(started.url.rpartition(":")[2])


@pytest.fixture
def lais(
    tmp_path: Path,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """``lais WORDS`` in the current folder, in a project of its own; what it wrote to stdout."""
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("LAIS_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("API_GATEWAY_PORT", str(port))
    monkeypatch.delenv("LAIS_STATE", raising=False)

    def run(*words: str, code: int = 0) -> str:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(words))
        said = capsys.readouterr()
        assert int(left.value.code or 0) == code, said.err
        return said.out

    return run


def test_no_command_springs_a_trap(
    tmp_path: Path, lais: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mark = make(tmp_path / "repository"), tmp_path / "ran"
    program = make_program(tmp_path, mark)
    for name in TOGETHER:
        TRAPS[name](folder, program)
    lines = [b"* filter=x diff=x", b"*.py filter=\xff\xfe"]
    (folder / ".gitattributes").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "issue.md").write_text("# Make it fast\n\nIt is slow.\n")
    mark.unlink(missing_ok=True)
    monkeypatch.chdir(folder)

    for words in (
        ("ai", "commit"),
        ("ai", "review", "--json"),
        ("ai", "review", "--staged", "--json"),
        ("ai", "review", "main", "--json"),
        ("ai", "review", "--branch", "main", "--json"),
        ("plan", "--file", "issue.md", "--lang", "en"),
        ("plan", "show", "make-it-fast"),
    ):
        lais(*words)
        assert not mark.exists(), f"{words}: {mark.read_text()}"

    asked = json.loads(lais("plan", "approve", "make-it-fast", "--no-comment", "--json", code=1))
    (request,) = asked["data"]["requests"]
    with open_gate(find_paths()) as gate:
        waiting = gate.get(request["id"])
        gate.approve(waiting.id, waiting.digest, Presence(waiting.id, waiting.level, "a test"))
        done = gate.execute(waiting.id)
    assert done.state == "done", done.progress
    assert not mark.exists(), mark.read_text()
    made = done.progress["outcome"]["branch"]
    assert (folder / ".git" / "refs" / "heads" / made).read_text().strip() == git(
        folder, "rev-parse", "HEAD"
    )
    mark.unlink(missing_ok=True)
    plain(folder, "diff")
    assert mark.exists(), "plain git runs nothing here: this test proves nothing"
