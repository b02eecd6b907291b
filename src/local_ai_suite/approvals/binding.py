"""What a request is bound to, and the same record on its way into an executor."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr
from local_ai_suite.repository.program import search_path

from .arguments import normalise
from .executors import Execution
from .places import user
from .store import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .places import Places
    from .registry import Action

_NONCE_BYTES = 16
_MOST_JUSTIFICATION = 4_000


def bind_record(
    kind: Action,
    arguments: Mapping[str, Any],
    *,
    places: Places,
    environ: Mapping[str, str],
    component: str,
    cwd: Path,
    session: str,
    justification: str,
) -> dict[str, Any]:
    """Everything that the approval will be bound to, JSON-able; its digest is what is approved.

    Raises :class:`ApprovalError` when the arguments don't fit, have no canonical form, or reach
    into the approvals' own files.
    """
    here = cwd.resolve()
    settled = normalise(kind.name, kind.fields, arguments)
    files = kind.bound_files(settled, here)
    for file in files:
        ours = (places.folder.resolve(), places.head_folder.resolve())
        if file.role != "executes" and any(Path(file.path).is_relative_to(one) for one in ours):
            raise ApprovalError(
                tr("{path} belongs to the approvals themselves", path=file.path),
                hint=tr("No action may touch the queue, its key, its policy or its audit."),
            )
    record = {
        "action": kind.name,
        "version": kind.version,
        "arguments": settled,
        "files": [file.as_dict() for file in files],
        "cwd": str(here),
        "environment": _environment(kind, environ, here),
        "secret_environment": list(kind.secret_environment),
        "principal": f"{user()}:{component}",
        "session": session,
        "justification": justification[:_MOST_JUSTIFICATION],
        "nonce": secrets.token_hex(_NONCE_BYTES),
    }
    try:
        content_key(record)
    except ValueError as exc:
        raise ApprovalError(
            tr("{name}: {exc}", name=kind.name, exc=exc),
            hint=tr("What is asked for must have one meaning as JSON."),
        ) from exc
    return record


def _environment(kind: Action, environ: Mapping[str, str], cwd: Path) -> dict[str, str]:
    """The allowed variables; no folder of the project's stays in PATH."""
    found = {name: environ[name] for name in kind.environment if name in environ}
    if "PATH" in found:
        found["PATH"] = search_path(cwd, found["PATH"])
    return found


def execution(kind: Action, record: Mapping[str, Any], environ: Mapping[str, str]) -> Execution:
    """The stored record for its executor; only the secrets come from today's environment."""
    secret = {name: environ[name] for name in record["secret_environment"] if name in environ}
    programs = [file["path"] for file in record["files"] if file["role"] == "executes"]
    return Execution(
        arguments=dict(record["arguments"]),
        cwd=Path(record["cwd"]),
        environment={**record["environment"], **secret},
        programs=dict(zip(kind.programs, programs, strict=True)),
    )
