"""What was answered, kept in SQLite for who asked: each by its id, with the thread before it.

The file (mode 600, WAL) has a version. Rows belong to an owner (a key), and nobody else finds them.
What nobody used for ``MAX_AGE_S`` goes, and what was not used for longest where the file would grow
beyond ``MAX_BYTES``. SQLite works in a thread of its own with a bound on every wait, so that a disk
that hangs holds up no answer: whoever wanted to keep something learns that it was not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from local_ai_suite.errors import SuiteError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")

MAX_AGE_S = 30 * 24 * 3600.0  # as long as OpenAI keeps them
MAX_BYTES = 256 * 1024 * 1024
# A thread that is longer than any context, or goes in a circle, must not fill the memory.
MAX_THREAD_BYTES = 64 * 1024 * 1024
# A write takes a millisecond; the gateway's other processes may be writing.
BUSY_S = 1.0
ANSWER_S = 2.0
_VERSION = 1
_SCHEMA = """
create table records (
    owner text not null, id text not null, previous text, items blob not null,
    answer blob not null, used real not null, primary key (owner, id)) strict;
create index records_by_use on records (used);
create table parts (
    owner text not null, id text not null, record text not null, primary key (owner, id),
    foreign key (owner, record) references records (owner, id) on delete cascade) strict;
create index parts_of on parts (owner, record);
create table written (one integer primary key check (one = 1), at real not null) strict;
"""


class StoreError(SuiteError):
    """The store cannot be used now."""

    code = "store_unavailable"
    http_status = 503


class Missing(SuiteError):
    """There is nothing of this id, or it is somebody else's."""

    code = "not_stored"
    http_status = 404

    def __init__(self, record: str) -> None:
        super().__init__(f"{record!r} is not stored here.")
        self.record = record


@dataclass(frozen=True, slots=True)
class Record:
    """One answer: ``items`` (what was said for it) and ``answer`` are JSON; ``previous`` is the id
    that it goes on from; ``parts`` are the ids of the items inside both."""

    id: str
    previous: str | None
    items: bytes
    answer: bytes
    parts: Sequence[str] = ()


class Database:
    """The file at ``path``, made when it is opened. For one thread. Methods raise StoreError."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_age_s: float = MAX_AGE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        with self._mapped():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Before SQLite does: it never exists with other rights; -wal and -shm follow it.
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
            os.fchmod(descriptor, 0o600)
            self._inode = os.fstat(descriptor).st_ino
            os.close(descriptor)
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    @property
    def there(self) -> bool:
        """Whether the file is still the one at its path: writing to a removed one loses it."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def check(self) -> None:
        """Raises StoreError where nothing can be written."""
        with self._mapped(), self._writing():
            self._db.execute("replace into written values (1, ?)", (self._clock(),))

    def put(self, owner: str, record: Record) -> None:
        """Keep ``record``; what is too old, or too much, goes first."""
        now = self._clock()
        size = len(record.items) + len(record.answer)
        if size > self._max_bytes // 2:
            raise StoreError(f"{size} bytes are too many for a store of {self._max_bytes}.")
        with self._mapped(), self._writing():
            self._db.execute("delete from records where used < ?", (now - self._max_age_s,))
            while self._size() + size > self._max_bytes and self._drop_oldest():
                pass
            self._db.execute(
                "replace into records values (?, ?, ?, ?, ?, ?)",
                (owner, record.id, record.previous, record.items, record.answer, now),
            )
            self._db.executemany(
                "replace into parts values (?, ?, ?)",
                [(owner, part, record.id) for part in record.parts],
            )

    def get(self, owner: str, record: str) -> Record:
        """Raises Missing."""
        with self._mapped():
            row = self._db.execute(
                "select id, previous, items, answer from records"
                " where owner = ? and id = ? and used >= ?",
                (owner, record, self._clock() - self._max_age_s),
            ).fetchone()
        if row is None:
            raise Missing(record)
        return Record(*row)

    def holder(self, owner: str, part: str) -> Record:
        """The record that has an item of this id. Raises Missing."""
        with self._mapped():
            row = self._db.execute(
                "select record from parts where owner = ? and id = ?", (owner, part)
            ).fetchone()
        if row is None:
            raise Missing(part)
        return self.get(owner, str(row[0]))

    def thread(self, owner: str, last: str) -> list[Record]:
        """All records up to ``last``, the first one first; each counts as used. Raises Missing,
        with the id of the one that is missing."""
        found: list[Record] = []
        size, wanted = 0, last
        while wanted:
            record = self.get(owner, wanted)
            size += len(record.items) + len(record.answer)
            if size > MAX_THREAD_BYTES:
                raise StoreError(f"The thread before {last!r} is longer than any context.")
            found.append(record)
            wanted = record.previous or ""
        # A full disk that keeps their age as it is costs no answer.
        with contextlib.suppress(sqlite3.Error), self._writing():
            self._db.executemany(
                "update records set used = ? where owner = ? and id = ?",
                [(self._clock(), owner, record.id) for record in found],
            )
        return found[::-1]

    def delete(self, owner: str, record: str) -> None:
        """Raises Missing."""
        with self._mapped():
            with self._writing():
                gone = self._db.execute(
                    "delete from records where owner = ? and id = ?", (owner, record)
                )
            # What was deleted must not lie on in the log.
            self._db.execute("pragma wal_checkpoint(truncate)")
        if not gone.rowcount:
            raise Missing(record)

    def _prepare(self) -> None:
        for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
            self._db.execute(f"pragma {pragma}")
        self._db.execute("pragma secure_delete = on")
        with self._writing():
            version = self._db.execute("pragma user_version").fetchone()[0]
            if version == _VERSION:
                return
            if version > _VERSION:
                raise StoreError(f"{self._path} was written by a newer version of the suite.")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"pragma user_version = {_VERSION}")

    def _size(self) -> int:
        page, pages, free = (
            int(self._db.execute(f"pragma {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
        return page * (pages - free)

    def _drop_oldest(self) -> bool:
        """A tenth of the records, those that were not used for longest."""
        gone = self._db.execute(
            "delete from records where rowid in (select rowid from records order by used"
            " limit (select 1 + count(*) / 10 from records))"
        )
        return gone.rowcount > 0

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("rollback")
            raise

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise StoreError(f"The store {self._path.name} cannot be used: {exc}.") from exc


class Store:
    """The database for the event loop: opened when it is first wanted, and again when it failed."""

    def __init__(
        self, open_database: Callable[[], Database], *, answer_s: float = ANSWER_S
    ) -> None:
        self._open = open_database
        self._answer_s = answer_s
        self._database: Database | None = None
        self._thread = ThreadPoolExecutor(1, "store")
        self._late: Future[Any] | None = None

    async def do(self, work: Callable[[Database], T]) -> T:
        """What ``work`` gives. Raises StoreError, also when the disk does not answer in time."""
        if self._late is not None and not self._late.done():
            raise StoreError("The disk under the store does not answer.")
        doing = asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)
        doing.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(self._answer_s):
                return await asyncio.shield(doing)
        except TimeoutError as exc:
            self._late = doing
            raise StoreError("The disk under the store does not answer.") from exc

    def close(self) -> None:
        """Whatever is being written is written; nobody waits for a disk that hangs."""
        if self._database is not None:
            self._thread.submit(self._database.close)
        self._thread.shutdown(wait=False)

    def _work(self, work: Callable[[Database], T]) -> T:
        if self._database is not None and not self._database.there:
            self._database.close()
            self._database = None
        if self._database is None:
            self._database = self._open()
        try:
            return work(self._database)
        except StoreError:
            self._database.close()
            self._database = None
            raise
