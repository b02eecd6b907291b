"""What the containers are given of this machine: as whom they run, and which files they see.

They run as the owner of ``.env``, who can read it and the models. Never as root: when root runs
`up`, they run as the images' own user, who is given copies of what only root may read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite.errors import ModelError
from local_ai_suite.messages import tr

from .state import keep_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

# The images' own user (`USER` in docker/Dockerfile).
IMAGE_USER = (10001, 10001)
_PRIVATE_DIRECTORY = 0o700
# What a container sees where there is no such file.
_NOTHING = "/dev/null"
_MODEL_KEYS = ("CHAT_MODEL", "CODE_MODEL", "EMBED_MODEL")


def user(paths: Paths) -> tuple[int, int]:
    """User and group that the containers run as."""
    try:
        found = paths.env_file.stat()
        owner = (found.st_uid, found.st_gid)
    except OSError:  # the first `up` makes it, as whoever runs it
        owner = (os.geteuid(), os.getegid())
    if owner[0] == 0:
        return IMAGE_USER
    return owner[0], owner[1] or IMAGE_USER[1]  # nor in root's group


def prepare(settings: Settings, paths: Paths) -> dict[str, str]:
    """Make what the containers mount ready; returns what the Compose files call it.

    Raises :class:`OSError` (a full disk).
    """
    uid, gid = user(paths)
    folder = settings.models_path(paths)
    models_toml = paths.models_toml if paths.models_toml.is_file() else Path(_NOTHING)
    return {
        "LAIS_USER": f"{uid}:{gid}",
        "LAIS_UID": str(uid),
        "LAIS_ENV_FILE": str(_settings_file(paths, uid, gid)),
        "LAIS_KEYS_DIR": str(_keys_folder(paths, uid, gid)),
        "LAIS_MODELS_DIR": str(folder),
        "LAIS_MODELS_TOML": str(models_toml),
        # The folder of the project is the default, also inside; only there the demo model answers.
        "MODELS_DIR": "" if settings.models_dir == "models" else str(folder),
        **named_inside(settings, folder),
    }


def named_inside(settings: Settings, folder: Path) -> dict[str, str]:
    """The named models as the containers find them: a whole path becomes one in ``folder``."""
    names = {}
    for key in _MODEL_KEYS:
        text = getattr(settings, key.lower())
        path = Path(text).expanduser() if text else None
        if path is not None and path.is_absolute() and path.is_relative_to(folder):
            names[key] = str(path.relative_to(folder))
    return names


def check_visible(files: Iterable[Path], folder: Path, owner: tuple[int, int]) -> None:
    """Raise :class:`ModelError` for a file that containers cannot see or ``owner`` cannot read.

    They see ``folder`` and nothing else of this machine; also not where a link leads to.
    """
    root = folder.resolve()
    for file in files:
        real = file.resolve()
        if not real.is_relative_to(root):
            raise ModelError(
                tr(
                    "{real} lies outside MODELS_DIR ({folder}), and containers see that folder "
                    "only",
                    real=real,
                    folder=folder,
                ),
                hint=tr(
                    "Move the file there, set MODELS_DIR to its folder, or set RUNTIME=native in "
                    ".env."
                ),
                path=str(real),
            )
        way = [root, *(root / part for part in real.relative_to(root).parents[:-1]), real]
        for place in way:
            if not _may_read(place, owner):
                raise ModelError(
                    tr(
                        "{place} is not readable for the containers' user {owner}",
                        place=place,
                        owner=owner[0],
                    ),
                    hint=tr(
                        "chmod -R a+rX {folder}, or set RUNTIME=native in .env.", folder=folder
                    ),
                    path=str(place),
                )


def _may_read(path: Path, owner: tuple[int, int]) -> bool:
    found = path.stat()
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(found.st_mode) else 0)
    if found.st_uid == owner[0]:
        return found.st_mode & (wanted << 6) == wanted << 6
    if found.st_gid == owner[1]:
        return found.st_mode & (wanted << 3) == wanted << 3
    return found.st_mode & wanted == wanted


def _settings_file(paths: Paths, uid: int, gid: int) -> Path:
    """The ``.env`` that this run begins with, as its containers' user can read it.

    A container that is started again has the same, whatever became of the file since.
    """
    kept = keep_settings(paths)
    _give(kept, uid, gid)
    return kept


def _keys_folder(paths: Paths, uid: int, gid: int) -> Path:
    folder = paths.keys_file.parent
    folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_DIRECTORY)
    for path in (folder, *folder.iterdir()):
        _give(path, uid, gid)
    return folder


def _give(path: Path, uid: int, gid: int) -> None:
    """Only root can; everybody else is the containers' user already."""
    if os.geteuid() == 0:
        os.chown(path, uid, gid)
