"""Request, decision, ledger: the only gate to anything that changes the world.

with open_gate(paths) as gate:
    request = gate.request("create_branch", {...}, component="plan", cwd=repository)
    ...a person approves it in a terminal...
    gate.execute(request.id)
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import tr

from .audit import Audit
from .gate import Gate
from .places import find_places, load_key
from .policy import load_policy
from .store import Request, State, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_ai_suite.paths import Paths

__all__ = ["Gate", "Request", "State", "open_gate"]


@contextmanager
def open_gate(
    paths: Paths, environ: Mapping[str, str] | None = None, **options: Any
) -> Iterator[Gate]:
    """The gate over this project's queue; makes its folders and its key the first time.

    ``options`` are :class:`Gate`'s own (``clock``, ``actions``, ``on_step``).
    """
    places = find_places(paths, environ)
    try:
        places.make()
        key = load_key(places)
        policy = load_policy(places.policy)
        store = Store(places.database, key)
    except OSError as exc:
        raise ApprovalError(
            tr("the approvals' folders cannot be used: {exc}", exc=exc),
            hint=tr(
                "{folder} and {head_folder} must be yours and writable.",
                folder=places.folder,
                head_folder=places.head_folder,
            ),
        ) from exc
    audit = Audit(places, key)
    gate = Gate(places=places, store=store, audit=audit, policy=policy, environ=environ, **options)
    try:
        yield gate
    finally:
        gate.close()
