"""The store by itself: its limits, its version, and a disk that hangs."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from local_ai_suite.gateway.store import Database, Missing, Record, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    found = Database(tmp_path / "s.sqlite3", max_bytes=400_000, max_age_s=100, clock=clock)
    yield found
    found.close()


def record(name: str, previous: str | None = None, size: int = 10) -> Record:
    return Record(name, previous, b"[]", b"x" * size, (f"part of {name}",))


def test_a_thread_is_given_from_its_beginning(database: Database) -> None:
    for name, previous in (("a", None), ("b", "a"), ("c", "b"), ("other", "a")):
        database.put("me", record(name, previous))
    assert [found.id for found in database.thread("me", "c")] == ["a", "b", "c"]
    database.delete("me", "a")
    with pytest.raises(Missing) as caught:
        database.thread("me", "c")
    assert caught.value.record == "a"


def test_the_item_of_a_deleted_record_is_gone_with_it(database: Database) -> None:
    database.put("me", record("a"))
    assert database.holder("me", "part of a").id == "a"
    with pytest.raises(Missing):
        database.holder("you", "part of a")
    database.delete("me", "a")
    with pytest.raises(Missing):
        database.holder("me", "part of a")


def test_what_nobody_used_for_long_is_gone_and_a_threads_beginning_is_used(
    database: Database, clock: Clock
) -> None:
    database.put("me", record("a"))
    database.put("me", record("alone"))
    clock.now += 60
    database.put("me", record("b", "a"))
    database.thread("me", "b")
    clock.now += 60
    assert [found.id for found in database.thread("me", "b")] == ["a", "b"]
    with pytest.raises(Missing):
        database.get("me", "alone")


def test_it_never_grows_beyond_its_limit_and_the_newest_stay(
    database: Database, tmp_path: Path, clock: Clock
) -> None:
    for number in range(200):
        clock.now += 0.01
        database.put("me", record(f"r{number}", size=10_000))
    database.close()
    assert (tmp_path / "s.sqlite3").stat().st_size < 500_000
    again = Database(tmp_path / "s.sqlite3", max_age_s=100, clock=clock)
    assert again.get("me", "r199")
    with pytest.raises(Missing):
        again.get("me", "r0")
    again.close()


def test_what_is_too_large_is_refused_and_pushes_nothing_out(database: Database) -> None:
    database.put("me", record("a"))
    with pytest.raises(StoreError, match="too many"):
        database.put("me", record("b", size=300_000))
    assert database.get("me", "a")


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 2")
    with pytest.raises(StoreError, match="newer version"):
        Database(path)


def test_a_circle_of_records_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_ai_suite.gateway.store.MAX_THREAD_BYTES", 1000)
    database.put("me", record("a", "b"))
    database.put("me", record("b", "a"))
    with pytest.raises(StoreError, match="longer"):
        database.thread("me", "a")


def test_two_processes_write_to_one_file(database: Database, tmp_path: Path, clock: Clock) -> None:
    other = Database(tmp_path / "s.sqlite3", clock=clock)
    for number in range(20):
        (database, other)[number % 2].put("me", record(f"r{number}"))
    assert other.get("me", "r18")
    assert database.get("me", "r19")
    other.close()


def test_a_disk_that_hangs_is_waited_for_once_and_used_again_when_it_answers(
    tmp_path: Path,
) -> None:
    answers = threading.Event()

    async def try_it() -> None:
        store = Store(lambda: Database(tmp_path / "s.sqlite3"), answer_s=0.1)
        with pytest.raises(StoreError, match="does not answer"):
            await store.do(lambda _: answers.wait(30))
        with pytest.raises(StoreError, match="does not answer"):
            await store.do(Database.check)  # at once: nothing is put behind the one that hangs
        answers.set()
        async with asyncio.timeout(10):
            while True:
                try:
                    await store.do(Database.check)
                    break
                except StoreError:
                    await asyncio.sleep(0.01)
        store.close()

    asyncio.run(try_it())


def test_a_file_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"

    def remove(_: Database) -> None:
        for part in tmp_path.iterdir():
            part.unlink()

    async def try_it() -> None:
        store = Store(lambda: Database(path))
        await store.do(lambda database: database.put("me", record("a")))
        await store.do(remove)
        await store.do(lambda database: database.put("me", record("b")))
        assert await store.do(lambda database: database.get("me", "b"))
        store.close()

    asyncio.run(try_it())
    assert path.exists()
