"""What changes the world. Only :mod:`.registry` imports this module, only the gate calls it;
a test reads the whole package and proves both.

An executor either returns what it did, raises :class:`Failed` (it is certain that nothing, or
nothing more than the message says, was done) or anything else: then nobody knows, and the request
ends as ``unknown``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_ai_suite.messages import tr
from local_ai_suite.repository.program import run

from .bound import ABSENT
from .places import replace_in
from .redact import redact
from .references import NotMade, make_branch

# A slow line to a far GitHub; gh has no timeout of its own.
GH_SECONDS = 60.0
_MOST_ANSWER = 16 * 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SHOWN_ERROR = 2000


class Failed(Exception):
    """The action did not happen."""


@dataclass(frozen=True, slots=True)
class Execution:
    """The stored record, as an executor gets it. ``programs``: name -> absolute bound path."""

    arguments: dict[str, Any]
    cwd: Path
    environment: dict[str, str]
    programs: dict[str, str]


def comment(execution: Execution) -> dict[str, Any]:
    """``gh issue comment``; the text goes through stdin, never through argv."""
    words = ["issue", "comment", _issue(execution), "--repo", _repo(execution), "--body-file", "-"]
    return {"url": _gh(execution, words, execution.arguments["body"]).strip()}


def tick_checklist(execution: Execution) -> dict[str, Any]:
    """Replace the issue's text, if it is still the text that the person saw."""
    issue, repo = _issue(execution), _repo(execution)
    answer = _gh(execution, ["issue", "view", issue, "--repo", repo, "--json", "body"], "")
    now = str(json.loads(answer)["body"])
    if _sha256(now) != _sha256(execution.arguments["old_body"]):
        raise Failed(tr("the issue's text was changed since; make the plan anew"))
    words = ["issue", "edit", issue, "--repo", repo, "--body-file", "-"]
    return {"url": _gh(execution, words, execution.arguments["new_body"]).strip()}


def close_issue(execution: Execution) -> dict[str, Any]:
    words = ["issue", "close", _issue(execution), "--repo", _repo(execution)]
    _gh(execution, [*words, "--reason", execution.arguments["reason"]], "")
    return {"closed": int(_issue(execution))}


def create_branch(execution: Execution) -> dict[str, Any]:
    """A new ref in the local repository. No checkout, no push, no hook, nothing overwritten."""
    branch, commit = execution.arguments["branch"], execution.arguments["commit"]
    git = Path(execution.programs["git"])
    try:
        make_branch(execution.cwd, branch, commit, git=git)
    except NotMade as exc:
        raise Failed(str(exc)) from exc
    return {"branch": branch, "commit": commit}


def write_file(execution: Execution) -> dict[str, Any]:
    """Replace one file in one step, reached from the working directory without any link."""
    *folders, name = str(execution.arguments["path"]).split("/")
    content = str(execution.arguments["content"]).encode()
    here = os.open(execution.cwd, _FOLDER)
    try:
        _refuse_git_folder(here, str(execution.cwd))
        for folder in folders:
            try:
                with suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=here)
                    os.fsync(here)
                inner = os.open(folder, _FOLDER, dir_fd=here)
            except OSError as exc:
                raise Failed(
                    tr(
                        "{folder} is not a plain folder: {strerror}",
                        folder=folder,
                        strerror=exc.strerror,
                    )
                ) from exc
            os.close(here)
            here = inner
            _refuse_git_folder(here, folder)
        _replace(here, name, content, execution.arguments["old_sha256"])
        os.fsync(here)
    finally:
        os.close(here)
    return {"path": execution.arguments["path"], "bytes": len(content)}


def _refuse_git_folder(folder: int, name: str) -> None:
    """A bare repository inside of a project has no ``.git`` in its path, and hooks all the same."""
    entries = set(os.listdir(folder))
    if {"HEAD", "objects", "refs"} <= entries or {"HEAD", "commondir"} <= entries:
        raise Failed(tr("{name} is a git folder; nothing is written there", name=name))


def _replace(folder: int, name: str, content: bytes, old_sha256: str) -> None:
    old: os.stat_result | None = None
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        found = ABSENT
    except OSError as exc:
        raise Failed(
            tr("{name} is not a plain file: {strerror}", name=name, strerror=exc.strerror)
        ) from exc
    else:
        with os.fdopen(descriptor, "rb") as file:
            old = os.fstat(descriptor)
            if not stat.S_ISREG(old.st_mode):
                raise Failed(tr("{name} is not a plain file", name=name))
            found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != old_sha256:
        raise Failed(tr("{name} was changed since", name=name))
    mode, group = (stat.S_IMODE(old.st_mode), old.st_gid) if old else (None, None)
    try:
        replace_in(folder, name, content, mode=mode, group=group)
    except OSError as exc:
        raise Failed(
            tr(
                "{name} could not be written: {strerror}; it is as it was",
                name=name,
                strerror=exc.strerror,
            )
        ) from exc


def _gh(execution: Execution, words: list[str], stdin: str) -> str:
    """gh, outside any repository, so that no repository's configuration is read.

    Raises :class:`Failed` when it says no; a timeout stays a ``TimeoutError``.
    """
    environment = {
        **execution.environment,
        "GH_PROMPT_DISABLED": "1",
        "GH_NO_UPDATE_NOTIFIER": "1",
        "NO_COLOR": "1",
    }
    with tempfile.TemporaryDirectory(prefix="lais-gh-") as nowhere:
        try:
            done = run(
                [execution.programs["gh"], *words],
                cwd=Path(nowhere),
                environment=environment,
                seconds=GH_SECONDS,
                most=_MOST_ANSWER,
                stdin=stdin.encode(),
            )
        except OSError as exc:
            if isinstance(exc, TimeoutError):
                raise
            raise Failed(tr("gh could not be started: {reason}", reason=exc)) from exc
    if done.cut or done.code < 0:
        raise RuntimeError(tr("gh was stopped in the middle (signal {number})", number=-done.code))
    if done.code:
        said = redact((done.err or done.out.decode("utf-8", "replace")).strip())[:_SHOWN_ERROR]
        raise Failed(tr("{name} ended with {code}: {said}", name="gh", code=done.code, said=said))
    return done.out.decode("utf-8", "replace")


def _issue(execution: Execution) -> str:
    return str(execution.arguments["issue"])


def _repo(execution: Execution) -> str:
    return str(execution.arguments["repository"])


def _sha256(text: str) -> str:
    """GitHub stores what was typed: CRLF and LF are the same text there."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()
