"""Conversations on disk: private, durable, searchable, shared by terminals."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.chat.history import History
from local_ai_suite.errors import HistoryError

if TYPE_CHECKING:
    from pathlib import Path


def turn(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_all_its_files_are_private(tmp_path: Path) -> None:
    path = tmp_path / "ai" / "history.sqlite3"
    with History(path) as history:
        history.add(history.start("q"), turn("q", "a"))
        files = list(path.parent.iterdir())
        assert len(files) >= 2  # the write-ahead log too
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_open_file_is_made_private_again(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"
    with History(path):
        pass
    path.chmod(0o644)
    with History(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_search_takes_signs_as_they_are_in_any_case(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        for question in ("100% sure", "snake_case", "Straße", "한국어 질문", "don't; drop table x"):
            history.add(history.start(question), turn(question, "an answer"))

        def found(words: str) -> list[str]:
            return [entry.title for entry in history.entries(words)]

        assert found("%") == ["100% sure"]
        assert found("_") == ["snake_case"]
        assert found("STRASSE") == ["Straße"]
        assert found("한국어") == ["한국어 질문"]
        assert found("don't; DROP") == ["don't; drop table x"]
        assert len(found("an answer")) == 5
        assert found("nowhere") == []


def test_the_latest_is_the_one_last_added_to(tmp_path: Path) -> None:
    now = iter(range(100))
    with History(tmp_path / "h", clock=lambda: float(next(now))) as history:
        assert history.latest() is None
        first, second = history.start("first"), history.start("second")
        history.add(second, turn("2", "2"))
        history.add(first, turn("1", "1"))
        assert history.latest() == first
        assert [entry.id for entry in history.entries()] == [first, second]


def test_deleting_forgets_every_message(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        number = history.start("secret")
        history.add(number, turn("secret", "answer"))
        history.delete(number)
        assert history.entries("secret") == ()
        with pytest.raises(HistoryError, match="no conversation"):
            history.messages(number)
    left = sqlite3.connect(tmp_path / "h").execute("select count(*) from messages").fetchone()
    assert left == (0,)


def test_two_terminals_write_at_the_same_time(tmp_path: Path) -> None:
    path, errors = tmp_path / "h", []

    def terminal(name: str) -> None:
        try:
            with History(path) as history:
                number = history.start(name)
                for index in range(20):
                    history.add(number, turn(f"{name} {index}", "a"))
        except HistoryError as exc:
            errors.append(exc)

    threads = [threading.Thread(target=terminal, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    with History(path) as history:
        assert [entry.turns for entry in history.entries()] == [20] * 4


def test_a_turn_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    with History(tmp_path / "h") as history:
        number = history.start("q")
        with pytest.raises(HistoryError):
            history.add(number, [*turn("q", "a"), {"role": "intruder", "content": "x"}])
        assert history.messages(number) == ()


@pytest.mark.parametrize("damage", ["garbage", "cut", "newer", "folder", "read-only folder"])
def test_damage_is_named_and_nothing_is_lost(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ai" / "h"
    with History(path) as history:
        history.add(history.start("q"), turn("q" * 20_000, "a"))
    before = path.read_bytes()
    match damage:
        case "garbage":
            path.write_bytes(b"\0garbage" + before[8:])
        case "cut":
            path.write_bytes(before[: len(before) // 3])
        case "newer":
            sqlite3.connect(path).execute("pragma user_version = 99")
        case "folder":
            path.unlink()
            path.mkdir()
        case "read-only folder":
            path.parent.chmod(0o500)
            path.chmod(0o400)
    kept = path.read_bytes() if path.is_file() else b""

    def use() -> None:
        with History(path) as history:
            history.add(history.start("new"), turn("n", "n"))
            history.entries("q")
            for entry in history.entries():
                history.messages(entry.id)

    try:
        if damage == "read-only folder" and os.geteuid() == 0:
            use()  # the superuser may write anywhere
            return
        with pytest.raises(HistoryError) as caught:
            use()
    finally:
        path.parent.chmod(0o700)
    assert str(path) in caught.value.message
    assert "AI_HISTORY" in caught.value.hint or "newer" in caught.value.message
    assert not path.is_file() or path.read_bytes() == kept
