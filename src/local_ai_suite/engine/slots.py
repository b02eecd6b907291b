"""Conversations that survive a swap: where a stopped model's slots are kept, and how much of it.

llama-server saves a slot's KV cache with its tokens (``POST /slots/N?action=save``). A state fits
only the same weights, template and settings, so those make the folder's name. The files hold
conversations: folders are the owner's alone (mode 700), the whole is bounded, and all of it is
removed when the service starts and when it stops.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.fit import FitPlan

MOST_BYTES = 8 * 2**30
# The disk is other people's too: this much of it stays free.
KEPT_FREE = 2 * 2**30
_SAMPLES, _SAMPLE_BYTES = 64, 4096
_SETTINGS = (
    "n_ctx", "parallel", "kv_unified", "cache_type_k", "cache_type_v", "flash_attention",
    "n_gpu_layers", "n_cpu_moe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a model's conversations: tokens kept or brought back, seconds, and why not."""

    tokens: int = 0
    bytes: int = 0
    seconds: float = 0.0
    problem: str | None = None


class SlotStore:
    """A folder of slot states, bounded in bytes, the least recently saved going first."""

    def __init__(
        self,
        folder: Path,
        *,
        most_bytes: int = MOST_BYTES,
        kept_free: int = KEPT_FREE,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._kept_free = kept_free
        self._free = free
        self._lock = threading.Lock()
        self._reserved: dict[Path, int] = {}  # what is being written now

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def place(self, entry: ModelEntry, plan: FitPlan, engine: str) -> Path:
        """The folder of this model with these settings; made if need be. Raises OSError."""
        place = self._folder / slot_key(entry, plan, engine)
        self._make(place)
        return place

    def make_room(self, place: Path, wanted: int) -> bool:
        """Whether ``wanted`` bytes may be written to ``place`` until :meth:`done`; older states go
        for it, but not one that is being written. Raises OSError."""
        with self._lock:
            self._make(place)  # it may have made room for another model meanwhile
            for old in self._oldest_first(but={place, *self._reserved}):
                if self._has_room(wanted):
                    break
                shutil.rmtree(old, ignore_errors=True)
            if not self._has_room(wanted):
                return False
            self._reserved[place] = wanted
            return True

    def done(self, place: Path) -> None:
        """Nothing more is written to ``place``."""
        self._reserved.pop(place, None)

    def _make(self, place: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.mkdir(exist_ok=True, mode=0o700)

    def _has_room(self, wanted: int) -> bool:
        wanted += sum(self._reserved.values())
        within = folder_bytes(self._folder) + wanted <= self._most_bytes
        return within and self._free(self._folder) - wanted >= self._kept_free

    def _oldest_first(self, *, but: Collection[Path]) -> list[Path]:
        found = []
        for path in self._folder.iterdir():
            with suppress(OSError):
                if path not in but:
                    found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found)]


def slot_file(place: Path, number: int) -> Path:
    return place / f"slot-{number}.bin"


def slot_key(entry: ModelEntry, plan: FitPlan, engine: str) -> str:
    """A name that changes with the weights, the template, the settings or the engine."""
    facts: dict[str, Any] = {name: getattr(plan, name) for name in _SETTINGS}
    facts["model"] = [fingerprint(path) for path in entry.file.shards]
    facts["template"] = hashlib.sha256((entry.file.chat_template or "").encode()).hexdigest()
    facts["projector"] = fingerprint(entry.mmproj) if entry.mmproj is not None else None
    facts["engine"] = engine
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def fingerprint(path: Path) -> str:
    """SHA-256 over a file's size and 64 samples, its start (the header) among them.

    The whole of a model of 5 GB takes ten seconds and more; another model, another quantization or
    another finetune differs in nearly every sample.
    """
    facts = path.stat()
    return _fingerprint(path, facts.st_ino, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)  # a slow disk is asked once per file, not at every swap
def _fingerprint(path: Path, *_: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        digest.update(str(size).encode())
        step = max(1, (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
        for number in range(_SAMPLES):
            file.seek(min(number * step, max(0, size - _SAMPLE_BYTES)))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def folder_bytes(folder: Path) -> int:
    total = 0
    with suppress(OSError):  # files come and go while we look
        for path in folder.rglob("*"):
            with suppress(OSError):
                total += path.stat().st_size if path.is_file() else 0
    return total
