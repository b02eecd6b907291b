"""One file from the hub into a folder: resumed, hashed, bounded, and only then under its name.

The bytes go to ``NAME.part-HASH`` beside the target (the start of the SHA-256 that the hub
announced, so that a file that changed on the hub never goes on from an old part). A part file
survives everything: Ctrl-C, a cut connection, a full disk, a reboot. What was there is hashed
again before it is trusted. A resumed file whose hash is wrong is fetched once more from the start.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

from local_ai_suite.errors import ModelError, NetworkError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from .hub import Hub, RemoteFile
    from .reference import Reference

T = TypeVar("T")

_CHUNK = 1 << 20
_MAGIC = b"GGUF"
# Attempts in a row that bring nothing; one that brings bytes starts the count again.
_MOST_FRUITLESS = 5
_WAITS = (1.0, 2.0, 5.0, 10.0)  # seconds before the next attempt: a router restarts in about 20
_MOST_QUESTIONS = 3  # before the first byte a person sits and waits
_LONGEST_WAIT = 60.0  # what Retry-After may ask for before the person is told instead
# Slower than this over the window, the connection is taken as stuck and made anew.
_SLOWEST = 1024  # bytes a second: an 8B model would take two months
_SLOW_WINDOW = 60.0


class Watcher(Protocol):
    """Who watches a download: a progress bar, sparse lines, or a test."""

    def start(self, name: str, total: int | None, done: int) -> None: ...
    def advance(self, count: int) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Clock, sleep and bounds, for the tests to set."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    slowest: int = _SLOWEST
    slow_window: float = _SLOW_WINDOW
    most_fruitless: int = _MOST_FRUITLESS


@dataclass(slots=True)
class Download:
    """A file on its way. ``part`` holds what has come; ``fetch`` completes and checks it."""

    hub: Hub
    reference: Reference
    remote: RemoteFile
    target: Path
    watcher: Watcher
    limits: Limits = field(default_factory=Limits)

    @property
    def part(self) -> Path:
        mark = (self.remote.sha256 or "unknown")[:12]
        return self.target.with_name(f"{self.target.name}.part-{mark}")

    @property
    def bytes_there(self) -> int:
        try:
            return self.part.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return 0

    @property
    def bytes_left(self) -> int:
        return max(0, (self.remote.size or 0) - self.bytes_there)

    def fetch(self) -> str:
        """Bring the part file to its whole length; its SHA-256. It keeps its part name.

        Raises :class:`NetworkError`, :class:`ModelError`.
        """
        with _locked(self.part) as stream:
            part = _Part(stream, self.part)
            if not self._is_of_use(part):
                part.empty()
            resumed = part.size > 0
            digest = self._complete(part)
            if resumed and self.remote.sha256 not in {None, digest}:
                self.watcher.note(
                    tr("the kept part was damaged: starting again from the first byte")
                )
                part.empty()
                digest = self._complete(part)
            if self.remote.sha256 in {None, digest}:
                return digest
            self.part.unlink(missing_ok=True)
        raise NetworkError(
            tr(
                "{name}: the bytes that came are not the hub's (SHA-256 {digest}..., "
                "expected {sha256}...); they are deleted",
                name=self.target.name,
                digest=digest[:12],
                sha256=(self.remote.sha256 or "")[:12],
            ),
            hint=tr(
                "Repeat the command. If it happens again, a proxy or a mirror changes the file."
            ),
        )

    def _is_of_use(self, part: _Part) -> bool:
        """Whether to go on from it: only with a hash that will tell whether it was right."""
        too_long = self.remote.size is not None and part.size > self.remote.size
        return self.remote.sha256 is not None and not too_long

    def _complete(self, part: _Part) -> str:
        """Ask, and ask again from where it broke off, until the length is reached."""
        self.watcher.start(self.target.name, self.remote.size, 0)
        part.read_again(self.watcher.advance)
        furthest, fruitless = part.size, 0
        while not part.size or part.size != self.remote.size:
            try:
                if self._attempt(part):
                    break
            except NetworkError as exc:
                # A server that always breaks off at the same place brings nothing.
                fruitless = 0 if part.size > furthest else fruitless + 1
                furthest = max(furthest, part.size)
                self._wait_or_give_up(exc, fruitless)
        part.sync()
        return part.digest

    def _attempt(self, part: _Part) -> bool:
        """One request. True when the file is whole; false when it must begin anew."""
        url = self.hub.address(self.reference, self.remote.path)
        with self.hub.open("GET", url, about=self.reference, start=part.size) as answer:
            if part.size and not _continues(answer, part.size, self.remote.size):
                # The server knows no ranges (200), or the part fits nothing there (416).
                part.empty()
                self.watcher.start(self.target.name, self.remote.size, 0)
                if answer.status_code != 200:
                    return False
            elif not part.size and answer.status_code != 200:
                raise NetworkError(
                    tr(
                        "{host} answers {status} to a plain request for {name}",
                        host=answer.url.host,
                        status=answer.status_code,
                        name=self.target.name,
                    ),
                    hint=tr("Try again later, or set HF_ENDPOINT to another mirror."),
                )
            self._take(answer, part)
        if self.remote.size is not None and part.size < self.remote.size:
            raise NetworkError(
                tr(
                    "the connection broke off after {size:,} of {all:,} bytes",
                    size=part.size,
                    all=self.remote.size,
                ),
                hint=tr("Repeat the command: it goes on from there."),
                again=True,
            )
        return True

    def _take(self, answer: httpx.Response, part: _Part) -> None:
        pace = _Pace(self.limits, self.target.name)
        # As they come: of pieces of a fixed size, a cut would lose the last, unfinished one.
        for chunk in answer.iter_raw():
            if not part.size:
                _check_magic(chunk, self.target.name)
            if self.remote.size is not None and part.size + len(chunk) > self.remote.size:
                part.empty()
                raise NetworkError(
                    tr(
                        "{name}: more bytes came than the {size:,} that the hub announced",
                        name=self.target.name,
                        size=self.remote.size,
                    ),
                    hint=tr("A proxy or a mirror changes the file; try without it."),
                )
            part.append(chunk)
            self.watcher.advance(len(chunk))
            pace.check(len(chunk))

    def _wait_or_give_up(self, error: NetworkError, fruitless: int) -> None:
        try:
            wait_or_give_up(error, fruitless, self.watcher, self.limits)
        except NetworkError:
            if (kept := self.bytes_there) and error.details.get("again"):
                error.hint = tr(
                    "{kept:,} bytes are kept: the same command goes on. {hint}",
                    kept=kept,
                    hint=error.hint,
                )
            raise


def wait_or_give_up(error: NetworkError, fruitless: int, watcher: Watcher, limits: Limits) -> None:
    """Wait before the next attempt, as long as the server asks; or raise ``error``."""
    wait = _WAITS[min(max(fruitless, 1), len(_WAITS)) - 1]
    asked = error.details.get("wait") or 0
    again = error.details.get("again") and asked <= _LONGEST_WAIT
    if not again or fruitless >= limits.most_fruitless:
        raise error
    wait = max(wait, float(asked))
    watcher.note(tr("{message}; trying again in {wait:g} s", message=error.message, wait=wait))
    limits.sleep(wait)


def patiently(ask: Callable[[], T], watcher: Watcher, limits: Limits) -> T:
    """What ``ask`` returns; a hub that is busy or lost for a moment is asked again."""
    fewer = replace(limits, most_fruitless=_MOST_QUESTIONS)
    asked = 0
    while True:
        try:
            return ask()
        except NetworkError as exc:
            asked += 1
            wait_or_give_up(exc, asked, watcher, fewer)


class _Part:
    """The part file and the SHA-256 of what is in it."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        self._hash = hashlib.sha256()
        self.size = os.fstat(stream.fileno()).st_size

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def read_again(self, advance: Callable[[int], None]) -> None:
        """Hash what is there, and stand at its end."""
        self._hash = hashlib.sha256()
        self._stream.seek(0)
        while chunk := self._stream.read(_CHUNK):
            self._hash.update(chunk)
            advance(len(chunk))

    def empty(self) -> None:
        self._stream.truncate(0)
        self._stream.seek(0)
        self._hash = hashlib.sha256()
        self.size = 0

    def append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            written = self._write(rest)
            self._hash.update(rest[:written])
            self.size += written
            rest = rest[written:]

    def sync(self) -> None:
        os.fsync(self._stream.fileno())

    def _write(self, piece: memoryview) -> int:
        try:
            return self._stream.write(piece)
        except OSError as exc:
            full = exc.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
            what = tr("the disk is full") if full else exc.strerror
            raise ModelError(
                tr(
                    "{path} cannot be written after {size:,} bytes: {what}",
                    path=self._path,
                    size=self.size,
                    what=what,
                ),
                hint=tr(
                    "{first} and repeat the command: it goes on from there. To give up, delete "
                    "{name}.",
                    first=tr("Make room") if full else tr("Check the disk"),
                    name=self._path.name,
                ),
                path=str(self._path),
            ) from exc


