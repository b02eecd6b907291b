"""`lais models rm`: which files a name means, and deleting them and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local_ai_suite.errors import ModelError, UsageError
from local_ai_suite.gguf import split_name
from local_ai_suite.messages import tr

from .pull import parts_of
from .reference import is_file_name

_SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True)
class Removal:
    """Files to delete: a model, all its shards, its unfinished downloads."""

    paths: tuple[Path, ...]

    @property
    def size_bytes(self) -> int:
        return sum(path.lstat().st_size for path in self.paths)

    def carry_out(self) -> int:
        """Delete them; the bytes that became free. Raises :class:`ModelError`."""
        freed = self.size_bytes
        for path in self.paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise ModelError(
                    tr("{path} cannot be deleted: {strerror}", path=path, strerror=exc.strerror),
                    hint=tr("Check the folder's permissions (`ls -ld`)."),
                    path=str(path),
                ) from exc
        return freed


def find_removal(name: str, folder: Path) -> Removal:
    """What ``name`` (a file under ``folder``, with or without .gguf) means.

    A link is removed, never what it leads to. Raises :class:`UsageError` for a name that leads
    out of the folder or is no model, :class:`ModelError` for one that is not there.
    """
    target = _inside(name if name.lower().endswith(_SUFFIX) else f"{name}{_SUFFIX}", folder)
    part = split_name(target)
    whole = (
        [target.with_name(part.sibling(number + 1)) for number in range(part.count)]
        if part
        else [target]
    )
    found = [path for path in whole if path.is_symlink() or path.is_file()]
    found += [old for path in whole for old in parts_of(path)]
    if not found:
        raise ModelError(
            tr("{target} is not there", target=target),
            hint=tr("`lais models` lists the files and their names."),
            path=str(target),
        )
    return Removal(tuple(found))


def _inside(name: str, folder: Path) -> Path:
    # The folder part is followed through links, the file itself is not: a link may be removed.
    if not is_file_name(name):
        raise UsageError(
            tr("{name!r} is not a file name", name=name[:80]),
            hint=tr("`lais models` lists the files and their names."),
        )
    path = folder / name
    parent = path.parent.resolve()
    home = folder.resolve()
    if ".." in Path(name).parts or (parent != home and home not in parent.parents):
        raise UsageError(
            tr("{name!r} leads out of the models folder {folder}", name=name, folder=folder),
            hint=tr("Name a file inside MODELS_DIR; delete others yourself."),
        )
    return parent / path.name
