"""Which model architectures an engine knows, read from its own files.

llama.cpp tells only by failing to load. Its names (``llama``, ``qwen2``) are string constants in
``libllama`` or in the program that holds it, each ended by a zero byte.
"""

from __future__ import annotations

import importlib.util
import mmap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_ai_suite.engines.find import FoundEngine

_CONTROL = "llama"  # every llama.cpp knows it: where it isn't found, nothing can be said


def unknown_architectures(engine: FoundEngine, wanted: Iterable[str]) -> frozenset[str]:
    """Those of ``wanted`` that the engine surely does not know; empty where that can't be told."""
    names = set(wanted)
    known: set[str] = set()
    for path in engine_files(engine):
        known |= _names_in(path, names | {_CONTROL})
    return frozenset(names - known) if _CONTROL in known else frozenset()


def engine_files(engine: FoundEngine) -> list[Path]:
    """The files in which the names lie: the embedded module's, or the program and its libraries."""
    if engine.source == "embedded":
        spec = importlib.util.find_spec("xllamacpp")
        places = list(spec.submodule_search_locations or ()) if spec else []
        folders = [Path(place) for place in places]
        folders += [folder.with_name("xllamacpp.libs") for folder in folders]
        return [path for folder in folders for path in sorted(folder.glob("*.so*"))]
    program = Path(engine.command[0]).resolve()
    libraries = [program.parent, program.parent.parent / "lib"]
    return [program, *(path for folder in libraries for path in sorted(folder.glob("libllama*")))]


def _names_in(path: Path, names: set[str]) -> set[str]:
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return {name for name in names if content.find(name.encode() + b"\0") >= 0}
    except (OSError, ValueError):  # gone, unreadable, empty
        return set()
