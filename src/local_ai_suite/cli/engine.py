"""``lais ps``, ``load``, ``unload``, ``engine list``, ``engine build``."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict
from typing import Any

import click
import orjson

from local_ai_suite import hardware
from local_ai_suite.cli.output import echo, json_option, rewrite_line, show
from local_ai_suite.engines import build, find
from local_ai_suite.errors import EngineError
from local_ai_suite.messages import say, tr, translated
from local_ai_suite.messages.width import ljust, rjust
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import Settings, load_settings
from local_ai_suite.stack import probe, status

MIB = 2**20
_OUTDATED = tr(
    "the engine built here is of other sources than are pinned now: `lais engine "
    "build` makes it anew"
)


@click.command()
@json_option
def ps_command(as_json: bool) -> int:
    """The models of the engine service: which run, since when, with how much memory."""
    settings = load_settings(find_paths())
    data = _ask(settings, "/running")
    result = Result("ps", ps_text(data), data, warnings=tuple(data.get("warnings", ())))
    return show(result, as_json=as_json)


@click.command()
@click.argument("model", default="local-chat")
@json_option
def load_command(model: str, as_json: bool) -> int:
    """Load MODEL now (local-chat if none is named), whatever the last try said."""
    settings = load_settings(find_paths())
    row = _ask(settings, "/models/load", {"model": model}, settings.load_timeout + 30)
    text = say(
        "{model} is ready: {context}, loaded in {seconds} s",
        model=model,
        context=_context(row),
        seconds=row["load_seconds"],
    )
    return show(Result("load", text, row, warnings=tuple(row["deviations"])), as_json=as_json)


@click.command()
@click.argument("model")
@json_option
def unload_command(model: str, as_json: bool) -> int:
    """Stop MODEL's engine when its requests are done; the next request loads it again."""
    settings = load_settings(find_paths())
    row = _ask(settings, "/models/unload", {"model": model}, 600)
    return show(Result("unload", say("{model} is unloaded", model=model), row), as_json=as_json)


@click.group()
def engine_command() -> None:
    """The inference engine: which ones are there, and one made for this machine."""


@engine_command.command("list")
@json_option
def list_command(as_json: bool) -> int:
    """The engines found, in the order of choice; the first one is used."""
    paths = find_paths()
    found = find.find_engines(load_settings(paths), paths)
    rows = [
        {key: value for key, value in asdict(item).items() if key != "flags"} | {"used": not number}
        for number, item in enumerate(found)
    ]
    lines: list[str] = []
    warnings: tuple[str, ...] = ()
    for number, item in enumerate(found):
        mark = "*" if number == 0 else " "
        gpu = {True: "GPU", False: say("CPU only"), None: say("GPU unknown")}[item.gpu]
        version = item.version or say("version unknown")
        lines.append(f"{mark} {item.source:<9} {version}, {gpu}")
        lines.append(f"    {' '.join(item.command)}")
        lines.append(f"    {translated(item.problem or item.reason)}")
        lines += [f"    {device}" for device in item.devices]
        if item.source == "built" and build.is_outdated(paths):
            warnings = (_OUTDATED,)
    result = Result("engine list", "\n".join(lines), {"engines": rows}, warnings)
    return show(result, as_json=as_json)


@engine_command.command("build")
@click.option("--cuda/--no-cuda", default=None, help="Default: if nvcc and a GPU are there.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Compilers at a time.")
@json_option
def build_command(cuda: bool | None, jobs: int | None, as_json: bool) -> int:
    """Compile llama-server for this machine, from pinned sources; `up` then prefers it.

    Takes ten minutes on two cores; with CUDA longer. After Ctrl-C it goes on where it stopped.
    """
    # A closed terminal or a `kill` ends the compilers as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    paths = find_paths()
    if cuda is None:
        cuda = build.wants_cuda(os.environ.get("PATH"), hardware.detect().gpus)
    built = build.build(paths, cuda=cuda, jobs=jobs, progress=_Bar())
    if sys.stderr.isatty():
        echo("", err=True)
    with_what = say("with CUDA") if built.cuda else say("for the CPU")
    text = f"{built.path}: {built.version}, {with_what}, in {built.seconds:.0f} s"
    hint = say("`lais restart` takes it up.") if probe.ask(_port(), "/health") else ""
    return show(Result("engine build", f"{text}\n{hint}".strip(), asdict(built)), as_json=as_json)