class _Pace:
    """Notices a connection that lives and brings next to nothing."""

    def __init__(self, limits: Limits, name: str) -> None:
        self._limits, self._name = limits, name
        self._since, self._bytes = limits.clock(), 0

    def check(self, count: int) -> None:
        self._bytes += count
        passed = self._limits.clock() - self._since
        if passed < self._limits.slow_window:
            return
        if self._bytes < self._limits.slowest * passed:
            raise NetworkError(
                tr(
                    "{name} comes at {rate:.0f} bytes a second",
                    name=self._name,
                    rate=self._bytes / passed,
                ),
                hint=tr("Try another network or, with HF_ENDPOINT, a mirror."),
                again=True,
            )
        self._since, self._bytes = self._limits.clock(), 0


@contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """The part file, open to read and write; two commands never write to the same one."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise ModelError(
            tr(
                "{parent} cannot be written to: {strerror}",
                parent=part.parent,
                strerror=exc.strerror,
            ),
            hint=tr("MODELS_DIR in .env must name a folder that you may write to."),
            path=str(part.parent),
        ) from exc
    # Unbuffered: what a chunk's write returned is on its way to the disk, also after Ctrl-C.
    with os.fdopen(descriptor, "r+b", buffering=0) as stream:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ModelError(
                tr("another command downloads {name} just now", name=part.name),
                hint=tr("Wait for it to finish, or stop it."),
            ) from exc
        except OSError:  # a disk without locks (some network shares): go on without
            pass
        try:
            yield stream
        except BaseException:
            if os.fstat(descriptor).st_size == 0:  # nothing came: there is nothing to go on with
                part.unlink(missing_ok=True)
            raise


def _continues(answer: httpx.Response, start: int, size: int | None) -> bool:
    """Whether the answer holds exactly the bytes from ``start`` on."""
    unit, _, rest = answer.headers.get("content-range", "").partition(" ")
    span, _, total = rest.partition("/")
    here = unit == "bytes" and span.partition("-")[0] == str(start)
    return answer.status_code == 206 and here and (size is None or total in {"*", str(size)})


def _check_magic(chunk: bytes, name: str) -> None:
    if not _MAGIC.startswith(chunk[:4]) and not chunk.startswith(_MAGIC):
        raise ModelError(
            tr("{name} is not a GGUF: it begins with {chunk!r}", name=name, chunk=chunk[:16]),
            hint=tr("Pick a .gguf file; or a login page of your network came in its place."),
        )
