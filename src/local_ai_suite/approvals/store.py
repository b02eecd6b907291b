"""The queue on the disk: one SQLite file (WAL, mode 600), each row sealed with the approver's key.

A row whose seal doesn't fit was not written by this program and is never acted on. What is bound
(``record``) never changes; what happens to it (``progress``) changes by :meth:`Store.move` only,
inside one transaction that starts with a write lock.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr

from .canonical import canonical, digest, parse
from .clock import Moment
from .places import PRIVATE_FILE, check_private
from .policy import Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LAYOUT = 1
# Another terminal's transaction takes milliseconds; a disk that hangs this long is an error.
_BUSY_SECONDS = 15.0
_TABLE = """
CREATE TABLE IF NOT EXISTS requests (
  id TEXT PRIMARY KEY,
  content_key TEXT NOT NULL,
  state TEXT NOT NULL,
  principal TEXT NOT NULL,
  created REAL NOT NULL,
  record TEXT NOT NULL,
  progress TEXT NOT NULL,
  seal TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_state ON requests (state, created);
CREATE INDEX IF NOT EXISTS by_content ON requests (content_key, state);
"""
_AFTER_ALL = "\U0010ffff"  # what begins with a text lies between it and it with this at its end
# Younger than layout 1, and no part of it: an older version neither needs nor minds it.
_BY_TIME = "CREATE INDEX IF NOT EXISTS by_time ON requests (created, principal)"


class State(StrEnum):
    """Where a request is on its way; it never goes back."""

    PENDING = "pending"
    APPROVED = "approved"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    EXPIRED = "expired"


MOVES: dict[State, frozenset[State]] = {
    State.PENDING: frozenset({State.APPROVED, State.REJECTED, State.EXPIRED}),
    State.APPROVED: frozenset({State.EXECUTING, State.REJECTED, State.EXPIRED, State.UNKNOWN}),
    State.EXECUTING: frozenset({State.DONE, State.FAILED, State.UNKNOWN}),
    State.DONE: frozenset(),
    State.FAILED: frozenset(),
    State.UNKNOWN: frozenset(),
    State.REJECTED: frozenset(),
    State.EXPIRED: frozenset(),
}
OPEN = (State.PENDING, State.APPROVED, State.EXECUTING)


@dataclass(frozen=True, slots=True)
class Request:
    """One row. ``record`` is what is bound; ``progress`` is what happened to it since.

    ``progress``: ``level`` and ``reasons`` when asked; ``created`` and ``approved`` moments;
    ``decided_by``, ``approved_level``, ``reason``, ``outcome``.
    """

    id: str
    state: State
    record: dict[str, Any]
    progress: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what was asked for: an approval is for this and nothing else."""
        return digest(self.record)

    @property
    def action(self) -> str:
        """The action's name, such as ``write_file``."""
        return str(self.record["action"])

    @property
    def arguments(self) -> dict[str, Any]:
        """The action's arguments as they were asked for; a copy."""
        return dict(self.record["arguments"])

    @property
    def principal(self) -> str:
        """Who asked."""
        return str(self.record["principal"])

    @property
    def level(self) -> Level:
        """How much it may harm, as judged when it was asked for."""
        return Level(int(self.progress["level"]))

    @property
    def created(self) -> Moment:
        """When it was asked for."""
        return Moment.from_list(self.progress["created"])

    @property
    def approved(self) -> Moment | None:
        """When a person approved it; ``None`` as long as nobody has."""
        value = self.progress.get("approved")
        return Moment.from_list(value) if value else None


def content_key(record: dict[str, Any]) -> str:
    """The same for two requests of the same thing: what is bound, less what is new each time."""
    fresh = {"nonce", "justification", "session"}
    return digest({name: value for name, value in record.items() if name not in fresh})


class Store:
    """Open (and make) the queue at ``path``.

    Raises :class:`ApprovalError` when the file is damaged: nothing in it is used then.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE))
        check_private(path)
        with self._mapped():
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            with self._mapped():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        (layout,) = run("PRAGMA user_version").fetchone()
        if layout not in {0, _LAYOUT}:
            raise ApprovalError(
                tr(
                    "{path} has layout {layout}; this version knows {known}",
                    path=self._path,
                    layout=layout,
                    known=_LAYOUT,
                ),
                hint=tr("A newer version of the suite wrote it: use that one."),
            )
        if layout == 0:
            self._connection.executescript(_TABLE)
            run(f"PRAGMA user_version = {_LAYOUT}")
        run(_BY_TIME)

    def check(self) -> None:
        """Read the whole file; raises :class:`ApprovalError` when it is damaged anywhere.

        What is used is checked whenever it is: SQLite finds a file cut short, the seal any row.
        """
        with self._mapped():
            (whole,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
            if whole != "ok":
                raise sqlite3.DatabaseError(whole)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, with the write lock from the first moment on."""
        with self._mapped():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def add(self, request: Request) -> None:
        with self._mapped():
            self._connection.execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._columns(request)
            )

    def move(self, request: Request, state: State, **progress: Any) -> Request:
        """Write ``request`` in its new state; call it inside :meth:`transaction` only."""
        if state not in MOVES[request.state]:
            raise ApprovalError(
                tr(
                    "request {id} is {state}, and that never becomes {wanted}",
                    id=request.id,
                    state=request.state,
                    wanted=state,
                ),
                hint=tr("`lais approvals show {id}` tells what happened to it.", id=request.id),
            )
        moved = replace(request, state=state, progress={**request.progress, **progress})
        self._connection.execute(
            "UPDATE requests SET id = ?, content_key = ?, state = ?, principal = ?, created = ?, "
            "record = ?, progress = ?, seal = ? WHERE id = ?",
            (*self._columns(moved), request.id),
        )
        return moved

    def get(self, request_id: str) -> Request:
        """One request, its seal checked. A unique beginning of an id is enough."""
        pattern = request_id.strip().lower()
        with self._mapped():
            rows = self._connection.execute(
                "SELECT * FROM requests WHERE id >= ? AND id < ? LIMIT 2",
                (pattern, pattern + _AFTER_ALL),
            ).fetchall()
        if len(rows) != 1 or not pattern:
            what = "more than one request" if rows else "no request"
            raise ApprovalError(
                tr("{what} begins with {request_id!r}", what=what, request_id=request_id),
                hint=tr("`lais approvals list` shows the ids."),
            )
        if not self._sealed(rows[0]):
            raise ApprovalError(
                tr(
                    "request {rows!r} was changed from outside: its seal is broken", rows=rows[0][0]
                ),
                hint=tr(
                    "Nothing of it is run. docs/guides/approvals.md, 'Broken', says how to go on."
                ),
            )
        return self._read(rows[0])

    def find(
        self, *states: State, content: str | None = None, principal: str | None = None
    ) -> list[Request]:
        """Requests in any of ``states`` (none given: all), oldest first.

        Rows that were tampered with are left out; :meth:`tampered` names them.
        """
        where = [f"state IN ({','.join('?' * len(states))})"] if states else []
        values: list[Any] = list(states)
        for column, value in (("content_key", content), ("principal", principal)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        clause = f" WHERE {' AND '.join(where)}" if where else ""
        with self._mapped():
            rows = self._connection.execute(
                f"SELECT * FROM requests{clause} ORDER BY created, id",  # noqa: S608 (our words)
                values,
            ).fetchall()
        return [self._read(row) for row in rows if self._sealed(row)]

    def tampered(self) -> list[str]:
        """The ids of rows that this program didn't write."""
        with self._mapped():
            rows = self._connection.execute("SELECT * FROM requests").fetchall()
        return [str(row[0]) for row in rows if not self._sealed(row)]

    def count_since(self, wall: float, principal: str) -> int:
        with self._mapped():
            (count,) = self._connection.execute(
                "SELECT count(*) FROM requests WHERE created > ? AND principal = ?",
                (wall, principal),
            ).fetchone()
        return int(count)

    def _columns(self, request: Request) -> tuple[Any, ...]:
        unsealed = (
            request.id,
            content_key(request.record),
            str(request.state),
            request.principal,
            request.created.wall,
            canonical(request.record).decode(),
            canonical(request.progress).decode(),
        )
        return (*unsealed, self._seal(unsealed))

    def _seal(self, columns: tuple[Any, ...]) -> str:
        text = canonical(list(columns))
        return hmac.new(self._key, b"row:" + text, hashlib.sha256).hexdigest()

    def _sealed(self, row: tuple[Any, ...]) -> bool:
        try:
            return hmac.compare_digest(self._seal(row[:-1]), str(row[-1]))
        except (ValueError, TypeError):
            return False

    def _read(self, row: tuple[Any, ...]) -> Request:
        return Request(row[0], State(row[2]), parse(row[5]), parse(row[6]))

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) and "busy" not in str(exc):
                raise self._damaged(exc) from exc
            raise ApprovalError(
                tr(
                    "{path} is in use by another process since {seconds:.0f} s",
                    path=self._path,
                    seconds=_BUSY_SECONDS,
                ),
                hint=tr("Close the other terminal's `lais approvals`, then try again."),
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise self._damaged(exc) from exc

    def _damaged(self, exc: Exception) -> ApprovalError:
        return ApprovalError(
            tr("the queue {path} is damaged ({exc}); nothing was run", path=self._path, exc=exc),
            hint=tr(
                "Move {name} and its -wal and -shm files away and ask again: what was "
                "waiting must be asked for anew. The audit log beside it still tells what "
                "was done.",
                name=self._path.name,
            ),
        )
