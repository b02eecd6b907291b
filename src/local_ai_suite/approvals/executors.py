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
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_ai_suite.messages import tr

from .redact import redact

# A slow line to a far GitHub; gh has no timeout of its own.
GH_SECONDS = 60.0
GIT_SECONDS = 30.0  # one ref; a network file system may be slow
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
    """A new ref in the local repository. No checkout, no push, no hook, nothing overwritten.

    ``update-ref`` with forty zeros as the old value fails when the branch exists. The repository's
    configuration is read, and nothing in it that names a program is used by this command: hooks
    are pointed away, the file monitor is off.
    """
    arguments = execution.arguments
    zero = "0" * len(arguments["commit"])
    ref = f"refs/heads/{arguments['branch']}"
    words = ["update-ref", "-m", "lais plan", ref, arguments["commit"], zero]
    safe = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]
    environment = {
        **execution.environment,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
    }
    _run([execution.programs["git"], *safe, *words], execution.cwd, environment, "", GIT_SECONDS)
    return {"branch": arguments["branch"], "commit": arguments["commit"]}


def write_file(execution: Execution) -> dict[str, Any]:
    """Replace one file in one step, reached from the working directory without any link."""
    *folders, name = str(execution.arguments["path"]).split("/")
    content = str(execution.arguments["content"]).encode()
    here = os.open(execution.cwd, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for folder in folders:
            with suppress(FileExistsError):
                os.mkdir(folder, dir_fd=here)
            try:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                inner = os.open(folder, flags, dir_fd=here)
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
        _replace_in(here, name, content, execution.arguments["old_sha256"])
    finally:
        os.close(here)
    return {"path": execution.arguments["path"], "bytes": len(content)}


def _replace_in(folder: int, name: str, content: bytes, old_sha256: str) -> None:
    mode = 0o644
    try:
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        found = "absent"
    except OSError as exc:
        raise Failed(
            tr("{name} is not a plain file: {strerror}", name=name, strerror=exc.strerror)
        ) from exc
    else:
        with os.fdopen(old, "rb") as file:
            found = hashlib.sha256(file.read()).hexdigest()
            mode = stat.S_IMODE(os.fstat(old).st_mode)
    if found != old_sha256:
        raise Failed(tr("{name} was changed since", name=name))
    new = f".{name}.lais"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)


def _gh(execution: Execution, words: list[str], stdin: str) -> str:
    """gh, outside any repository, so that no repository's configuration is read."""
    environment = {
        **execution.environment,
        "GH_PROMPT_DISABLED": "1",
        "GH_NO_UPDATE_NOTIFIER": "1",
        "NO_COLOR": "1",
    }
    with tempfile.TemporaryDirectory(prefix="lais-gh-") as nowhere:
        command = [execution.programs["gh"], *words]
        return _run(command, Path(nowhere), environment, stdin, GH_SECONDS)


def _run(
    command: list[str], cwd: Path, environment: dict[str, str], stdin: str, seconds: float
) -> str:
    """Raises :class:`Failed` when the program says no; a timeout stays a ``TimeoutExpired``."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
            start_new_session=True,  # a Ctrl-C at the prompt must not cut it in the middle
        )
    except OSError as exc:
        raise Failed(
            tr("{command} could not be started: {exc}", command=command[0], exc=exc)
        ) from exc
    if done.returncode < 0:
        raise RuntimeError(
            tr(
                "{name} was killed by signal {number}",
                name=Path(command[0]).name,
                number=-done.returncode,
            )
        )
    if done.returncode:
        said = redact((done.stderr or done.stdout).strip())[:_SHOWN_ERROR]
        raise Failed(
            tr(
                "{name} ended with {code}: {said}",
                name=Path(command[0]).name,
                code=done.returncode,
                said=said,
            )
        )
    return done.stdout


def _issue(execution: Execution) -> str:
    return str(execution.arguments["issue"])


def _repo(execution: Execution) -> str:
    return str(execution.arguments["repository"])


def _sha256(text: str) -> str:
    """GitHub stores what was typed: CRLF and LF are the same text there."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()
