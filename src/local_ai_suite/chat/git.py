"""Reading a git repository without running code that its configuration names.

A repository that was unpacked from an archive brings its own ``.git/config``, which may name
programs that even ``git diff`` runs: ``core.fsmonitor``, ``diff.external``, a driver's ``textconv``
or ``command``, a filter's ``clean`` and ``process``, hooks, a pager, a promisor remote's transport.
All are turned off here, by options and by ``GIT_CONFIG_*`` (which takes any name, also one with
``=`` in it). Only these read-only commands are run.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from .sources import LARGEST_INPUT, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A diff of a very large repository takes seconds; a hanging network drive must not hang us.
GIT_TIMEOUT = 30.0
_OFF = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "core.untrackedCache": "false",
    "diff.external": "",
    "diff.ignoreSubmodules": "all",
    "log.showSignature": "false",
    "protocol.allow": "never",
    "submodule.recurse": "false",
    "color.ui": "false",
}
_DIFF = (
    "diff", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all",
    "--find-renames",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at ``folder``. Every method raises :class:`UsageError` with git's own words."""

    folder: Path

    def staged(self) -> tuple[Source, ...]:
        """What the next commit would change, one source per file."""
        return self._files("--cached")

    def changes(self, since: str | None = None) -> tuple[Source, ...]:
        """What differs from ``since`` (a revision; default HEAD), staged or not."""
        if since is None:
            return self._files("HEAD") if self._has_commits() else self._files("--cached")
        return self._files(self._revision(since))

    def branch_changes(self, base: str) -> tuple[Source, ...]:
        """What this branch changed since it left ``base``."""
        return self._files(f"{self._revision(base)}...HEAD")

    def subjects(self, count: int = 8) -> tuple[str, ...]:
        """The latest commits' first lines: the style to follow."""
        if not self._has_commits():
            return ()
        log = self._run("log", f"--max-count={count}", "--no-show-signature", "--format=%s")
        return tuple(log.splitlines())

    def _has_commits(self) -> bool:
        return self._git("rev-parse", "--verify", "--quiet", "HEAD").returncode == 0

    def _revision(self, name: str) -> str:
        # --end-of-options: a name that starts with a dash is a name.
        found = self._git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
        )
        if found.returncode:
            raise UsageError(
                tr("{name} is no revision of {folder}", name=name, folder=self.folder),
                hint=tr("Name a branch, a tag or a commit: `lais ai review main`."),
            )
        return found.stdout.decode().strip()

    def _files(self, *what: str) -> tuple[Source, ...]:
        text = self._run(*_DIFF, *what, "--")
        parts = text.split("\ndiff --git ")
        whole = [parts[0], *(f"diff --git {part}" for part in parts[1:])]
        return tuple(Source(_name(part), part.rstrip("\n") + "\n") for part in whole if part)

    def _run(self, *arguments: str) -> str:
        done = self._git(*arguments)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise UsageError(
                tr(
                    "git {arguments}: {said}",
                    arguments=arguments[0],
                    said=said[0] if said else tr("exit code {code}", code=done.returncode),
                ),
                hint=tr("Call it inside a git repository that belongs to you."),
            )
        if len(done.stdout) > LARGEST_INPUT:
            raise UsageError(
                tr(
                    "the difference is larger than {size} MiB",
                    size=LARGEST_INPUT >> 20,
                ),
                hint=tr("Look at a part of it: `git diff PATH | lais ai 'review this'`."),
            )
        return done.stdout.decode("utf-8", "replace")

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = ["git", "--no-pager", "--no-optional-locks", *arguments]
        filters = self._filters()
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=hardened(os.environ, filters),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_TIMEOUT,
                check=False,
            )
        except FileNotFoundError as exc:
            raise UsageError(tr("git is not installed"), hint=tr("Install git.")) from exc
        except subprocess.TimeoutExpired as exc:
            raise UsageError(
                tr(
                    "git {arguments} took over {seconds:.0f} s",
                    arguments=arguments[0],
                    seconds=GIT_TIMEOUT,
                )
            ) from exc

    def _filters(self) -> tuple[str, ...]:
        """The names of the filter drivers that any configuration defines (`git lfs` is one)."""
        pattern = r"^filter\..*\.(clean|smudge|process|required)$"
        try:
            listed = subprocess.run(
                ["git", "config", "-z", "--name-only", "--get-regexp", pattern],
                cwd=self.folder,
                env=hardened(os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_TIMEOUT,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return ()
        names = listed.decode("utf-8", "replace").split("\0")
        return tuple(sorted({name.rpartition(".")[0] for name in names if name}))


def hardened(environ: Mapping[str, str], filters: Sequence[str] = ()) -> dict[str, str]:
    """The environment for git: no prompts, no transports, no programs from the configuration.

    ``filters``: sections such as ``filter.lfs`` whose programs are emptied.
    """
    settings = dict(_OFF)
    for section in filters:
        settings |= {f"{section}.{key}": "" for key in ("clean", "smudge", "process")}
        settings[f"{section}.required"] = "false"
    # A GIT_DIR or GIT_EXTERNAL_DIFF of a hook that we were called from would lead elsewhere.
    kept = {key: value for key, value in environ.items() if not key.startswith("GIT_")}
    kept |= {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PAGER": "cat",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings.items()):
        kept[f"GIT_CONFIG_KEY_{number}"] = key
        kept[f"GIT_CONFIG_VALUE_{number}"] = value
    return kept


def _name(part: str) -> str:
    """The file's name of one file's diff (``+++ b/NAME``; a deleted or renamed one has others)."""
    for line in part.splitlines()[:12]:
        for start in ("+++ b/", "rename to ", "--- a/"):
            if line.startswith(start):
                return line.removeprefix(start).strip('"') + ".diff"
    first = part.splitlines()[0] if part else ""
    return (first.rpartition(" b/")[2] or "changes") + ".diff"
