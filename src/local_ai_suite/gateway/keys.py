"""Named keys: kept as SHA-256, created and revoked with ``lais keys``, compared in constant time.

The file (``keys/keys.json`` in the state folder, mode 600)::

    {"version": 1, "keys": [{"name", "sha256", "created", "requests_per_minute", "parallel"}]}

A key is 32 random bytes, so a plain SHA-256 is enough: there is nothing to guess from it. A running
gateway sees a change within a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson

from local_ai_suite.errors import GatewayError, UsageError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MASTER = "master"
LOOK_AGAIN_S = 1.0
_PREFIX = "sk-lais-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """One key without its secret. ``created`` is Unix seconds; ``None`` is "no limit"."""

    name: str
    sha256: str
    created: int
    requests_per_minute: int | None = None
    parallel: int | None = None


class KeyFile:
    """The file of named keys. A missing one is an empty one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[NamedKey, ...]:
        """All keys, oldest first. Raises GatewayError when the file is not as it should be."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise self._broken(str(exc)) from exc
        try:
            document = orjson.loads(text)
            if document["version"] != 1:
                raise self._broken(f"version {document['version']} is not known")
            keys = tuple(NamedKey(**entry) for entry in document["keys"])
            for key in keys:
                bytes.fromhex(key.sha256)
        except (ValueError, KeyError, TypeError) as exc:
            raise self._broken(str(exc)) from exc
        return keys

    def create(
        self, name: str, *, requests_per_minute: int | None = None, parallel: int | None = None
    ) -> str:
        """Add a key and return its secret, which is kept nowhere. Raises UsageError."""
        if not _NAME.fullmatch(name) or name == MASTER:
            raise UsageError(
                tr("{name!r} cannot name a key.", name=name),
                hint=tr("Up to 64 letters, digits, dots, dashes and underscores; not 'master'."),
            )
        with self._locked():
            keys = self.read()
            if any(key.name == name for key in keys):
                raise UsageError(
                    tr("There is a key {name!r} already.", name=name),
                    hint=tr("lais keys revoke NAME"),
                )
            secret = _PREFIX + secrets.token_urlsafe(32)
            digest = hashlib.sha256(secret.encode()).hexdigest()
            made = NamedKey(name, digest, int(time.time()), requests_per_minute, parallel)
            self._write((*keys, made))
        return secret

    def revoke(self, name: str) -> None:
        """Remove a key. Raises UsageError when there is none of that name."""
        with self._locked():
            keys = self.read()
            kept = tuple(key for key in keys if key.name != name)
            if len(kept) == len(keys):
                raise UsageError(
                    tr("There is no key {name!r}.", name=name), hint=tr("lais keys list")
                )
            self._write(kept)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, keys: tuple[NamedKey, ...]) -> None:
        text = orjson.dumps(
            {"version": 1, "keys": [asdict(key) for key in keys]}, option=orjson.OPT_INDENT_2
        )
        draft = self.path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        if os.geteuid() == 0:  # the gateway in a container runs as the folder's owner
            folder = self.path.parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def _broken(self, why: str) -> GatewayError:
        return GatewayError(
            tr("{path} cannot be read: {why}.", path=self.path, why=why),
            hint=tr("Remove it to start without named keys, or restore it from a copy."),
        )


class Keyring:
    """The master key and the named ones, as the guard asks for them."""

    def __init__(
        self,
        master: str | None,
        file: KeyFile | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._master = hashlib.sha256(master.encode()).digest() if master else None
        self._file = file
        self._clock = clock
        self._looked = -1e9
        self._version: tuple[int, int] | None = None
        self._named: tuple[tuple[bytes, NamedKey], ...] = ()
        self._by_name: dict[str, NamedKey] = {}
        self.problem = ""

    def check(self, token: bytes) -> str | None:
        """The name of the key that ``token`` is. Every key is compared, whichever it is."""
        self._look_again()
        digest = hashlib.sha256(token).digest()
        found = None
        for expected, key in self._named:
            if hmac.compare_digest(expected, digest):
                found = key.name
        if self._master is not None and hmac.compare_digest(self._master, digest):
            found = MASTER
        return found

    def named(self, name: str) -> NamedKey | None:
        """A named key with its limits; ``None`` for the master key, which has none."""
        return self._by_name.get(name)

    def _look_again(self) -> None:
        now = self._clock()
        if self._file is None or now - self._looked < LOOK_AGAIN_S:
            return
        self._looked = now
        try:
            status = self._file.path.stat()
            version = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            version = (0, 0)
        except OSError as exc:
            self.problem = str(exc)
            return
        if version == self._version:
            return
        try:
            keys = self._file.read()
            self.problem = ""
        except GatewayError as exc:
            self.problem = exc.message
            if isinstance(exc.__cause__, OSError):
                # No descriptor is free, or the disk fails: that passes, and says nothing about the
                # keys. The last ones hold, and the file is read again in a second.
                return
            keys = ()  # a file that makes no sense admits nobody; the master key goes on
        self._version = version
        self._named = tuple((bytes.fromhex(key.sha256), key) for key in keys)
        self._by_name = {key.name: key for key in keys}
