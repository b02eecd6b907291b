"""Hostile repositories: each names a program in another way, and plain git runs it.

A trap takes a fresh repository (:func:`git_repository.make`) and the path of a program that leaves
a mark, and arms the repository. ``spring`` is the plain git that runs the program: it proves that
the trap would have worked.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from git_repository import git, plain

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Armed:
    """``entry``: where a person would stand. ``spring``: plain git, there."""

    entry: Path
    spring: Callable[[], object]


TRAPS: dict[str, Callable[[Path, str], Armed]] = {}


def trap(arm: Callable[[Path, str], Armed]) -> Callable[[Path, str], Armed]:
    TRAPS[arm.__name__] = arm
    return arm


def make_program(folder: Path, mark: Path) -> str:
    """A program that notes that it ran, and passes its input on."""
    program = folder / "trap.sh"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {mark}\ncat\n')
    program.chmod(0o755)
    return str(program)


def _armed(folder: Path, *words: str) -> Armed:
    return Armed(folder, lambda: plain(folder, *words))


def _attributes(folder: Path, line: bytes) -> None:
    (folder / ".gitattributes").write_bytes(line)
    (folder / "a.py").write_text("one = 12\n")  # read again: the same size, in the same second


def _configure(folder: Path, raw: bytes) -> None:
    with (folder / ".git" / "config").open("ab") as file:
        file.write(raw)


@trap
def file_monitor(folder: Path, program: str) -> Armed:
    git(folder, "config", "core.fsmonitor", program)
    return _armed(folder, "status")


@trap
def clean_filter(folder: Path, program: str) -> Armed:
    git(folder, "config", "filter.x.clean", program)
    _attributes(folder, b"* filter=x\n")
    return _armed(folder, "diff")


@trap
def required_process_filter(folder: Path, program: str) -> Armed:
    git(folder, "config", "filter.x.process", program)
    git(folder, "config", "filter.x.required", "true")
    _attributes(folder, b"* filter=x\n")
    return _armed(folder, "diff")


@trap
def filter_whose_name_is_no_text(folder: Path, program: str) -> Armed:
    _configure(folder, b'[filter "\xff\xfe"]\n\tclean = %s\n' % os.fsencode(program))
    _attributes(folder, b"* filter=\xff\xfe\n")
    return _armed(folder, "diff")


@trap
def filter_whose_name_has_an_equals_sign_and_a_newline_escape(folder: Path, program: str) -> Armed:
    _configure(folder, b'[filter "a=b\\"c"]\n\tclean = %s\n' % os.fsencode(program))
    _attributes(folder, b'* filter=a=b"c\n')
    return _armed(folder, "diff")


@trap
def text_converter(folder: Path, program: str) -> Armed:
    git(folder, "config", "diff.x.textconv", program)
    _attributes(folder, b"* diff=x\n")
    return _armed(folder, "diff")


@trap
def attributes_in_the_git_folder(folder: Path, program: str) -> Armed:
    git(folder, "config", "diff.x.textconv", program)
    (folder / ".git" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "info" / "attributes").write_text("* diff=x\n")
    return _armed(folder, "diff", "main...HEAD")


@trap
def attributes_by_the_configuration(folder: Path, program: str) -> Armed:
    git(folder, "config", "diff.x.textconv", program)
    (folder / "lists").write_text("* diff=x\n")
    git(folder, "config", "core.attributesFile", str(folder / "lists"))
    return _armed(folder, "diff", "--cached")


@trap
def external_difference(folder: Path, program: str) -> Armed:
    git(folder, "config", "diff.external", program)
    return _armed(folder, "diff")


@trap
def a_drivers_command(folder: Path, program: str) -> Armed:
    git(folder, "config", "diff.x.command", program)
    _attributes(folder, b"* diff=x\n")
    return _armed(folder, "diff", "--cached")


@trap
def pager(folder: Path, program: str) -> Armed:
    git(folder, "config", "core.pager", program)
    git(folder, "config", "pager.log", program)

    def spring() -> None:
        ours, theirs = pty.openpty()  # git starts a pager for a terminal only
        with subprocess.Popen(["git", "log"], cwd=folder, stdout=theirs, stdin=subprocess.DEVNULL):
            pass
        os.close(theirs)
        os.close(ours)

    return Armed(folder, spring)


@trap
def signature_program(folder: Path, program: str) -> Armed:
    raw = git(folder, "cat-file", "commit", "HEAD")
    head, _, message = raw.partition("\n\n")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    signed = f"{head}\n{signature}\n\n{message}\n".encode()
    commit = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", stdin=signed)
    git(folder, "update-ref", "refs/heads/topic", commit)
    for key in ("gpg.program", "gpg.openpgp.program"):
        git(folder, "config", key, program)
    git(folder, "config", "log.showSignature", "true")
    return _armed(folder, "log")


@trap
def alias(folder: Path, program: str) -> Armed:
    for name in ("recent", "log", "diff-index", "ls-files", "rev-parse", "cat-file"):
        git(folder, "config", f"alias.{name}", f"!{program}")
    return _armed(folder, "recent")


@trap
def hooks(folder: Path, program: str) -> Armed:
    for name in ("reference-transaction", "post-index-change", "fsmonitor-watchman", "update"):
        shutil.copy(program, folder / ".git" / "hooks" / name)
    return _armed(folder, "branch", "by-plain-git")


@trap
def hooks_elsewhere(folder: Path, program: str) -> Armed:
    (folder / "hooks").mkdir()
    shutil.copy(program, folder / "hooks" / "reference-transaction")
    git(folder, "config", "core.hooksPath", "hooks")
    return _armed(folder, "branch", "by-plain-git")


@trap
def editor(folder: Path, program: str) -> Armed:
    git(folder, "config", "core.editor", program)
    return _armed(folder, "commit", "--amend", "--allow-empty")


@trap
def included_configuration(folder: Path, program: str) -> Armed:
    (folder / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    git(folder, "config", "include.path", str(folder / "more"))
    return _armed(folder, "status")


@trap
def included_by_condition(folder: Path, program: str) -> Armed:
    (folder / "more").write_text(f"[core]\n\tfsmonitor = {program}\n")
    git(folder, "config", "includeIf.onbranch:topic.path", str(folder / "more"))
    return _armed(folder, "status")


@trap
def submodule(folder: Path, program: str) -> Armed:
    git(folder, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(folder), "inner")
    git(folder / "inner", "config", "core.fsmonitor", program)
    return _armed(folder, "status")


@trap
def linked_worktree_with_its_own_configuration(folder: Path, program: str) -> Armed:
    side = folder.parent / "side"
    git(folder, "worktree", "add", "-q", "-b", "side", str(side))
    git(folder, "config", "extensions.worktreeConfig", "true")
    git(side, "config", "--worktree", "core.fsmonitor", program)
    (side / "a.py").write_text("one = 11\n")
    return _armed(side, "status")


def _lacks_an_object(folder: Path, program: str, address: str) -> None:
    """A partial clone whose missing blob plain git fetches from ``address``."""
    hangs_up = Path(program).read_text().replace("cat\n", "exit 1\n")
    Path(program).write_text(hangs_up)  # git would wait for an answer
    git(folder, "config", "core.repositoryFormatVersion", "1")
    git(folder, "config", "extensions.partialClone", "origin")
    git(folder, "config", "remote.origin.promisor", "true")
    git(folder, "config", "remote.origin.url", address)
    for blob in (git(folder, "rev-parse", "HEAD:a.py"), git(folder, "rev-parse", "main:sub/c.py")):
        (folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()


@trap
def partial_clone_over_a_program(folder: Path, program: str) -> Armed:
    _lacks_an_object(folder, program, f"ext::{program}")
    git(folder, "config", "protocol.ext.allow", "always")
    return _armed(folder, "diff", "HEAD")


@trap
def partial_clone_with_an_upload_program(folder: Path, program: str) -> Armed:
    _lacks_an_object(folder, program, folder.as_uri())
    git(folder, "config", "remote.origin.uploadpack", program)
    return _armed(folder, "diff", "HEAD")


@trap
def partial_clone_over_ssh(folder: Path, program: str) -> Armed:
    _lacks_an_object(folder, program, "ssh://nobody@127.0.0.1/x")
    git(folder, "config", "core.sshCommand", program)
    return _armed(folder, "diff", "HEAD")


@trap
def partial_clone_through_a_proxy(folder: Path, program: str) -> Armed:
    _lacks_an_object(folder, program, "git://127.0.0.1/x")
    git(folder, "config", "core.gitProxy", program)
    return _armed(folder, "diff", "HEAD")


@trap
def credential_program(folder: Path, program: str) -> Armed:
    git(folder, "config", "credential.helper", program)
    asked = b"protocol=https\nhost=127.0.0.1\n\n"
    return Armed(folder, lambda: plain(folder, "credential", "fill", stdin=asked))


@trap
def bare_repository_in_a_subfolder(folder: Path, program: str) -> Armed:
    inner = folder / "data"
    git(folder, "clone", "-q", "--bare", str(folder), str(inner))
    git(inner, "config", "core.fsmonitor", program)
    git(inner, "config", "core.bare", "false")
    git(inner, "config", "core.worktree", str(inner))
    return _armed(inner, "status")


# What plain git follows and we refuse: the entry itself is the trap.


@trap
def git_file_that_points_elsewhere(folder: Path, program: str) -> Armed:
    git(folder, "config", "core.fsmonitor", program)
    other = folder.parent / "other"
    other.mkdir()
    (other / ".git").write_text(f"gitdir: {folder / '.git'}\n")
    return _armed(other, "status")


@trap
def git_link_that_points_elsewhere(folder: Path, program: str) -> Armed:
    git(folder, "config", "core.fsmonitor", program)
    other = folder.parent / "other"
    other.mkdir()
    (other / ".git").symlink_to(folder / ".git")
    return _armed(other, "status")


@trap
def common_folder_that_points_elsewhere(folder: Path, program: str) -> Armed:
    git(folder, "config", "core.fsmonitor", program)
    other = folder.parent / "other"
    git(folder.parent, "init", "-q", "other")
    (other / ".git" / "commondir").write_text(f"{folder / '.git'}\n")
    return _armed(other, "status")


REFUSED = {
    "git_file_that_points_elsewhere",
    "git_link_that_points_elsewhere",
    "common_folder_that_points_elsewhere",
}
