"""`lais models pull`: which files a name means, and bringing all of them whole into the folder."""

from __future__ import annotations

import difflib
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from local_ai_suite.errors import GgufError, ModelError, NetworkError, UsageError
from local_ai_suite.gguf import read_gguf, read_header, split_name
from local_ai_suite.messages import tr

from .download import Download, Limits, Watcher, patiently
from .reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .hub import Hub, RemoteFile

_SUFFIX = ".gguf"
_USUAL = "Q4_K_M"  # what is meant when a repository has many quantizations and none was named
_CHUNK = 1 << 20
# A disk that is filled to the last byte breaks everything else on it.
_SPARE_BYTES = 256 << 20
_SHOWN_NAMES = 12


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought. ``fresh`` is false for files that were there and are the hub's."""

    reference: Reference
    paths: tuple[Path, ...]
    size_bytes: int
    sha256: dict[str, str] = field(default_factory=dict)
    fresh: bool = True


def pull(
    hub: Hub,
    reference: Reference,
    folder: Path,
    watcher: Watcher,
    *,
    limits: Limits | None = None,
    free_bytes: Callable[[Path], int] | None = None,
) -> Pulled:
    """Download what ``reference`` means into ``folder``; every file is checked before its name.

    Raises :class:`NetworkError`, :class:`ModelError`, :class:`UsageError`. Part files stay.
    """
    limits = limits or Limits()
    wanted = patiently(lambda: choose(hub, reference), watcher, limits)
    exact = Reference(reference.repo, wanted[0].path, reference.revision)
    targets = {remote: folder / PurePosixPath(remote.path).name for remote in wanted}
    missing = [remote for remote in wanted if not _is_there(targets[remote], remote, watcher)]
    downloads = [
        Download(hub, exact, remote, targets[remote], watcher, limits) for remote in missing
    ]
    left = sum(download.bytes_left for download in downloads)
    check_space(folder, left, free_bytes)
    digests = {item.target.name: item.fetch() for item in downloads}
    for item in downloads:
        _check_header(item)
    # The first shard last: until then nobody takes the model for complete.
    for item in reversed(downloads):
        item.part.replace(item.target)
        _forget_old_parts(item.target)
    paths = tuple(targets[remote] for remote in wanted)
    if len(paths) > 1:
        read_gguf(paths[0])
    size = sum(path.stat().st_size for path in paths)
    return Pulled(exact, paths, size, digests, fresh=bool(downloads))


def choose(hub: Hub, reference: Reference) -> tuple[RemoteFile, ...]:
    """The files of the model: one, or all shards in their order."""
    try:
        listed = hub.files(reference)
    except NetworkError as exc:
        # A mirror without the listing still serves files; the shards of a model need it.
        named = reference.file or ""
        # The hub itself gives the reason for a 404.
        unlisted = exc.details.get("status") in {404, 405, 501} and not exc.details["reason"]
        if not (unlisted and named.endswith(_SUFFIX)) or split_name(Path(named)):
            raise
        return (hub.head(reference, named),)
    models = [item for item in listed if item.path.lower().endswith(_SUFFIX)]
    if not models:
        raise UsageError(
            tr("{repo} has no .gguf file", repo=reference.repo),
            hint=tr("Look for a repository whose name ends in -GGUF."),
        )
    path = _pick([item.path for item in models], reference)
    by_path = {item.path: item for item in models}
    shards = [by_path[one] for one in _siblings(path, by_path)]
    return tuple(
        item if item.sha256 and item.size is not None else hub.head(reference, item.path)
        for item in shards
    )


def _pick(paths: Sequence[str], reference: Reference) -> str:
    """The one file (the first of its shards) that the reference means."""
    wanted = reference.file
    if wanted is not None and wanted in paths:
        return wanted
    firsts = [p for p in paths if (part := split_name(Path(p))) is None or part.number == 1]
    if wanted is None:
        found = [path for path in firsts if not _is_beside(path)] or firsts
        if len(found) > 1:
            found = [path for path in found if _names_quantization(path, _USUAL)]
    else:
        name = wanted.lower()
        found = [
            path for path in firsts if name in {path.lower(), PurePosixPath(path.lower()).name}
        ]
        found = found or [path for path in firsts if _names_quantization(path, wanted)]
    if len(found) == 1:
        return found[0]
    shown = found or firsts
    near = difflib.get_close_matches(wanted or "", shown, n=_SHOWN_NAMES, cutoff=0.5) or shown
    raise UsageError(
        tr("{file} is not one file", file=reference.words)
        if found or wanted is None
        else tr("{file} is not there", file=reference.words),
        hint=tr(
            "Name one of these: {near}{more}",
            near=", ".join(near[:_SHOWN_NAMES]),
            more=" ..." if len(near) > _SHOWN_NAMES else "",
        ),
        files=list(shown),
    )


