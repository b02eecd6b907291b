"""What a person types to name a model on the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

from . import recommended

# The hub's own rule for names of users and repositories.
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_LONGEST_NAME = 255 - len(".part-0123456789ab")  # bytes: NAME_MAX of every file system in use
_SHOWN = 80
_REPO = re.compile(rf"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9._/-]{1,200}")
_PAGE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/(?:resolve|blob)/(?P<revision>[^/]+)/(?P<file>.+)")
_SHORTHANDS = ("hf.co/", "huggingface.co/", "hf://")


@dataclass(frozen=True, slots=True)
class Reference:
    """A file of a repository. ``file`` is ``None`` or a quantization where none was named."""

    repo: str
    file: str | None = None
    revision: str = "main"

    @property
    def words(self) -> str:
        """As a person would type it."""
        at = "" if self.revision == "main" else f"@{self.revision}"
        return f"{self.repo}{at}" + (f":{self.file}" if self.file else "")


def parse(text: str) -> Reference:
    """``NAME`` of the catalogue, ``user/repo:file``, ``user/repo``, or a page's address.

    ``user/repo@revision:file`` names a branch or a commit; ``user/repo:Q4_K_M`` a quantization.
    Raises :class:`UsageError`.
    """
    text = text.strip()
    entry = recommended.find(text)
    if entry is not None and entry.repo is not None:
        return Reference(entry.repo, entry.file)
    if "://" in text and not text.startswith("hf://"):
        return _from_address(text)
    for shorthand in _SHORTHANDS:
        text = text.removeprefix(shorthand)
    repo, _, file = text.partition(":")
    repo, _, revision = repo.partition("@")
    if not _REPO.fullmatch(repo):
        near = recommended.near(text)
        raise UsageError(
            tr("{text!r} is neither a recommended model nor user/repo:file", text=text),
            hint=tr("Did you mean {near}?", near=near)
            if near
            else tr(
                "`lais models recommended` lists the short names; any other model is "
                "user/repo:file.gguf, as on its Hugging Face page."
            ),
        )
    return _checked(repo, file or None, revision or "main")


def _from_address(text: str) -> Reference:
    page = _PAGE.fullmatch(unquote(urlsplit(text).path))
    if not page:
        raise UsageError(
            tr("{text!r} is not the address of a file on the hub", text=text),
            hint=tr("Copy the address of the file's own page: it has /blob/ or /resolve/ in it."),
        )
    return _checked(page["repo"], page["file"], page["revision"])


def is_file_name(name: str) -> bool:
    """Whether a file, with the mark of a download behind its name, can be called so anywhere."""
    parts = PurePosixPath(name).parts
    return name.isprintable() and all(len(part.encode()) <= _LONGEST_NAME for part in parts)


def _checked(repo: str, file: str | None, revision: str) -> Reference:
    path = PurePosixPath(file or "")
    if path.is_absolute() or ".." in path.parts or not is_file_name(file or ""):
        raise UsageError(
            tr("{file!r} is not a file name", file=(file or "")[:_SHOWN]),
            hint=tr("Give the path inside the repository, as its page shows it."),
        )
    if not _REPO.fullmatch(repo) or not _REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(
            tr(
                "{repo}@{revision} is not a repository and a revision", repo=repo, revision=revision
            ),
            hint=tr("Write user/repo:file, or user/repo@revision:file."),
        )
    return Reference(repo, file, revision)
