"""What this machine's loads really took, remembered: it corrects the margin of the next plans.

``STATE/fit.json`` holds the last loads (``fit.Record``) and, for ``lais doctor``, each model's last
comparison, part by part, and its speed, expected and generated. A file that cannot be read or
written costs the memory, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from local_ai_suite.fit import PartComparison, Record, compare, learn, learn_free, learn_short

from .pace import Speed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.fit import FitPlan

logger = logging.getLogger(__name__)

FILE_NAME = "fit.json"
KEPT_MODELS = 50


class Notes(Protocol):
    """Who is told what loads took, and how fast models are."""

    def loaded(self, name: str, plan: FitPlan, buffers: Mapping[tuple[str, str], int]) -> None: ...
    def generated(self, name: str, speed: Speed) -> None: ...
    def short(self, plan: FitPlan, attempted: Mapping[str, int], *, last: bool) -> None: ...


class FitMemory:
    """The record of one machine, in one file of the state folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        data = read_json(self._path)
        self._record = Record.from_dict(data)
        self._loads = _dict(data.get("loads"))
        self._speeds = _dict(data.get("speeds"))

    @property
    def record(self) -> Record:
        """The lessons; ``fit.correction`` says what they add to the margin of a plan."""
        return self._record

    def note(self, name: str, plan: FitPlan, buffers: Mapping[tuple[str, str], int]) -> None:
        """Remember what loading ``name`` took; ``buffers`` as ``readback`` collects them."""
        if not any(part == "compute" for _, part in buffers):
            return  # a log without the last of its numbers is not whole, or says nothing
        parts = compare(plan, buffers)
        self._record = learn(self._record, plan.path.name, parts)
        _keep(self._loads, name, [asdict(part) for part in parts])
        self._write()

    def note_free(self, plan: FitPlan, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        """Remember what the load of :meth:`note` took of the GPUs' free memory."""
        self._record = learn_free(self._record, plan.path.name, plan, before, after)
        self._write()

    def note_short(self, plan: FitPlan, attempted: Mapping[str, int], *, last: bool) -> None:
        """Remember that a GPU had no room for ``plan`` (``fit.learn_short``)."""
        self._record = learn_short(self._record, plan.path.name, plan, attempted, last=last)
        self._write()

    def note_speed(self, name: str, speed: Speed) -> None:
        """Remember the tokens per second of ``name``."""
        _keep(self._speeds, name, [speed.expected, speed.measured, speed.samples])
        self._write()

    def loads(self) -> dict[str, tuple[PartComparison, ...]]:
        """Each model's last load, predicted against actual."""
        found: dict[str, tuple[PartComparison, ...]] = {}
        for name, rows in self._loads.items():
            try:
                found[name] = tuple(PartComparison(**row) for row in rows)
            except TypeError:
                continue  # another version's, or damaged
        return found

    def speeds(self) -> dict[str, Speed]:
        """Each model's tokens per second when last looked."""
        found: dict[str, Speed] = {}
        for name, row in self._speeds.items():
            match row:
                case [None | int() | float() as expected, int() | float() as measured, int() as n]:
                    found[name] = Speed(expected, measured, n)
        return found

    def _write(self) -> None:
        data = {**self._record.as_dict(), "loads": self._loads, "speeds": self._speeds}
        write_json(self._path, data)


def _keep(of_models: dict[str, Any], name: str, value: Any) -> None:
    """As the youngest of the last :data:`KEPT_MODELS`."""
    of_models.pop(name, None)
    of_models[name] = value
    while len(of_models) > KEPT_MODELS:
        of_models.pop(next(iter(of_models)))


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write it whole or not at all, for its owner only; a failure costs the memory only, and leaves
    nothing behind."""
    begun: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")  # mode 600
        begun = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
        begun.replace(path)
    except OSError as exc:
        logger.warning("what was learned about this machine could not be kept: %s", exc)
        if begun is not None:
            with contextlib.suppress(OSError):
                begun.unlink()


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote; empty if it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
