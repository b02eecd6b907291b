"""Conversations in SQLite, readable by their owner only.

A database that is broken costs the history, never the answer: every method raises
:class:`HistoryError`, which names the file, and nothing is deleted.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from local_ai_suite.errors import HistoryError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_VERSION = 1
# Another terminal may be writing its answer; a write takes milliseconds.
_BUSY_SECONDS = 5.0
_TITLE = 80
_SCHEMA = """
create table conversations (
    id integer primary key, started real not null, updated real not null, title text not null);
create table messages (
    id integer primary key,
    conversation integer not null references conversations on delete cascade,
    role text not null check (role in ('system', 'user', 'assistant')),
    content text not null,
    model text, prompt_tokens integer, completion_tokens integer, finish_reason text,
    at real not null);
create index messages_of on messages (conversation, id);
create index conversations_by_time on conversations (updated);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A conversation in a list. ``updated``: seconds since 1970; ``found``: the line that fits."""

    id: int
    updated: float
    title: str
    turns: int
    found: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation."""

    role: str
    content: str
    model: str | None
    at: float
    finish_reason: str | None = None


class History:
    """The database at ``path``; made (mode 600) when first opened."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        with self._mapped():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Before SQLite does: it never exists with other rights; -wal and -shm follow it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            path.chmod(0o600)
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._db.execute("pragma foreign_keys = on")
            self._db.execute("pragma journal_mode = wal")
            self._db.create_function("folded", 1, lambda text: str(text).casefold())
            self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _prepare(self) -> None:
        version = self._db.execute("pragma user_version").fetchone()[0]
        if version == _VERSION:
            return
        if version > _VERSION:
            raise HistoryError(
                tr("{path} was written by a newer version of the suite", path=self.path),
                hint=tr("Update the suite, or move that file away."),
            )
        with self._writing():
            # Two terminals may both find it new: the second one finds it done here.
            if self._db.execute("pragma user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"pragma user_version = {_VERSION}")

    def start(self, title: str) -> int:
        """A new conversation; its id."""
        now = self._clock()
        with self._mapped(), self._writing():
            added = self._db.execute(
                "insert into conversations (started, updated, title) values (?, ?, ?)",
                (now, now, " ".join(title.split())[:_TITLE] or "(no words)"),
            )
        return int(added.lastrowid or 0)

    def add(self, conversation: int, messages: Sequence[dict[str, Any]]) -> None:
        """Messages with ``role``, ``content`` and maybe ``model``, ``usage``, all or none."""
        now = self._clock()
        rows = [
            (
                conversation,
                message["role"],
                message["content"],
                message.get("model"),
                message.get("prompt_tokens"),
                message.get("completion_tokens"),
                message.get("finish_reason"),
                now,
            )
            for message in messages
        ]
        with self._mapped(), self._writing():
            self._db.executemany(
                "insert into messages (conversation, role, content, model, prompt_tokens,"
                " completion_tokens, finish_reason, at) values (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._db.execute(
                "update conversations set updated = ? where id = ?", (now, conversation)
            )

    def latest(self) -> int | None:
        """The conversation that was last added to."""
        with self._mapped():
            row = self._db.execute(
                "select id from conversations order by updated desc, id desc limit 1"
            ).fetchone()
        return int(row[0]) if row else None

    def messages(self, conversation: int) -> tuple[Said, ...]:
        """All messages in order. Raises :class:`HistoryError` when there is no such one."""
        with self._mapped():
            if not self._db.execute(
                "select 1 from conversations where id = ?", (conversation,)
            ).fetchone():
                raise HistoryError(
                    tr("there is no conversation {conversation}", conversation=conversation),
                    hint=tr("`lais ai log` lists them."),
                )
            rows = self._db.execute(
                "select role, content, model, at, finish_reason from messages"
                " where conversation = ? order by id",
                (conversation,),
            ).fetchall()
        return tuple(Said(*row) for row in rows)

    def entries(self, search: str = "", limit: int = 20) -> tuple[Entry, ...]:
        """The latest conversations; with ``search`` those in which a message holds it."""
        where, values = "", []
        if search:
            # instr: `%` and `_` in what is looked for mean themselves.
            where = (
                "where exists (select 1 from messages m where m.conversation = c.id"
                " and instr(folded(m.content), folded(?)) > 0)"
            )
            values = [search]
        with self._mapped():
            rows = self._db.execute(
                "select c.id, c.updated, c.title,"  # noqa: S608 (`where` is one of two constants)
                " (select count(*) from messages m where m.conversation = c.id and role = 'user')"
                f" from conversations c {where} order by c.updated desc, c.id desc limit ?",
                (*values, limit),
            ).fetchall()
            return tuple(
                Entry(number, at, title, turns, self._line(number, search))
                for number, at, title, turns in rows
            )

    def delete(self, conversation: int) -> None:
        """Forget one conversation."""
        with self._mapped(), self._writing():
            self._db.execute("delete from conversations where id = ?", (conversation,))

    def _line(self, conversation: int, search: str) -> str:
        if not search:
            return ""
        row = self._db.execute(
            "select content from messages where conversation = ?"
            " and instr(folded(content), folded(?)) > 0 order by id limit 1",
            (conversation, search),
        ).fetchone()
        wanted = search.casefold()
        lines = row[0].splitlines() if row else []
        return next((line.strip() for line in lines if wanted in line.casefold()), "")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise HistoryError(
                tr("the conversations in {path} cannot be used: {exc}", path=self.path, exc=exc),
                hint=tr("Move that file away to start a new one, or set AI_HISTORY=off in .env."),
            ) from exc
        except OSError as exc:
            raise HistoryError(
                tr(
                    "{path} cannot be opened: {strerror}",
                    path=self.path,
                    strerror=exc.strerror or exc,
                ),
                hint=tr("Make the folder writable for you, or set AI_HISTORY=off in .env."),
            ) from exc
