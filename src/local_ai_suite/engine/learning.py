"""What this machine's loads really took, remembered: it corrects the margin of the next plans.

``STATE/fit.json`` holds the last loads (``fit.Record``) and each model's last comparison, part by
part, for ``lais doctor``. A file that cannot be read or written costs the memory, nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite.fit import PartComparison, Record, compare, correction, learn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.fit import FitPlan

logger = logging.getLogger(__name__)

FILE_NAME = "fit.json"
KEPT_MODELS = 50


class FitMemory:
    """The record of one machine, in one file of the state folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        data = _read(self._path)
        self._record = Record.from_dict(data)
        loads = data.get("loads")
        self._loads: dict[str, Any] = dict(loads) if isinstance(loads, dict) else {}

    @property
    def learned(self) -> int:
        """Bytes to add to the margin of a plan."""
        return correction(self._record)

    def note(self, name: str, plan: FitPlan, buffers: Mapping[tuple[str, str], int]) -> None:
        """Remember what loading ``name`` took; ``buffers`` as ``readback`` collects them."""
        if not any(part == "compute" for _, part in buffers):
            return  # a log without the last of its numbers is not whole, or says nothing
        parts = compare(plan, buffers)
        self._record = learn(self._record, name, parts)
        self._loads.pop(name, None)
        self._loads[name] = [asdict(part) for part in parts]
        while len(self._loads) > KEPT_MODELS:
            self._loads.pop(next(iter(self._loads)))
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

    def _write(self) -> None:
        data = {**self._record.as_dict(), "loads": self._loads}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".fit-")  # mode 600
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
            Path(name).replace(self._path)
        except OSError as exc:
            logger.warning("what was learned about memory could not be kept: %s", exc)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