class _Bar:
    """One line on a terminal; elsewhere a line for every tenth part."""

    def __init__(self) -> None:
        self._said: tuple[str, int] | None = None

    def __call__(self, what: str, part: float | None) -> None:
        tenth = int((part or 0.0) * 10)
        if sys.stderr.isatty():
            share = "" if part is None else f" {part * 100:3.0f} %"
            rewrite_line(f"{translated(what)}{share}")
        elif (what, tenth) != self._said:
            words = translated(what)
            echo(words if part is None else f"{words}: {tenth * 10} %", err=True)
        self._said = (what, tenth)


def ps_text(data: dict[str, Any]) -> str:
    """``GET /running`` as a table."""
    width = max([24, *(len("/".join(row["names"])) for row in data["models"])])
    lines = [
        (
            f"{ljust(say('MODEL'), width)} {ljust(say('STATUS'), 9)} {rjust(say('MEMORY'), 22)} "
            f"{rjust(say('CONTEXT'), 16)} {rjust(say('REQUESTS'), 9)}  {say('SINCE')}"
        )
    ]
    for row in data["models"]:
        held = row["projected_bytes"] if row["pid"] else None
        memory = ", ".join(f"{name} {size // MIB} MiB" for name, size in (held or {}).items())
        age = row["loaded_seconds"]
        since = status.duration(age) if age is not None else ""
        busy = f"{row['in_flight']}+{row['waiting']}" if row["pid"] else ""
        shown = _context(row) if row["pid"] else ""
        name = "/".join(row["names"])
        state = translated(status.state_text(row["status"]))
        lines.append(
            f"{name:<{width}} {ljust(state, 9)} {memory:>22} {rjust(shown, 16)} {busy:>9}  {since}"
        )
        lines += [
            f"    {item}" for item in (_speed(row), *row["deviations"], row["failure"]) if item
        ]
    for device, room in data["capacity_bytes"].items():
        used = data["used_bytes"].get(device, 0)
        lines.append(
            say(
                "{device}: {used} of {room} MiB held by models",
                device=device,
                used=used // MIB,
                room=room // MIB,
            )
        )
    engine = data["engine"]
    lines.append(
        say(
            "engine: {source}, {version}",
            source=engine["source"],
            version=engine["version"] or say("version unknown"),
        )
    )
    return "\n".join([*lines, *data["problems"]])


def _speed(row: dict[str, Any]) -> str:
    """Generated against expected tokens/s, as far as they are known."""
    expected = (row["plan"] or {}).get("tokens_per_second")
    measured = row.get("tokens_per_second")
    if not row["pid"] or not (expected or measured):
        return ""
    told = [say("{expected:.0f} tokens/s expected", expected=expected)] if expected else []
    if measured:
        told.append(say("{measured:.1f} generated", measured=measured))
    return ", ".join(told)


def _context(row: dict[str, Any]) -> str:
    plan = row["plan"] or {}
    if not plan.get("ctx_size"):
        return ""
    slots = f" x {plan['parallel']}" if (plan.get("parallel") or 1) > 1 else ""
    return say("{ctx_size} tokens{slots}", ctx_size=plan["ctx_size"], slots=slots)


def _port() -> int:
    return load_settings(find_paths()).inference_port


def _ask(
    settings: Settings, path: str, body: dict[str, Any] | None = None, timeout_s: float = 10.0
) -> dict[str, Any]:
    """Ask the engine service. Raises EngineError when it is away or says no."""
    port = settings.inference_port
    answer = probe.ask(port, path, key=settings.litellm_master_key, body=body, timeout_s=timeout_s)
    if answer is None:
        raise EngineError(
            tr("the engine service does not answer on port {port}", port=port),
            hint=tr("`make up-p1` starts it; `lais status` tells what runs."),
        )
    status, raw = answer
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        raise EngineError(
            tr("what listens on port {port} is not the engine service", port=port)
        ) from exc
    if status != 200:
        error = found.get("error") if isinstance(found, dict) else None
        message = (
            error.get("message")
            if isinstance(error, dict)
            else tr("status {status}", status=status)
        )
        raise EngineError(str(message), hint=tr("`lais logs` tells more."), status=status)
    if not isinstance(found, dict):
        raise EngineError(tr("what listens on port {port} is not the engine service", port=port))
    return found
