"""What a person sees of a request: everything that is bound, escaped, with its risk and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite.messages import say, tr, translated

from .canonical import canonical
from .display import Display, bounded, escape, mixed_scripts, quoted
from .redact import HIDDEN, redact
from .store import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .policy import Judgement
    from .registry import Action
    from .store import Request

DEFAULT_COLUMNS = 100


_STATES = {
    State.PENDING: tr("pending"),
    State.APPROVED: tr("approved"),
    State.EXECUTING: tr("executing"),
    State.DONE: tr("done"),
    State.FAILED: tr("failed"),
    State.UNKNOWN: tr("unknown"),
    State.REJECTED: tr("rejected"),
    State.EXPIRED: tr("expired"),
}


def state_text(state: State) -> str:
    """``state`` for a person at the terminal."""
    return translated(_STATES[state])


def display(
    request: Request, action: Action, judgement: Judgement, columns: int = DEFAULT_COLUMNS
) -> Display:
    """All of ``request``. Rows that hold foreign text start with a bar; ours never do."""
    record = request.record
    rows = [
        say("Request   {id}", id=request.id),
        say("Digest    {digest}", digest=request.digest),
        say("State     {state}", state=state_text(request.state)),
        say("Asked by  {who}", who=escape(request.principal)),
        say("What"),
        *quoted(translated(action.title(record["arguments"])), columns),
        say("Risk      {level}", level=judgement.level.name),
        *(
            say("  because {reason}", reason=escape(translated(reason)))
            for reason in judgement.reasons
        ),
    ]
    if judgement.denied is not None:
        rows += [say("Denied    {why}", why=escape(translated(judgement.denied)))]
    for name, value in record["arguments"].items():
        if name in action.shown_by_change:
            continue
        rows += [say("Argument  {name}", name=name), *quoted(_as_text(value), columns)]
    if action.change:
        change = action.change(record["arguments"], Path(record["cwd"]))
        rows += [say("Change"), *quoted(change or say("(no difference)"), columns)]
    rows += [say("In the folder"), *quoted(record["cwd"], columns)]
    for file in record["files"]:
        rows += [
            say("File it {role} (SHA-256 {sha256}…)", role=file["role"], sha256=file["sha256"][:16])
        ]
        rows += quoted(file["path"], columns)
    for name, value in record["environment"].items():
        rows += [say("Environment  {name}", name=name), *quoted(value, columns)]
    if record["secret_environment"]:
        rows += [say("Environment  taken from the approver's terminal, where set:")]
        rows += quoted(" ".join(record["secret_environment"]), columns)
    if record["justification"]:
        rows += [say("A model wrote this justification; nobody has checked it:")]
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
            found.append(
                tr("letters of several scripts in one word: {words}", words=" ".join(words[:5]))
            )
        if HIDDEN in redact(text):
            found.append(tr("it seems to hold a secret (a key, a token or a password)"))
    if hidden:
        found.append(tr("it holds {hidden} characters that are not plainly visible", hidden=hidden))
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
