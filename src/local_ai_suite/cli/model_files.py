"""Which file a person means: a path, a name in the models folder, or a name that it serves as."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from local_ai_suite.catalog.catalog import configured_models, find_ggufs
from local_ai_suite.errors import ModelError, SuiteError
from local_ai_suite.messages import tr
from local_ai_suite.paths import expanded

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

_SHOWN = 5  # names in a hint


def find_model(name: str, settings: Settings, paths: Paths) -> Path:
    """A file by its path, by its name in the models folder (with or without ``.gguf``), or by a
    name of ``lais models`` such as ``local-chat``."""
    folder = settings.models_path(paths)
    wanted = expanded(name)
    places = [wanted, folder / wanted, folder / f"{name}.gguf"]
    for place in places:
        try:
            mode = place.stat().st_mode
        except FileNotFoundError:
            continue
        except (OSError, ValueError):  # no rights, a name too long, a NUL: the reader says it well
            return place
        if stat.S_ISDIR(mode):
            raise _is_folder(name, place)
        return place
    if served := _served_as(name, settings, paths):
        return served
    low = name.lower().removesuffix(".gguf")
    near = sorted(p for p in folder.glob("**/*.gguf") if p.stem.lower() == low)
    if near:
        return near[0]
    there = ", ".join(sorted(p.name for p in folder.glob("**/*.gguf"))[:_SHOWN])
    raise ModelError(
        tr("{name}: no such file, here or in {folder}", name=name, folder=folder),
        hint=tr("There is: {there}", there=there)
        if there
        else tr("`lais models pull NAME` downloads one."),
    )


def _is_folder(name: str, folder: Path) -> ModelError:
    inside = [path.relative_to(folder).as_posix() for path in find_ggufs(folder)]
    few = ", ".join(inside[:_SHOWN]) + (" ..." if len(inside) > _SHOWN else "")
    return ModelError(
        tr("{name} is a folder; a model is a file", name=name),
        hint=tr("Name one of its files: {few}", few=few)
        if inside
        else tr("No GGUF file is in it."),
        path=str(folder),
    )


def _served_as(name: str, settings: Settings, paths: Paths) -> Path | None:
    try:
        entries = configured_models(settings, paths).entries
    except SuiteError:  # what is wrong with another model is nothing about this one
        return None
    return next((entry.path for entry in entries if name in entry.names), None)
