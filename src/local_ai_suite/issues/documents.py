"""Where plans lie: ``plans/NAME.md``, ``.json`` beside it, ``.state.json`` while it grows."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from pathlib import Path

    from .issue import Issue

_PRIVATE = 0o600  # an issue of a private repository is nobody else's business


@dataclass(frozen=True, slots=True)
class Documents:
    """The files of one plan. ``name``: ``issue-12``, or the title's words for a text."""

    folder: Path
    name: str

    @property
    def markdown(self) -> Path:
        """The plan for a person."""
        return self.folder / f"{self.name}.md"

    @property
    def json(self) -> Path:
        """The plan for programs."""
        return self.folder / f"{self.name}.json"

    @property
    def state(self) -> Path:
        """What an interrupted planning goes on from."""
        return self.folder / f"{self.name}.state.json"

    def read_state(self) -> dict[str, Any] | None:
        """What an earlier run left; ``None`` when there is nothing usable."""
        try:
            found = json.loads(self.state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def keep_state(self, state: dict[str, Any]) -> None:
        """Write the state down, whole or not at all. Raises DiskError."""
        write(self.state, json.dumps(state, ensure_ascii=False))

    def finish(self, plan: dict[str, Any], text: str) -> None:
        """Write both files, then forget the state."""
        self.write_json(plan)
        write(self.markdown, text)
        self.state.unlink(missing_ok=True)

    def write_json(self, plan: dict[str, Any]) -> None:
        """Write the plan for programs, whole or not at all. Raises DiskError."""
        write(self.json, json.dumps(plan, ensure_ascii=False, indent=2, sort_keys=True) + "\n")

    def read(self) -> tuple[dict[str, Any], str]:
        """The plan's JSON and its Markdown (which a person may have edited)."""
        try:
            plan = json.loads(self.json.read_text(encoding="utf-8"))
            text = self.markdown.read_text(encoding="utf-8")
            if isinstance(plan, dict) and "facts" in plan:
                return plan, text
            reason: str = tr("it holds no plan")
        except FileNotFoundError as exc:
            number = self.name.removeprefix("issue-")
            raise UsageError(
                tr("there is no plan {filename}", filename=exc.filename),
                hint=tr("Make it with: lais plan {number}", number=number),
            ) from exc
        except (OSError, ValueError) as exc:
            reason = str(exc)
        raise UsageError(
            tr("{json} cannot be used: {reason}", json=self.json, reason=reason),
            hint=tr("Make the plan anew: lais plan N --fresh"),
        )


def documents_for(folder: Path, issue: Issue) -> Documents:
    """``issue-N``, or the title's words when the issue came as a text."""
    if issue.number is not None:
        return Documents(folder, f"issue-{issue.number}")
    words = re.sub(r"[^0-9A-Za-z가-힣]+", "-", issue.title).strip("-").lower()
    return Documents(folder, words[:60] or "plan")


def write(path: Path, text: str) -> None:
    """In one step: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(descriptor, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)  # noqa: PTH105 (mkstemp gives a name, not a path)
    except BaseException:
        os.unlink(name)  # noqa: PTH108 (as above)
        raise
