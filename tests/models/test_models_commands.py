"""`lais models`: what it prints, in text and in JSON, and what it deletes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_hub import FakeHub, Trickle, model_bytes, shard_bytes

from local_ai_suite.cli.main import main
from local_ai_suite.cli.models_progress import Lines, Quiet
from local_ai_suite.demo.embedding import FILE_NAME
from local_ai_suite.demo.gguf_writer import U32
from local_ai_suite.errors import ModelError, NetworkError, UsageError
from local_ai_suite.models.built import pull_embedding
from local_ai_suite.models.recommended import find, recommended
from local_ai_suite.models.remove import find_removal
from local_ai_suite.paths import Paths

REPO, FILE = "someone/Test-GGUF", "Test-Q4_K_M.gguf"


@pytest.fixture
def project(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("LAIS_PROJECT", str(paths.project))
    for key in ("CHAT_MODEL", "CODE_MODEL", "EMBED_MODEL", "MODELS_DIR", "HF_TOKEN"):
        monkeypatch.delenv(key, raising=False)
    return paths


@pytest.fixture
def models(project: Paths) -> Path:
    return project.project / "models"


def lais(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    return int(caught.value.code or 0)


def answer(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


# list


def test_an_empty_folder_serves_the_demo_and_says_what_to_do(project: Paths, capsys) -> None:
    assert lais("models") == 0
    out = capsys.readouterr().out
    assert "local-chat, local-code" in out
    assert "lais models pull chat" in out


def test_the_list_says_what_each_file_is_and_why(models: Path, capsys) -> None:
    (models / "talk.gguf").write_bytes(
        model_bytes(**{"tokenizer.chat_template": "{{ messages }}", "general.name": "Talk"})
    )
    (models / "my-coder.gguf").write_bytes(
        model_bytes(**{"tokenizer.chat_template": "{{ messages }}", "general.name": "My Coder"})
    )
    (models / "half.gguf.part-0123456789ab").write_bytes(bytes(1000))
    assert lais("models", "list", "--json") == 0
    data = answer(capsys)["data"]
    by_file = {Path(one["file"]).name: one for one in data["models"]}
    assert "local-chat" in by_file["talk.gguf"]["names"]
    assert "local-code" in by_file["my-coder.gguf"]["names"]
    assert by_file["my-coder.gguf"]["architecture"] == "llama"
    assert by_file["talk.gguf"]["size_bytes"] == (models / "talk.gguf").stat().st_size
    assert all(one["reason"] for one in data["models"])
    assert data["unfinished"] == [{"file": "half.gguf", "bytes": 1000}]
    lais("models", "list")
    out = capsys.readouterr().out
    assert "local-code: " in out
    assert "Unfinished: half.gguf" in out


def test_without_a_word_it_is_the_list(project: Paths, capsys) -> None:
    assert lais("models", "--json") == 0
    assert answer(capsys)["command"] == "models list"


def test_a_truncated_file_is_a_warning_beside_the_others(models: Path, capsys) -> None:
    (models / "good.gguf").write_bytes(model_bytes())
    (models / "cut.gguf").write_bytes(model_bytes()[:-1000])
    assert lais("models", "list") == 0
    captured = capsys.readouterr()
    assert "good.gguf" in captured.out
    assert "cut.gguf" in captured.err


def test_a_model_that_was_set_and_is_not_there_is_an_error(
    project: Paths, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("CHAT_MODEL", "gone.gguf")
    assert lais("models", "list", "--json") != 0
    assert "gone.gguf" in answer(capsys)["error"]["message"]


# inspect


def test_inspect_tells_a_folder_from_a_file_and_names_what_is_in_it(models: Path, capsys) -> None:
    (models / "qwen").mkdir()
    (models / "qwen" / "talk.gguf").write_bytes(model_bytes())
    (models / "empty").mkdir()
    assert lais("models", "inspect", "qwen", "--json") == 4
    error = answer(capsys)["error"]
    assert "qwen is a folder" in error["message"]
    assert "talk.gguf" in error["hint"]
    assert lais("models", "inspect", str(models / "empty"), "--json") == 4
    assert answer(capsys)["error"]["hint"] == "No GGUF file is in it."


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\x1b[2J", "no/such/thing"])
def test_inspect_has_words_for_names_that_are_no_file(models: Path, name: str, capsys) -> None:
    assert lais("models", "inspect", name, "--json") == 4
    assert answer(capsys)["error"]["code"] in {"model", "gguf_invalid"}


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "x\x1b[2J", "é" * 200])
@pytest.mark.parametrize("command", [["pull"], ["rm", "--yes"]])
def test_names_that_no_file_can_have_are_an_error_in_words(
    models: Path, command: list[str], name: str, capsys
) -> None:
    words = f"user/repo:{name}" if command == ["pull"] else name
    assert lais("models", *command, words, "--json") in {2, 4}
    assert answer(capsys)["error"]["code"] in {"usage", "model"}
    assert list(models.iterdir()) == []


# recommended


def test_each_role_has_one_recommendation() -> None:
    for role in ("chat", "code", "embed", "rerank", "local-chat", "local-embed"):
        entry = find(role)
        assert entry is not None
        assert entry.kind == role.removeprefix("local-")
    assert len({entry.name for entry in recommended()}) == len(recommended())


def test_the_recommendations_are_shown_with_size_and_licence(project: Paths, capsys) -> None:
    assert lais("models", "recommended") == 0
    out = capsys.readouterr().out
    for entry in recommended():
        assert entry.name in out
        assert entry.licence in out
        assert f"{entry.gigabytes:.2f} GB" in out


def test_what_a_role_alone_brings_may_be_used_for_everything() -> None:
    for role in ("chat", "code", "embed", "rerank", "local-embed"):
        entry = find(role)
        assert entry is not None
        assert entry.licence in {"Apache-2.0", "MIT"}, entry.name


# pull


def test_a_pulled_model_is_listed_at_once(
    project: Paths, models: Path, capsys, monkeypatch
) -> None:
    fake = FakeHub()
    fake.add(REPO, FILE, body := model_bytes())
    with fake.running():
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
        assert lais("models", "pull", f"{REPO}:{FILE}", "--json") == 0
        data = answer(capsys)["data"]
        assert data["fresh"] is True
        assert data["files"] == [str(models / FILE)]
        assert len(data["sha256"][FILE]) == 64
        assert (models / FILE).read_bytes() == body
        assert lais("models", "pull", f"{REPO}:{FILE}") == 0
        out = capsys.readouterr().out
        assert "is there already" in out
        assert "local-chat" in out


def test_a_code_model_that_is_not_chosen_by_itself_says_how_it_becomes_local_code(
    project: Paths, models: Path, capsys, monkeypatch
) -> None:
    (models / "large.gguf").write_bytes(model_bytes(900_000))
    (models / "a-coder.gguf").write_bytes(model_bytes())
    code = find("code")
    assert code is not None
    assert code.repo is not None
    fake = FakeHub()
    fake.add(code.repo, code.file, model_bytes(500_000))
    with fake.running():
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
        assert lais("models", "pull", "code") == 0
    assert f"To make it local-code: CODE_MODEL={code.file} in .env" in capsys.readouterr().out


def test_an_error_of_the_hub_is_one_message_and_its_exit_code(
    project: Paths, capsys, monkeypatch
) -> None:
    with FakeHub().running() as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
        assert lais("models", "pull", "nobody/Nothing:x.gguf") == 7
    err = capsys.readouterr().err
    assert err.startswith("error: nobody/Nothing is not on 127.0.0.1")
    assert "Traceback" not in err


def test_a_models_folder_that_was_set_and_is_not_there_is_not_made(
    project: Paths, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "unplugged"))
    assert lais("models", "pull", "chat") == 3
    assert not (tmp_path / "unplugged").exists()
    assert "unplugged" in capsys.readouterr().err


def test_ctrl_c_keeps_the_part_and_says_how_to_go_on(project: Paths, models: Path) -> None:
    fake = FakeHub(faults=[Trickle(every=0.02)])
    fake.add(REPO, FILE, model_bytes())
    with fake.running():
        process = subprocess.Popen(
            [sys.executable, "-m", "local_ai_suite", "models", "pull", f"{REPO}:{FILE}"],
            env={"LAIS_PROJECT": str(project.project), "HF_ENDPOINT": fake.endpoint, "PATH": ""},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 10 for path in models.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"`lais models pull {REPO}:{FILE}` goes on from there" in err
    assert "Traceback" not in err
    (part,) = models.iterdir()
    assert part.read_bytes() == model_bytes()[: part.stat().st_size]


def test_without_a_terminal_the_progress_is_a_few_lines() -> None:
    said: list[str] = []
    now = 0.0
    lines = Lines(said.append, lambda: now)
    lines.start("a.gguf", 1_000_000_000, 0)
    for _ in range(1000):
        now += 0.01
        lines.advance(1_000_000)
    assert len(said) == 5
    assert said[-1] == "a.gguf: 1.00 GB (100%), 100.0 MB/s"


# inspect


def test_a_model_is_inspected_by_a_name_that_it_serves_as(models: Path, capsys) -> None:
    assert lais("models", "inspect", "demo", "--json") == 0  # lies in the suite, not in the folder
    (models / "talk.gguf").write_bytes(
        model_bytes(**{"tokenizer.chat_template": "{{ messages }}", "general.name": "Talk"})
    )
    capsys.readouterr()
    assert lais("models", "inspect", "local-chat") == 0
    assert "Talk" in capsys.readouterr().out


def test_a_home_folder_that_nobody_has_is_a_file_that_is_not_there(models: Path, capsys) -> None:
    assert lais("models", "inspect", "~nobody-here/a.gguf") == 4
    assert "no such file" in capsys.readouterr().err


# rm


def test_rm_asks_and_keeps_without_a_yes(models: Path, capsys, monkeypatch) -> None:
    (models / FILE).write_bytes(model_bytes())
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    assert lais("models", "rm", FILE) == 1
    assert (models / FILE).exists()


def test_rm_that_can_ask_nobody_says_so_and_keeps(models: Path, capsys, monkeypatch) -> None:
    (models / FILE).write_bytes(model_bytes())
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert lais("models", "rm", FILE, "--json") == 2
    assert "--yes" in answer(capsys)["error"]["hint"]
    assert (models / FILE).exists()


def test_rm_deletes_all_parts_of_a_model_and_nothing_else(models: Path, capsys) -> None:
    shards = [f"Big-{number:05d}-of-00002.gguf" for number in (1, 2)]
    for number, name in enumerate(shards, start=1):
        (models / name).write_bytes(shard_bytes(number, 2))
    (models / f"{shards[0]}.part-0123").write_bytes(b"x")
    (models / "Other.gguf").write_bytes(model_bytes())
    assert lais("models", "rm", shards[0].removesuffix(".gguf"), "--yes", "--json") == 0
    assert [path.name for path in models.iterdir()] == ["Other.gguf"]
    assert answer(capsys)["data"]["freed_bytes"] > 8000


def test_rm_warns_when_a_setting_still_names_the_file(models: Path, capsys, monkeypatch) -> None:
    (models / FILE).write_bytes(model_bytes())
    monkeypatch.setenv("CHAT_MODEL", FILE)
    assert lais("models", "rm", FILE, "--yes") == 0
    assert "CHAT_MODEL still names it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../secret.gguf", "/etc/secret.gguf", "sub/../../secret.gguf"])
def test_rm_refuses_to_leave_the_models_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.gguf").write_bytes(b"keep")
    with pytest.raises(UsageError, match="leads out of the models folder"):
        find_removal(name, folder)


def test_rm_refuses_a_way_out_through_a_linked_folder(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.gguf").write_bytes(b"keep")
    (folder / "link").symlink_to(elsewhere)
    with pytest.raises(UsageError):
        find_removal("link/a.gguf", folder)


def test_rm_removes_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    target = tmp_path / "big.gguf"
    target.write_bytes(b"keep")
    (folder / "big.gguf").symlink_to(target)
    find_removal("big", folder).carry_out()
    assert target.read_bytes() == b"keep"
    assert not (folder / "big.gguf").is_symlink()


def test_rm_of_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not there"):
        find_removal("nothing", tmp_path)


def test_rm_never_touches_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(ModelError):
        find_removal("notes.txt", tmp_path)


def test_on_a_terminal_the_progress_is_a_bar(project: Paths, models: Path) -> None:
    fake = FakeHub()
    fake.add(REPO, FILE, model_bytes())
    control, terminal = os.openpty()
    try:
        with fake.running():
            done = subprocess.run(
                [sys.executable, "-m", "local_ai_suite", "models", "pull", f"{REPO}:{FILE}"],
                env={
                    "LAIS_PROJECT": str(project.project),
                    "HF_ENDPOINT": fake.endpoint,
                    "PATH": "",
                    "TERM": "xterm",
                    "COLUMNS": "120",
                },
                stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=False,
            )  # fmt: skip
        shown = os.read(control, 1 << 16).decode()
    finally:
        os.close(control)
        os.close(terminal)
    assert done.returncode == 0
    assert FILE in shown
    assert "\x1b[" in shown
    assert b"downloaded and checked" in done.stdout
    assert b"\x1b" not in done.stdout


# The embedding model that is built


def test_local_embed_is_built_without_the_hub(project: Paths, models: Path, capsys) -> None:
    # As if it had been built: the build itself is the demo room's to test.
    (models / FILE_NAME).write_bytes(
        model_bytes(**{"general.architecture": "bert", "bert.pooling_type": U32(1)})
    )
    assert lais("models", "pull", "local-embed", "--json") == 0
    assert answer(capsys)["data"]["files"] == [str(models / FILE_NAME)]
    lais("models", "pull", "minilm")
    assert "local-embed" in capsys.readouterr().out


def test_the_projects_own_installer_fetches_the_package(paths: Paths, tmp_path: Path) -> None:
    uv = paths.cache / "bootstrap" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text("#!/bin/sh\necho the index is away >&2\nexit 1\n")
    uv.chmod(0o755)
    with pytest.raises(NetworkError, match="the index is away"):
        pull_embedding(tmp_path / "models", paths, Quiet())
    assert list((tmp_path / "models").iterdir()) == []