def _is_beside(path: str) -> bool:
    """A projector or an importance matrix: it goes with a model and is none."""
    name = PurePosixPath(path).name.lower()
    return "mmproj" in name or "imatrix" in name


def _names_quantization(path: str, word: str) -> bool:
    """``Q4_K`` must not find ``Q4_K_M``: the word ends where a separator is."""
    stem = PurePosixPath(path).name.lower().removesuffix(_SUFFIX)
    if part := split_name(Path(PurePosixPath(path).name)):
        stem = part.prefix.lower()
    word = word.lower()
    return stem == word or stem.endswith((f"-{word}", f".{word}", f"_{word}"))


def _siblings(path: str, known: dict[str, RemoteFile]) -> list[str]:
    part = split_name(Path(PurePosixPath(path).name))
    if part is None:
        return [path]
    parent = PurePosixPath(path).parent
    shards = [str(parent / part.sibling(number + 1)) for number in range(part.count)]
    if missing := [shard for shard in shards if shard not in known]:
        raise NetworkError(
            tr(
                "{missing} is missing on the hub: the model has {count} files",
                missing=missing[0],
                count=part.count,
            ),
            hint=tr("Pick another quantization, or another repository."),
        )
    return shards


def _is_there(target: Path, remote: RemoteFile, watcher: Watcher) -> bool:
    """Whether the hub's very file lies there. Another file under its name is an error."""
    if not target.exists():
        return False
    same = remote.size is None or target.stat().st_size == remote.size
    if same and remote.sha256:
        watcher.start(tr("{name} (checking)", name=target.name), remote.size, 0)
        same = _sha256_of(target, watcher) == remote.sha256
    if same:
        return True
    raise ModelError(
        tr(
            "{target} is there and is not the file of the hub (an older or a damaged one)",
            target=target,
        ),
        hint=tr("`lais models rm {name}` removes it; then pull again.", name=target.name),
        path=str(target),
    )


def _sha256_of(path: Path, watcher: Watcher) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            watcher.advance(len(chunk))
    return digest.hexdigest()


def _free_bytes(folder: Path) -> int:
    place = folder
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def check_space(folder: Path, needed: int, free_bytes: Callable[[Path], int] | None = None) -> None:
    """Raise :class:`ModelError` when ``needed`` bytes would fill the disk of ``folder``."""
    free = (free_bytes or _free_bytes)(folder)
    if needed and free < needed + _SPARE_BYTES:
        raise ModelError(
            tr(
                "{needed:.1f} GB are to come, and {folder} has {free:.1f} GB free",
                needed=needed / 1e9,
                folder=folder,
                free=free / 1e9,
            ),
            hint=tr("Make room, or set MODELS_DIR in .env to a larger disk."),
            needed_bytes=needed,
            free_bytes=free,
        )


def _check_header(item: Download) -> None:
    """A file that came whole and is no GGUF that can be read is not taken in."""
    part = split_name(item.target)
    try:
        read_header(item.part, shard=part.number - 1 if part else 0)
    except GgufError as exc:
        item.part.unlink(missing_ok=True)
        raise ModelError(
            tr(
                "{name} came as the hub has it, and it is no valid GGUF: {message}",
                name=item.target.name,
                message=exc.message,
            ),
            hint=tr("Take another file or repository; this one is broken on the hub."),
        ) from exc


def _forget_old_parts(target: Path) -> None:
    """Parts of other versions of the same file."""
    for old in parts_of(target):
        old.unlink(missing_ok=True)


def parts_of(target: Path) -> list[Path]:
    """The unfinished downloads of ``target``."""
    prefix = f"{target.name}.part-"
    if not target.parent.is_dir():
        return []
    return sorted(path for path in target.parent.iterdir() if path.name.startswith(prefix))
