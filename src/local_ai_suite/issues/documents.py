"""Where plans lie: ``plans/NAME.md``, ``.json`` beside it, ``.state.json`` while it grows."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_ai_suite.approvals.places import write_private
from local_ai_suite.errors import UsageError
from local_ai_suite.messages import tr
from local_ai_suite.repository.files import WorkingFiles

from .render import markdown

if TYPE_CHECKING:
    from pathlib import Path

    from .issue import Issue

_LONGEST_NAME = 60  # characters of a title
# File systems allow 255 bytes; `.edited-9.state.json` is added.
_LONGEST_NAME_BYTES = 180
_LARGEST = 16 * 1024 * 1024  # a plan has some 30 KB


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

    @property
    def short_name(self) -> str:
        """What a person types for it: ``12``, or the whole name."""
        number = self.name.removeprefix("issue-")
        return number if number.isdecimal() else self.name

    def read_state(self) -> dict[str, Any] | None:
        """What an earlier run left; ``None`` when there is nothing usable."""
        return self._read_json(self.state)

    def keep_state(self, state: dict[str, Any]) -> None:
        """Write what an interrupted run goes on from."""
        self._write(self.state, json.dumps(state, ensure_ascii=False))

    def finish(self, plan: dict[str, Any]) -> Path | None:
        """Write both files, then forget the state.

        A Markdown that isn't what its JSON gives was edited by a person: it is kept under another
        name, which is returned.
        """
        kept = self._set_aside()
        self.write_json(plan)
        self._write(self.markdown, markdown(plan))
        self.state.unlink(missing_ok=True)
        return kept

    def write_json(self, plan: dict[str, Any]) -> None:
        """Write the plan; the same plan gives the same bytes."""
        text = json.dumps(plan, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
        self._write(self.json, text)

    def is_of_another(self, title: str) -> bool:
        """Whether a plan lies here already that was made for an issue of another title."""
        plan = self._read_json(self.json)
        facts = plan.get("facts") if plan else None
        return isinstance(facts, dict) and facts.get("title") != title

    def _set_aside(self) -> Path | None:
        there = self._read_file(self.markdown)
        if there is None and not self.markdown.exists():
            return None
        plan = self._read_json(self.json)
        try:
            made = markdown(plan).encode() if plan else None
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            made = None  # of another version, or edited itself
        if there == made:
            return None
        number, kept = 1, self.folder / f"{self.name}.edited.md"
        while kept.exists() or kept.is_symlink():
            number += 1
            kept = self.folder / f"{self.name}.edited-{number}.md"
        return self.markdown.rename(kept)

    def _read_json(self, path: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(self._read_file(path) or b"")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _read_file(self, path: Path) -> bytes | None:
        """No link's goal: the repository may be somebody else's."""
        try:
            with WorkingFiles(self.folder.parent) as files:
                place = f"{self.folder.name}/{path.name}"
                return files.read(place.encode(), _LARGEST)
        except OSError:
            return None

    def _write(self, path: Path, text: str) -> None:
        """In one step, readable by its owner only: the issue may be of a private repository."""
        if self.folder.is_symlink():
            raise UsageError(
                tr("{folder} is a link; plans are not written through one", folder=self.folder),
                hint=tr("Put a folder there, or move the link away."),
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(path, text.encode())

    def read(self) -> tuple[dict[str, Any], str]:
        """The plan's JSON and its Markdown (which a person may have edited)."""
        for path in (self.json, self.markdown):
            if not path.exists():
                make = self.short_name if self.short_name.isdecimal() else "--file FILE"
                raise UsageError(
                    tr("there is no plan {filename}", filename=path),
                    hint=tr("Make it with: lais plan {number}", number=make),
                )
        plan, text = self._read_json(self.json), self._read_file(self.markdown)
        reason = tr("it holds no plan")
        if plan and "facts" in plan and text is not None:
            try:
                return plan, text.decode()
            except UnicodeDecodeError as exc:
                reason = tr("{path} is not UTF-8: {reason}", path=self.markdown, reason=exc.reason)
        raise UsageError(
            tr("{json} cannot be used: {reason}", json=self.json, reason=reason),
            hint=tr("Make the plan anew: lais plan N --fresh"),
        )


def documents_for(folder: Path, issue: Issue) -> Documents:
    """``issue-N``, or the title's words when the issue came as a text.

    A title without a letter, one that reads as an issue's number, and one whose words another plan
    has already get a part of the title's hash.
    """
    if issue.number is not None:
        return Documents(folder, f"issue-{issue.number}")
    name = name_of(issue.title)
    taken = re.fullmatch(r"issue-\d+", name) or Documents(folder, name).is_of_another(issue.title)
    if not name or taken:
        digest = hashlib.sha256(issue.title.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name or 'plan'}-{digest[:8]}"
    return Documents(folder, name)


def name_of(title: str) -> str:
    """The title's letters, digits and their marks, of any script, the rest as single dashes."""
    kept = " "
    for sign in unicodedata.normalize("NFC", title.lower()):
        kind = unicodedata.category(sign)[0]
        mark_of_a_letter = kind == "M" and not kept.endswith(" ")  # an emoji has marks too
        kept += sign if kind in "LN" or mark_of_a_letter else " "
    name = "-".join(kept.split())[:_LONGEST_NAME]
    return name.encode()[:_LONGEST_NAME_BYTES].decode("utf-8", "ignore").strip("-")
