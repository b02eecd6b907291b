"""The errors that the suite raises on purpose: their root, and those that rooms share.

    SuiteError
    ├── UsageError            a command was called with words that don't fit          exit 2
    ├── SettingsError         a setting is wrong; names key, value, allowed, source   exit 3
    ├── ModelError            a model file is missing, broken or unsupported          exit 4
    │   └── GgufError         the file's bytes are not a valid GGUF
    ├── FitError              the plan does not fit the memory that is there          exit 4
    ├── EngineError           the inference engine failed                             exit 5
    │   ├── EngineNotFound    no engine binary is to be had
    │   └── LoadFailed        a model did not load; holds the end of the engine's log
    ├── GatewayError          the gateway failed or its configuration is wrong        exit 5
    ├── StackError            a service did not start, stop or answer                 exit 6
    │   ├── PortInUse         somebody else holds the port
    │   └── AlreadyRunning    another `up` or `down` is at work here
    ├── NetworkError          a download or a request failed                          exit 7
    │   ├── NoServer          nothing answers at the address
    │   ├── RequestRefused    the server answered with an error; details hold its status
    │   │   └── ContextOverflow   the prompt is longer than the context; both numbers known
    │   └── BadAnswer         an answer came and cannot be used: cut short, not JSON, no sense
    ├── HistoryError          the assistant's conversations cannot be read or written  exit 1
    ├── DiskError             a file of the suite cannot be read or written           exit 74
    ├── ApprovalError         an action is not approved, expired, or was changed      exit 8
    └── NotBuiltYet           a later phase                                           exit 9

A room adds errors of its own below these, or below the root, where nobody else names them
(``wire.asgi.BodyError``, ``gateway.limits.RateLimited``).

Foreign errors are mapped where they come in, with ``raise ... from exc``. An unexpected exception
is a defect: the command line prints one line with the log file's path and exits with 70.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

from local_ai_suite.messages import tr


class SuiteError(Exception):
    """An error with a stable ``code``, a message (what, where) and a hint (what to do).

    ``details`` holds JSON-able facts for ``--json``; never secrets.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The error as the ``error`` member of the JSON envelope."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            **({"details": self.details} if self.details else {}),
        }


class UsageError(SuiteError):
    """A command was called with words that don't fit, or a request was."""

    code = "usage"
    exit_code = 2
    http_status = 400


class SettingsError(SuiteError):
    """A setting is wrong. The message names key, value, what is allowed, where it was set."""

    code = "settings"
    exit_code = 3


class ModelError(SuiteError):
    """A model file is missing, broken or of no use for what is asked of it."""

    code = "model"
    exit_code = 4


class GgufError(ModelError):
    """A file's bytes are not a valid GGUF. ``details``: ``path``, and ``offset`` in bytes."""

    code = "gguf_invalid"


class FitError(SuiteError):
    """What is planned needs more memory than there is."""

    code = "does_not_fit"
    exit_code = 4
    http_status = 503


class EngineError(SuiteError):
    """The inference engine failed."""

    code = "engine"
    exit_code = 5
    http_status = 502


class EngineNotFound(EngineError):
    """No engine is to be had on this machine."""

    code = "engine_not_found"


class LoadFailed(EngineError):
    """A model did not load. ``details``: ``log``, the last lines of the engine's log."""

    code = "load_failed"
    http_status = 503


class GatewayError(SuiteError):
    """The gateway failed, or its configuration is wrong."""

    code = "gateway"
    exit_code = 5


class StackError(SuiteError):
    """A service did not start, stop or answer."""

    code = "stack"
    exit_code = 6


class PortInUse(StackError):
    """Somebody else holds a port that a service wants."""

    code = "port_in_use"


class AlreadyRunning(StackError):
    """Another ``up`` or ``down`` is at work in this project."""

    code = "already_running"


class NetworkError(SuiteError):
    """A download or a request failed."""

    code = "network"
    exit_code = 7
    http_status = 502


class NoServer(NetworkError):
    """Nothing answers at the address."""

    code = "no_server"


class RequestRefused(NetworkError):
    """``details``: ``status`` (HTTP), and the server's own ``server_code`` and ``server_type``."""

    code = "request_refused"


class ContextOverflow(RequestRefused):
    """``details``: ``prompt_tokens`` and ``context_tokens``; ``None`` where nobody said."""

    code = "context_length_exceeded"
    http_status = 400


class BadAnswer(NetworkError):
    """An answer came and cannot be used: cut short, not JSON, without sense."""

    code = "bad_answer"


class HistoryError(SuiteError):
    """The assistant's conversations cannot be read or written."""

    code = "history"


class DiskError(SuiteError):
    """A full disk, a read-only folder, a file of another user; the exit code is sysexits' EX_IOERR.

    Where the file has a story of its own (a model, `.env`), its own error is raised instead.
    """

    code = "disk"
    exit_code = 74

    @classmethod
    def of(cls, exc: OSError) -> DiskError | None:
        """``exc`` in words; ``None`` for one that is about something else."""
        hint = _FULL_OR_LOCKED.get(exc.errno or 0)
        if exc.filename is not None and exc.errno in {errno.EACCES, errno.EPERM}:
            hint = _NOT_YOURS
        if hint is None:
            return None
        place = f"{exc.filename}: " if exc.filename is not None else ""  # a full disk tells none
        return cls(tr("{place}{strerror}", place=place, strerror=exc.strerror or exc), hint=hint)


_FULL_OR_LOCKED = {
    errno.ENOSPC: tr("The disk is full: make room, then run the same command again."),
    errno.EDQUOT: tr("Your quota on this disk is used up: make room, then run the command again."),
    errno.EROFS: tr("The disk is mounted read-only: move the project to one that can be written."),
}
_NOT_YOURS = tr(
    "Does it belong to another user (was a command run with sudo)? sudo chown -R "
    "$USER on the project's folder gives it back."
)


class ApprovalError(SuiteError):
    """An action is not approved, its approval expired, or it was changed since."""

    code = "approval"
    exit_code = 8
    http_status = 403


class NotBuiltYet(SuiteError):
    """A later phase brings it."""

    code = "not_built_yet"
    exit_code = 9
    http_status = 501
