"""``lais status``, ``lais logs``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from local_ai_suite.cli.output import echo, json_option, show
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.stack import containers, logs, runtime, status
from local_ai_suite.stack.state import read_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_ai_suite.paths import Paths

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue")


@click.command()
@json_option
def status_command(as_json: bool) -> int:
    """What runs, since when, on which port, with which models and memory.

    Exit code 0: everything is ready; 1: nothing runs, or something is not ready.
    """
    paths = find_paths()
    settings, trouble = runtime.settings_and_trouble(paths)
    stack = runtime.current(paths, settings)
    result = Result(
        "status",
        status.as_text(stack),
        {"running": stack.running, "healthy": stack.healthy, **asdict(stack)},
        warnings=trouble,
        exit_code=0 if stack.healthy else 1,
    )
    return show(result, as_json=as_json)


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Lines of each service.",
)
@json_option
def logs_command(follow: bool, lines: int, as_json: bool) -> int:
    """The logs of all services, each line with its service's name."""
    paths = find_paths()
    folder = paths.ensure_state() / "logs"
    run = read_run(paths.run_file)
    in_docker = run is not None and run.runtime == "docker"
    if as_json:
        last = containers.last_lines(paths, lines)
        found = last if in_docker else logs.last_lines(folder, lines)
        data = [{"service": name, "line": line} for name, line in found]
        return show(Result("logs", "", {"lines": data}), as_json=True)
    colours: dict[str, str] = {}
    for name, line in _lines(paths, lines, follow=follow, in_docker=in_docker):
        _print(name, line, colours)
    return 0


def _lines(paths: Paths, count: int, *, follow: bool, in_docker: bool) -> Iterator[tuple[str, str]]:
    """The last ``count`` lines of each service, then new ones if ``follow``."""
    if in_docker:
        lines = containers.follow if follow else containers.last_lines
        yield from lines(paths, count)
        return
    read: logs.Read = {}
    yield from logs.last_lines(paths.logs, count, read if follow else None)
    if follow:
        yield from logs.follow(paths.logs, read)


def _print(name: str, line: str, colours: dict[str, str]) -> None:
    colour = colours.setdefault(name, _COLOURS[len(colours) % len(_COLOURS)])
    echo(f"{name:<12}", nl=False, fg=colour)  # without colour where stdout is no terminal
    echo(f" | {line}")
