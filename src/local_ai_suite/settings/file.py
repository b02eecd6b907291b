"""Make ``.env`` out of ``.env.example``, once."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from local_ai_suite.errors import SettingsError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_ai_suite.paths import Paths

_PRIVATE = 0o600  # it holds the key
_KEY_LINE = "LITELLM_MASTER_KEY="
_KEY_BYTES = 32


def fresh_key() -> str:
    """A random key in the form that LiteLLM asks for (``sk-`` and 256 random bits)."""
    return "sk-" + secrets.token_urlsafe(_KEY_BYTES)


def ensure_env_file(paths: Paths, *, make_key: Callable[[], str] = fresh_key) -> bool:
    """Create ``.env`` with a fresh key and file mode 600; true when this call made it.

    An existing file is never changed, also when two commands start at the same time, and a
    half-written one is never seen under the name. Raises :class:`SettingsError`.
    """
    if os.path.lexists(paths.env_file):
        return False
    text = _with_key(_read_example(paths.env_example), make_key())
    draft = paths.env_file.with_name(f".env.{secrets.token_hex(4)}.new")
    try:
        _write_private(draft, text)
        return _give_name(draft, paths.env_file, text)
    except OSError as exc:
        raise SettingsError(
            tr(
                "{env_file} cannot be written: {strerror}",
                env_file=paths.env_file,
                strerror=exc.strerror or exc,
            ),
            hint=tr("Make the project folder writable, or copy .env.example to .env yourself."),
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _read_example(example: Path) -> str:
    try:
        return example.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(
            tr("{example} cannot be read: {exc}", example=example, exc=exc),
            hint=tr("It belongs to the project: `git checkout .env.example` brings it back."),
        ) from exc


def _with_key(text: str, key: str) -> str:
    lines = text.splitlines()
    if _KEY_LINE in lines:
        lines[lines.index(_KEY_LINE)] = _KEY_LINE + key
    else:
        lines.append(_KEY_LINE + key)
    return "\n".join(lines) + "\n"


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _give_name(draft: Path, target: Path, text: str) -> bool:
    """A hard link appears at once and fails when the name is taken; not every disk has links."""
    try:
        os.link(draft, target)
    except FileExistsError:
        return False
    except OSError:
        try:
            _write_private(target, text)
        except FileExistsError:
            return False
    return True
