"""``lais up``, ``down``, ``restart``."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from local_ai_suite.cli.output import echo, json_option, show
from local_ai_suite.doctor import ensure_ready
from local_ai_suite.log import log_to_file
from local_ai_suite.messages import say, translated
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings
from local_ai_suite.settings.file import ensure_env_file
from local_ai_suite.stack import phases, runtime, status
from local_ai_suite.stack.phases import API_GATEWAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_ai_suite.stack.runtime import UpOutcome


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A spinner with the current step on a terminal, one line a step elsewhere, on stderr."""
    if quiet:
        yield lambda _line: None
        return
    if not sys.stderr.isatty():
        yield lambda line: echo(say("  {line} ...", line=line), err=True)
        return
    from rich.console import Console  # noqa: PLC0415  (60 ms that only a terminal needs)

    console = Console(stderr=True)
    with console.status(say("working")) as spinner:
        yield lambda line: spinner.update(f"{translated(line)} ...")


@click.command()
@click.argument("phase", default="p1")
@json_option
def up_command(phase: str, as_json: bool) -> int:
    """Start PHASE (p1) and wait until it answers."""
    return bring_up("up", phase, as_json=as_json)


def bring_up(command: str, phase: str, *, as_json: bool) -> int:
    """What ``up`` does, and ``restart`` after its ``down``; ``command`` names the envelope."""
    paths = find_paths()
    phases.check_phase(phase)
    log_to_file(paths.ensure_state() / "logs", "up")
    if ensure_env_file(paths):
        echo(say("  made {name} with a fresh key", name=paths.env_file.name), err=True)
    settings = load_settings(paths)
    ensure_ready(settings, paths)
    try:
        with progress(as_json) as report:
            outcome = runtime.up(phase, settings, paths, report)
    except SystemExit:  # SIGTERM, from `lais down` for one
        echo(say("stopped by another command; what had begun was ended"), err=True)
        raise
    warnings = (*settings.warnings, *outcome.notes)
    folder = settings.models_path(paths)
    inside = folder.is_relative_to(paths.project)
    text = up_text(outcome, f"{folder.relative_to(paths.project) if inside else folder}/")
    return show(Result(command, text, asdict(outcome), warnings=warnings), as_json=as_json)


def up_text(outcome: UpOutcome, models: str) -> str:
    """What ``up`` prints for a person; ``models``: their folder, as they would write it."""
    stack = outcome.stack
    how = (
        say("is already up")
        if outcome.already
        else say("is up ({seconds:.1f} s)", seconds=outcome.seconds)
    )
    lines = [
        say(
            "Local AI Suite {how}: {address}   [{phase}, {runtime}]",
            how=how,
            address=stack.address,
            phase=stack.phase,
            runtime=stack.runtime,
        ),
        "",
    ]
    rows = status.model_rows(stack.models)
    lines += ["  " + line for line in status.table([status.model_columns(), *rows])]
    if any((model.get("meta") or {}).get("is_demo") for model in stack.models):
        lines += [
            "",
            say(
                "This is the small demo model: no chat model was found. For a real one: "
                ".venv/bin/lais models pull chat, or put a .gguf file into {folder}; then make "
                "restart",
                folder=models,
            ),
        ]
        if not stack.address.endswith(f":{API_GATEWAY.container_port}/v1"):
            lines.append(
                say(
                    "It has learnt the usual port, {port}; here the address is {address}",
                    port=API_GATEWAY.container_port,
                    address=stack.address,
                )
            )
    if told := status.worth_knowing(stack):
        lines += ["", *(f"  {line}" for line in told)]
    lines += ["", say("Try:  curl {address}/models", address=stack.address), say("Stop: make down")]
    return "\n".join(lines)


@click.command()
@json_option
def down_command(as_json: bool) -> int:
    """Stop everything this project started."""
    paths = find_paths()
    with progress(as_json) as report:
        count = runtime.down(paths, report)
    text = (
        say("Stopped ({count} processes).", count=count) if count else say("Nothing was running.")
    )
    return show(Result("down", text, {"stopped": count}), as_json=as_json)


@click.command()
@click.argument("phase", default="p1")
@json_option
def restart_command(phase: str, as_json: bool) -> int:
    """Stop, then start PHASE again."""
    phases.check_phase(phase)
    paths = find_paths()
    # What would keep it from starting again must not stop what runs.
    ensure_ready(load_settings(paths), paths)
    with progress(as_json) as report:
        runtime.down(paths, report)
    return bring_up("restart", phase, as_json=as_json)
