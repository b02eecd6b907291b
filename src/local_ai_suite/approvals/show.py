"""What a person sees of a request: everything that is bound, escaped, with its risk and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .canonical import canonical
from .display import Display, bounded, escape, mixed_scripts, quoted
from .redact import HIDDEN, redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .policy import Judgement
    from .registry import Action
    from .store import Request

DEFAULT_COLUMNS = 100


def display(
    request: Request, action: Action, judgement: Judgement, columns: int = DEFAULT_COLUMNS
) -> Display:
    """All of ``request``. Rows that hold foreign text start with a bar; ours never do."""
    record = request.record
    rows = [
        f"Request   {request.id}",
        f"Digest    {request.digest}",
        f"State     {request.state}",
        f"Asked by  {escape(request.principal)}",
        "What",
        *quoted(action.title(record["arguments"]), columns),
        f"Risk      {judgement.level.name}",
        *(f"  because {escape(reason)}" for reason in judgement.reasons),
    ]
    if judgement.denied is not None:
        rows += [f"Denied    {escape(judgement.denied)}"]
    for name, value in record["arguments"].items():
        if name in action.shown_by_change:
            continue
        rows += [f"Argument  {name}", *quoted(_as_text(value), columns)]
    if action.change:
        change = action.change(record["arguments"], Path(record["cwd"]))
        rows += ["Change", *quoted(change or "(no difference)", columns)]
    rows += ["In the folder", *quoted(record["cwd"], columns)]
    for file in record["files"]:
        rows += [f"File it {file['role']} (SHA-256 {file['sha256'][:16]}…)"]
        rows += quoted(file["path"], columns)
    for name, value in record["environment"].items():
        rows += [f"Environment  {name}", *quoted(value, columns)]
    if record["secret_environment"]:
        rows += ["Environment  taken from the approver's terminal, where set:"]
        rows += quoted(" ".join(record["secret_environment"]), columns)
    if record["justification"]:
        rows += ["A model wrote this justification; nobody has checked it:"]
        rows += quoted(record["justification"], columns)
    return bounded(rows)


def warnings_of(record: Mapping[str, Any]) -> list[str]:
    """Reasons for care that the content itself gives."""
    found: list[str] = []
    hidden = 0
    for text in _texts(record["arguments"]):
        plain = text.replace("\n", "").replace("\t", "").replace("\r", "")
        hidden += escape(plain).count("⟨U+")
        words = mixed_scripts(plain)
        if words:
            found.append(f"letters of several scripts in one word: {' '.join(words[:5])}")
        if HIDDEN in redact(text):
            found.append("it seems to hold a secret (a key, a token or a password)")
    if hidden:
        found.append(f"it holds {hidden} characters that are not plainly visible")
    return list(dict.fromkeys(found))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value).decode()
