"""What is wrong with this machine or project, and what to do about it.

``preflight`` answers whether `up` will work; ``examine`` adds what runs now; ``fast_checks`` is
what `up` asks first: no program is started for it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from local_ai_suite.catalog.catalog import configured_models
from local_ai_suite.engines.find import find_engines
from local_ai_suite.errors import PortInUse, StackError, SuiteError
from local_ai_suite.messages import joined
from local_ai_suite.stack.docker import check_models
from local_ai_suite.stack.state import read_run

from . import machine, project, tools
from .check import Check, Report, failure
from .snapshot import Snapshot, folder, gateway_error, gather, port_facts, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

__all__ = [
    "Check",
    "Report",
    "Snapshot",
    "ensure_ready",
    "examine",
    "fast_checks",
    "gather",
    "preflight",
]


def preflight(facts: Snapshot) -> Report:
    """Will `up` work? A failure says no; a warning says how well."""
    return Report(
        (
            tools.check_python(facts),
            *project.check_settings(facts),
            machine.check_gpu(facts),
            *tools.check_engine(facts),
            *tools.check_gateway(facts),
            *project.check_gateway_config(facts),
            *tools.check_docker(facts),
            *machine.check_paths(facts),
            *project.check_models(facts),
            *machine.check_fit(facts),
            *project.check_ports(facts),
            *machine.check_disk(facts),
            machine.check_memory(facts),
        )
    )


def examine(facts: Snapshot) -> Report:
    """The preflight, what loads took against what was projected, and what runs."""
    return Report(
        (
            *preflight(facts).checks,
            *machine.check_projections(facts),
            *project.check_stack(facts),
        )
    )


def ensure_ready(
    settings: Settings, paths: Paths, *, environ: Mapping[str, str] | None = None
) -> None:
    """:func:`fast_checks`, as one error that says everything: what `up` calls.

    Raises :class:`StackError`, :class:`PortInUse` when ports are all that is in the way, or the
    model's or engine's own error when it is the only one.
    """
    failures = fast_checks(settings, paths, environ=environ).failures
    if not failures:
        return
    if len(failures) == 1 and failures[0].error is not None:
        raise failures[0].error
    kind = PortInUse if all(check.name == "ports" for check in failures) else StackError
    raise kind(
        joined("; ", (check.message for check in failures)),
        hint=joined(" ", dict.fromkeys(check.remedy for check in failures)),
        checks=[check.name for check in failures],
    )


def fast_checks(
    settings: Settings, paths: Paths, *, environ: Mapping[str, str] | None = None
) -> Report:
    """The failing-fast subset for `up`: milliseconds, nothing is started or asked.

    The engine is looked for and not asked; ports of this project's own run count as fine.
    """
    env = dict(os.environ if environ is None else environ)
    look_at_models = check_models if settings.runtime == "docker" else configured_models
    needed: list[tuple[str, Callable[[], object]]] = [
        ("models", lambda: look_at_models(settings, paths)),
    ]
    if settings.runtime == "native":
        needed.append(
            ("engine", lambda: find_engines(settings, paths, environ=env, ask=lambda *_: None))
        )
    found = []
    for name, look in needed:
        try:
            look()
        except SuiteError as exc:
            found.append(replace(failure(name, exc.message, exc.hint), error=exc))
    facts = Snapshot(
        paths=paths,
        settings=settings,
        state=folder(paths.state),
        ports=port_facts(settings, paths, read_run(paths.run_file)),
        gateway_error=gateway_error(paths, settings, env),
        versions=versions(),
    )
    gateway = tools.check_gateway(facts) if settings.runtime == "native" else []
    checks = (
        *found,
        *gateway,
        *project.check_gateway_config(facts),
        *project.check_ports(facts),
        *machine.check_disk(facts),
    )
    return Report(checks)
