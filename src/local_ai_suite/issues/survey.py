"""What the repository is: its files, its history, and where the issue's words occur in it.

Files are listed from the commit (git's own list) or, without a history, by walking the folder.
Their contents are read from the folder, through no symbolic link, a bounded amount of it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from local_ai_suite.repository.files import WorkingFiles
from local_ai_suite.repository.history import Commit, files_at, log_at
from local_ai_suite.repository.worktree import find_worktree, head, remote_repository

MOST_FILES = 50_000
_LARGEST_READ = 256 * 1024  # a source file; generated ones are larger
_READ_IN_ALL = 24 * 1024 * 1024
_MOST_WORDS = 24
_MOST_HITS = 40
_RECENT = 8
_LINE = 160
# A name with a folder or an extension of letters: src/app.py, Makefile stays a word.
PATH = re.compile(
    r"(?<![\w./-])(?:\.?/)?"
    r"((?:[\w.-]+/)*[\w-][\w.-]*\.[A-Za-z]\w{0,7}|(?:[\w.-]+/)+[\w.-]+)"
)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{3,}|[가-힣]{2,}")
_SKIPPED = frozenset({".git", ".venv", "node_modules", "__pycache__", ".cache", "dist", "build"})
_COMMON = frozenset(
    """
    this that with from have will should would could must when then what which where there here
    your they them their been being were also into only more than some such each other about
    using used uses user users please issue feature phase need needs want make made work works
    http https true false none null todo
    그리고 그러나 하지만 합니다 있습니다
    없습니다 해야 대한 위해
    통해 경우 사용 이슈 기능 작업 구현 추가 필요 관련 다음 기본
    """.split()  # noqa: SIM905 (a list of words is read best as words)
)


@dataclass(frozen=True, slots=True)
class Hit:
    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Survey:
    """``commit`` and ``branch``: HEAD, ``None`` without a history. Paths use forward slashes."""

    root: Path
    files: tuple[str, ...]
    commit: str | None = None
    branch: str | None = None
    repository: str | None = None
    log: tuple[Commit, ...] = ()
    named: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    hits: tuple[Hit, ...] = ()
    candidates: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder that holds a file; the root is ``.``."""
        found = {"."}
        for path in self.files:
            parts = path.split("/")[:-1]
            found |= {"/".join(parts[: end + 1]) for end in range(len(parts))}
        return tuple(sorted(found))

    def has(self, path: str) -> bool:
        """Whether the repository has this file or folder."""
        cleaned = path.strip("/").removeprefix("./")
        return cleaned in self._known()

    def _known(self) -> frozenset[str]:
        return frozenset(self.files) | frozenset(self.folders)

    def tree(self, depth: int = 2) -> str:
        """Folders down to ``depth`` with how many files each holds, then the root's files."""
        counts: Counter[str] = Counter()
        for path in self.files:
            parts = path.split("/")[:-1][:depth]
            if parts:
                counts["/".join(parts) + "/"] += 1
        lines = [f"{folder} ({count})" for folder, count in sorted(counts.items())]
        return "\n".join([*lines, *(path for path in self.files if "/" not in path)])


def survey(start: Path, text: str) -> Survey:
    """Look at the repository around ``start`` (or the folder itself) for an issue's ``text``."""
    worktree = find_worktree(start)
    root = worktree.root if worktree else start.resolve()
    commit, branch = head(worktree) if worktree else (None, None)
    listed = files_at(worktree, commit) if worktree and commit else None
    every = _walk(root) if listed is None else listed
    files = tuple(path for path in every if _is_plain(path))[:MOST_FILES]
    known = set(files)
    paths = [match.removeprefix("./") for match in PATH.findall(text)]
    named = tuple(dict.fromkeys(_resolve(path, files, known) for path in paths))
    missing = [path for path in paths if not _resolve(path, files, known) and _is_file_name(path)]
    words = _words(text)
    hits, scores = _search(root, files, words)
    for path in named:
        scores[path] += 100
    candidates = [path for path, score in scores.most_common(12) if path in known and score > 0]
    return Survey(
        root=root,
        files=files,
        commit=commit,
        branch=branch,
        repository=remote_repository(worktree) if worktree else None,
        log=tuple(log_at(worktree, commit, _RECENT)) if worktree and commit else (),
        named=tuple(path for path in named if path),
        missing=tuple(dict.fromkeys(missing)),
        hits=hits,
        candidates=tuple(candidates or files[:12]),
    )


def _resolve(path: str, files: tuple[str, ...], known: set[str]) -> str:
    """The repository's file that ``path`` means: itself, or the only one that ends so."""
    if path in known:
        return path
    ending = [file for file in files if file.endswith(f"/{path}")]
    return ending[0] if len(ending) == 1 else ""


def _is_plain(path: str) -> bool:
    """A name that can stand in Markdown and on a terminal as it is."""
    return path.isprintable() and not set(path) & set("`|\\<>")


def _is_file_name(path: str) -> bool:
    return bool(re.search(r"\.[A-Za-z]\w{0,7}$", path)) and "://" not in path


def _words(text: str) -> list[str]:
    counted = Counter(word.lower() for word in _WORD.findall(text))
    return [word for word, _ in counted.most_common(200) if word not in _COMMON][:_MOST_WORDS]


def _search(
    root: Path, files: tuple[str, ...], words: list[str]
) -> tuple[tuple[Hit, ...], Counter[str]]:
    """Lines that hold a word (the rarest words first), and a score per file."""
    scores: Counter[str] = Counter()
    per_word: dict[str, list[Hit]] = {word: [] for word in words}
    budget = _READ_IN_ALL
    with WorkingFiles(root) as working:
        for path in files:
            lowered = path.lower()
            scores[path] += 3 * sum(word in lowered for word in words)
            text = read_inside(working, path, min(budget, _LARGEST_READ))
            budget -= len(text)
            low = text.lower()
            present = [word for word in words if word in low]
            scores[path] += len(present)
            for word in present:
                if len(per_word[word]) < _MOST_HITS:
                    number = low.count("\n", 0, low.index(word))
                    line = text.split("\n", number + 1)[number].strip()[:_LINE]
                    per_word[word].append(Hit(path, number + 1, line))
    found: dict[tuple[str, int], Hit] = {}
    for word in sorted(words, key=lambda word: len(per_word[word]) or _MOST_HITS):
        for hit in per_word[word][:4]:
            found.setdefault((hit.path, hit.line), hit)
    return tuple(found.values())[:_MOST_HITS], scores


def read_inside(files: WorkingFiles, path: str, most: int = _LARGEST_READ) -> str:
    """The start of a text file of ``files``; empty for links, binaries and what isn't there."""
    raw = files.start(path.encode(errors="surrogateescape"), most) if most > 0 else None
    return "" if raw is None or b"\0" in raw else raw.decode("utf-8", "replace")


def _walk(root: Path) -> tuple[str, ...]:
    found: list[str] = []
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if name not in _SKIPPED)
        relative = Path(folder).relative_to(root)
        found += [(relative / name).as_posix() for name in sorted(names)]
        if len(found) > MOST_FILES:
            break
    return tuple(sorted(found))
