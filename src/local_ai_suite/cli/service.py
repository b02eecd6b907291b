"""``lais service install|uninstall|status``: the suite at boot."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from local_ai_suite.cli.output import json_option, show
from local_ai_suite.messages import say, translated
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.stack import boot


def _unit(phase: str) -> boot.Unit:
    return boot.unit_for(find_paths(), phase, root=os.geteuid() == 0, environ=os.environ)


@click.group()
def service_command() -> None:
    """Start the suite at boot, by systemd."""


@service_command.command("install")
@click.argument("phase", default="p1")
@click.option("--print", "only_print", is_flag=True, help="Only show what it would write.")
@json_option
def install_command(phase: str, only_print: bool, as_json: bool) -> int:
    """Start PHASE at boot: as root by the system, else by this user's own systemd."""
    unit = _unit(phase)
    data = {"path": str(unit.path), "unit": unit.text, "written": not only_print}
    if only_print:
        text = f"# {unit.path}\n{unit.text}"
        return show(Result("service install", text.rstrip(), data), as_json=as_json)
    boot.install(unit)
    lines = [
        say("Wrote {path}:", path=unit.path),
        "",
        *(f"    {line}" for line in unit.text.splitlines()),
        "",
        say("It starts with this machine from now on. Now: make up-p1"),
    ]
    warnings = _about_lingering(boot.standing(unit))
    result = Result("service install", "\n".join(lines), data, warnings)
    return show(result, as_json=as_json)


@service_command.command("uninstall")
@json_option
def uninstall_command(as_json: bool) -> int:
    """Start nothing at boot any more. What runs goes on."""
    unit = _unit("p1")
    removed = boot.uninstall(unit)
    text = (
        say("Removed {path}. What runs goes on: make down stops it.", path=unit.path)
        if removed
        else say("Nothing was installed.")
    )
    return show(Result("service uninstall", text, {"removed": removed}), as_json=as_json)


@service_command.command("status")
@json_option
def status_command(as_json: bool) -> int:
    """Whether the suite starts at boot. Exit code 0: it does; 1: it does not."""
    unit = _unit("p1")
    found = boot.standing(unit)
    if not found.installed:
        text = say("Nothing is installed: the suite does not start at boot.")
    elif not found.enabled:
        text = say("{path} is there, and no systemd that would start it.", path=unit.path)
    else:
        text = say(
            "{path} is {enabled} and {active}.",
            path=unit.path,
            enabled=found.enabled,
            active=found.active,
        )
    warnings = _about_lingering(found)
    if found.outdated:
        warnings += (say("it differs from what `lais service install` writes now"),)
    data = {"path": str(unit.path), **asdict(found)}
    code = 0 if found.installed and found.enabled == "enabled" else 1
    return show(Result("service status", translated(text), data, warnings, code), as_json=as_json)


def _about_lingering(found: boot.Standing) -> tuple[str, ...]:
    if not found.installed or found.lingers is not False:
        return ()
    return (
        say("it waits until you log in; to start it at boot: sudo loginctl enable-linger $USER"),
    )
