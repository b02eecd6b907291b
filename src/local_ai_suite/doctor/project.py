"""Checks of the project: settings, models, ports, configuration, what runs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.catalog.catalog import CHAT, CODE
from local_ai_suite.messages import joined, tr
from local_ai_suite.stack.ports import first_free_port
from local_ai_suite.stack.status import state_text

from .check import Check, failure, ok, warning
from .machine import on_wsl

if TYPE_CHECKING:
    from .snapshot import PortFact, Snapshot

_OTHERS = 0o077
_EXCLUDED = tr(
    "On Windows, ranges of ports are reserved: `netsh interface ipv4 show "
    "excludedportrange protocol=tcp` lists them."
)


def check_settings(facts: Snapshot) -> list[Check]:
    if facts.settings_error is not None:
        return [failure("settings", facts.settings_error.message, facts.settings_error.hint)]
    found: list[Check] = []
    if facts.env_mode is None:
        if facts.example_there:
            found.append(ok("settings", tr("there is no .env yet: the first `up` makes it")))
        else:
            found.append(
                failure(
                    "settings",
                    tr(
                        "neither .env nor .env.example is in {project}", project=facts.paths.project
                    ),
                    tr("`git checkout .env.example` brings the example back."),
                )
            )
    else:
        changed = sum(1 for where in (facts.settings.sources if facts.settings else {}).values()
                      if where == "environment")  # fmt: skip
        more = tr("; {changed} more from the environment", changed=changed) if changed else ""
        found.append(
            ok(
                "settings",
                tr("{env_file} is valid{note}", env_file=facts.paths.env_file, note=more),
            )
        )
        private_disk = facts.project is None or facts.project.kind == "native"
        if facts.env_mode & _OTHERS and private_disk:
            found.append(
                warning(
                    "settings",
                    tr(
                        "other users of this machine can read .env and the key in it (mode "
                        "{mode:o})",
                        mode=facts.env_mode,
                    ),
                    tr("chmod 600 .env"),
                )
            )
    if facts.env_tracked:
        found.append(
            warning(
                "settings",
                tr(".env is under version control, with the key in it"),
                tr("git rm --cached .env, then change LITELLM_MASTER_KEY."),
            )
        )
    misspelt = facts.settings.warnings if facts.settings else ()
    found += [warning("settings", w, tr("Correct the name, or remove the line.")) for w in misspelt]
    return found


def check_models(facts: Snapshot) -> list[Check]:
    """Every model file is read: a truncated download is found here."""
    if facts.models_error is not None:
        return [failure("models", facts.models_error.message, facts.models_error.hint)]
    if facts.catalog is None:
        return []
    entries = facts.catalog.entries
    names = joined(
        ", ",
        (tr("{name} is {file}", name=e.name, file=e.path.name) for e in entries[:4]),
    )
    details = {"models": {entry.name: str(entry.path) for entry in entries}}
    if all(entry.is_demo for entry in entries):
        found = [
            ok(
                "models",
                tr(
                    "no model is there yet: the small demo model answers. `lais models pull "
                    "chat` downloads a real one"
                ),
                **details,
            )
        ]
    else:
        found = [
            ok(
                "models",
                tr("{names}{more}", names=names, more=" ..." if len(entries) > 4 else ""),
                **details,
            )
        ]
    for entry in entries:
        if entry.file.architecture in facts.unknown_architectures:
            grade = failure if entry is facts.catalog_default else warning
            found.append(
                grade(
                    "models",
                    tr(
                        "{name} is of the architecture {architecture!r}, which the engine does not "
                        "know",
                        name=entry.path.name,
                        architecture=entry.file.architecture,
                    ),
                    tr("Take a newer llama-server (LLAMA_SERVER in .env), or another model."),
                )
            )
    for entry in entries:
        if {CHAT, CODE} & set(entry.names):
            found += [
                warning(
                    "models",
                    tr("{name}: {told}", name=entry.name, told=told),
                    tr("`lais models pull chat` gets one."),
                )
                for told in entry.warnings
            ]
    for problem in facts.catalog.problems:
        found.append(
            warning(
                "models", tr("not served: {problem}", problem=problem),
                tr("Download it again (`lais models pull`), or remove it (`lais models rm`)."),
            )
        )  # fmt: skip
    return found


def check_ports(facts: Snapshot) -> list[Check]:
    native = facts.settings is None or facts.settings.runtime == "native"
    return [_check_port(port, native=native, wsl=on_wsl(facts)) for port in facts.ports]


def _check_port(fact: PortFact, *, native: bool, wsl: bool) -> Check:
    if fact.holder is None:
        return ok(
            "ports", tr("{port} ({key}) is free", port=fact.port, key=fact.key), port=fact.port
        )
    if fact.holder.privileged:
        # Docker's engine is root: it can publish there what a process of ours cannot hold.
        return (failure if native else warning)(
            "ports",
            tr(
                "{port} ({key}) is held by {holder}",
                port=fact.port,
                key=fact.key,
                holder=fact.holder.describe(),
            ),
            tr(
                "Set {key} to a port from {port} on in .env.",
                key=fact.key,
                port=first_free_port(),
            ),
            port=fact.port,
        )
    pid = fact.holder.pid
    if fact.ours:
        return ok(
            "ports",
            tr("{port} ({key}) is held by this stack itself", port=fact.port, key=fact.key),
            port=fact.port,
        )
    if fact.holder.project:
        remedy = tr(
            "Run `make down` in {project}, or set {key} in .env.",
            project=fact.holder.project,
            key=fact.key,
        )
    elif pid is not None:
        remedy = tr(
            "Stop it (kill {pid}), or set {key} to another port in .env.", pid=pid, key=fact.key
        )
    else:
        remedy = tr("Set {key} to another port in .env.", key=fact.key)
        if wsl:
            remedy = joined(" ", (remedy, _EXCLUDED))
    return failure(
        "ports",
        tr(
            "{port} ({key}) is held by {holder}",
            port=fact.port,
            key=fact.key,
            holder=fact.holder.describe(),
        ),
        remedy,
        port=fact.port,
        pid=pid,
        command=fact.holder.command,
    )


def check_gateway_config(facts: Snapshot) -> list[Check]:
    if facts.gateway_error is None:
        return [ok("gateway", tr("{name} is valid", name=facts.paths.gateway_config.name))]
    return [failure("gateway", facts.gateway_error.message, facts.gateway_error.hint)]


def check_stack(facts: Snapshot) -> list[Check]:
    """What runs now; for the doctor, after a start."""
    if facts.run is None:
        return [ok("stack", tr("nothing runs"))]
    bad = [service for service in facts.run.services if service.phase not in {"ready", "starting"}]
    if bad:
        return [
            warning(
                "stack",
                joined(
                    "; ",
                    (
                        tr(
                            "{name} is {phase}: {reason}",
                            name=s.name,
                            phase=state_text(s.phase),
                            reason=s.reason or tr("no reason known"),
                        )
                        for s in bad
                    ),
                ),
                tr("`lais logs` shows its last words; `make restart` starts everything again."),
            )
        ]
    names = joined(
        ", ",
        (
            tr("{name} is {phase}", name=s.name, phase=state_text(s.phase))
            for s in facts.run.services
        ),
    )
    return [ok("stack", tr("{names} ({runtime})", names=names, runtime=facts.run.runtime))]
