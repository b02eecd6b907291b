"""``lais connect``, ``lais disconnect``, ``lais launch``: editors and agents."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from local_ai_suite.cli.output import echo, json_option, show
from local_ai_suite.client import client_for
from local_ai_suite.connect import changes, formats, table, tunnels, values
from local_ai_suite.connect.editor import Home, Target
from local_ai_suite.connect.processes import is_running
from local_ai_suite.connect.proof import Step, prove
from local_ai_suite.connect.serving import PLACEHOLDER, read_endpoint
from local_ai_suite.errors import UsageError
from local_ai_suite.messages import say, tr, translated
from local_ai_suite.messages.width import ljust
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.connect.changes import Change
    from local_ai_suite.connect.editor import Editor
    from local_ai_suite.connect.serving import Endpoint
    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings


def _client(name: str) -> Editor:
    client = table.find(name)
    if client is None:
        known = ", ".join(one.id for one in table.CLIENTS)
        raise UsageError(
            tr("there is no client called {name}", name=name),
            hint=tr("There is: {known}.", known=known),
        )
    return client


def _ledger(paths: Paths, client: Editor) -> Path:
    return paths.state / "connect" / f"{client.id}.json"


def _endpoint(settings: Settings) -> Endpoint:
    """From the running server, with the address as clients on this machine write it."""
    api = client_for(settings)
    base = api.base_url
    if settings.on_loopback:
        # Both loopbacks are listened on; what `localhost` is differs from client to client.
        base = f"http://localhost:{settings.api_gateway_port}/v1"
    return read_endpoint(api.models(), base, key_needed=settings.require_key)


def _key(settings: Settings, endpoint: Endpoint) -> str:
    return (settings.litellm_master_key or "") if endpoint.key_needed else PLACEHOLDER


@click.command()
@click.argument("name", metavar="[CLIENT]", required=False)
@click.option("--print", "only_print", is_flag=True, help="Show what would be written, no more.")
@click.option("--check", is_flag=True, help="Do the round trip again, of CLIENT or of all.")
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@click.option("--no-proof", is_flag=True, help="Leave the round trip out.")
@json_option
def command(
    *, name: str | None, only_print: bool, check: bool, yes: bool, no_proof: bool, as_json: bool
) -> int:
    """Connect an editor or agent to the local models; without CLIENT list them.

    Shows the change first, keeps everything else in the file, backs it up, and then proves the
    connection. `lais disconnect CLIENT` gives the file back.
    """
    paths = find_paths()
    settings = load_settings(paths)
    home = Home.here()
    if check:
        return show(_check(paths, settings, home, name), as_json=as_json)
    if name is None:
        return show(_list(paths, home), as_json=as_json)
    client = _client(name)
    endpoint = _endpoint(settings)
    if client.id == "env":
        return show(_environment(settings, endpoint), as_json=as_json)
    plans = _plans(client, endpoint, home)
    steps = _steps(client, endpoint)
    shown = "\n".join(
        [*(plan.diff() for plan in plans if not plan.nothing), *map(translated, steps)]
    )
    data: dict[str, Any] = {
        "client": client.id,
        "files": [{"path": str(plan.path), "diff": plan.diff()} for plan in plans],
        "steps": steps,
        "notes": list(client.notes),
    }
    if only_print or not client.files:
        text = shown or _launch_line(client) or say("nothing to change")
        text = "\n".join([text, *(say("note: {note}", note=note) for note in client.notes)])
        return show(Result("connect", text, data), as_json=as_json)
    running = _running(client)
    backups: list[Path] = []
    if any(not plan.nothing for plan in plans):
        if not as_json:
            echo("\n".join([shown, *running]), err=True)
        _agree(yes)
        backups = changes.write(plans, _ledger(paths, client))
    data["notes"] += running
    data["backups"] = [str(backup) for backup in backups]
    lines = [f"{p.path}: {say('as it was') if p.nothing else say('written')}" for p in plans]
    lines += [say("the file as it was: {backup}", backup=backup) for backup in backups]
    lines += [say("note: {note}", note=note) for note in (*client.notes, *running)]
    code = 0
    if not no_proof:
        proved = _prove(client, _target(client, home), settings, endpoint)
        data["proof"] = [asdict(step) for step in proved]
        lines += _as_lines(proved)
        code = 1 if any(step.passed is False for step in proved) else 0
    return show(Result("connect", "\n".join(lines), data, exit_code=code), as_json=as_json)


def _plans(client: Editor, endpoint: Endpoint, home: Home) -> list[Change]:
    plans = []
    places = [(file, path) for file in client.files for path in file.paths(home)]
    for file, path in places:
        change = changes.plan(path, file.format, file.edits(endpoint))
        if change.before is not None:
            reason = file.check(formats.load(file.format, change.before))
            if reason:
                raise UsageError(
                    tr("{path} is left alone: {reason}", path=path, reason=reason),
                    hint=tr("`--print` shows what to write by hand."),
                )
        plans.append(change)
    return plans


def _agree(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(tr("nobody is there to agree to the change"), hint=tr("--yes writes it."))
    if not click.confirm(say("Write this?"), err=True):
        raise click.Abort


def _target(client: Editor, home: Home) -> Target | None:
    """From the file that the client reads, not from what we meant to write."""
    for file in client.files:
        path = file.paths(home)[0]
        if file.target and path.is_file():
            data = formats.load(file.format, path.read_text(encoding="utf-8"))
            try:
                return file.target(data)
            except (KeyError, IndexError, StopIteration, TypeError, AttributeError) as exc:
                raise UsageError(
                    tr("{path} does not name the local models any more", path=path),
                    hint=tr("`lais connect {id}` writes them again.", id=client.id),
                ) from exc
    return None


def _prove(
    client: Editor, target: Target | None, settings: Settings, endpoint: Endpoint
) -> list[Step]:
    target = target or Target(endpoint.base_url, None)
    return prove(
        target.base_url,
        target.model or endpoint.code.id,
        _key(settings, endpoint),
        client.protocol,
        tools=client.tools and endpoint.code.tools,
        fim_model=endpoint.fim_name if client.fim else None,
    )


def _as_lines(steps: list[Step]) -> list[str]:
    signs = {True: say("ok"), False: say("FAIL"), None: "-"}
    return [
        f"{ljust(signs[step.passed], 4)} {translated(step.name)}: {translated(step.detail)}"
        for step in steps
    ]


def _check(paths: Paths, settings: Settings, home: Home, name: str | None) -> Result:
    chosen = [_client(name)] if name else list(table.CLIENTS)
    clients = [one for one in chosen if changes.connected(_ledger(paths, one)) or name]
    if not clients:
        return Result("connect", say("nothing is connected"), {"clients": []})
    endpoint = _endpoint(settings)
    lines, data, code = [], [], 0
    for client in clients:
        proved = _prove(client, _target(client, home), settings, endpoint)
        stale = any(not plan.nothing for plan in _plans(client, endpoint, home))
        lines += [f"{client.name}:", *(f"  {line}" for line in _as_lines(proved))]
        if stale:
            lines.append(say("  the models have changed since: `lais connect {id}`", id=client.id))
        if any(step.passed is False for step in proved):
            code = 1
        steps = [asdict(step) for step in proved]
        data.append({"client": client.id, "stale": stale, "proof": steps})
    return Result("connect", "\n".join(lines), {"clients": data}, exit_code=code)


def _list(paths: Paths, home: Home) -> Result:
    rows, data = [], []
    for client in table.CLIENTS:
        command_ = next((word for word in client.found_by if shutil.which(word)), None)
        folder = next((str(place) for place in client.folders(home) if place.exists()), None)
        written = [str(path) for path in changes.connected(_ledger(paths, client))]
        state = say("connected") if written else say("found") if command_ or folder else ""
        where = written[0] if written else command_ or folder or ""
        rows.append(f"{client.id:12} {client.name:24} {ljust(state, 10)} {where}".rstrip())
        data.append(
            {"id": client.id, "name": client.name, "found": bool(command_ or folder),
             "connected": bool(written), "files": written}
        )  # fmt: skip
    rows.append(say("`lais connect CLIENT` connects one, `lais launch CLIENT` starts it for once."))
    return Result("connect", "\n".join(rows), {"clients": data})


def _environment(settings: Settings, endpoint: Endpoint) -> Result:
    # A key on a screen is a key in a recording: shown only where a shell reads it.
    hidden = endpoint.key_needed and sys.stdout.isatty()
    key = "THE-KEY-IN-.env" if hidden else _key(settings, endpoint)
    environment = values.environment(endpoint, key)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return Result("connect", "\n".join(lines), {"environment": environment})


def _launch_line(client: Editor) -> str:
    return (
        say("`lais launch {id}` starts it; nothing is written", id=client.id)
        if client.launch
        else ""
    )


def _running(client: Editor) -> list[str]:
    if not is_running(client.found_by):
        return []
    return [
        (
            say(
                "{name} is running: close it, or it may write its old settings back when it "
                "ends; `lais connect --check {id}` tells whether ours are still there",
                name=client.name,
                id=client.id,
            )
        )
    ]


def _steps(client: Editor, endpoint: Endpoint) -> list[str]:
    if client.needs_tunnel:
        return tunnels.cursor_steps(endpoint, tunnels.installed())
    return client.steps(endpoint) if client.steps else []


@click.command()
@click.argument("name", metavar="CLIENT")
@json_option
def disconnect_command(name: str, as_json: bool) -> int:
    """Give a client's configuration back as it was."""
    client = _client(name)
    done = changes.restore(_ledger(find_paths(), client))
    text = "\n".join(f"{one.path}: {one.how}" for one in done)
    data = {"files": [{"path": str(one.path), "how": one.how} for one in done]}
    return show(Result("disconnect", text, data), as_json=as_json)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("name", metavar="CLIENT")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def launch_command(name: str, arguments: tuple[str, ...]) -> int:
    """Start a terminal client on the local models, with nothing written anywhere."""
    if name in {"-h", "--help"}:  # after CLIENT it is the client's own
        context = click.get_current_context()
        echo(context.get_help())
        context.exit()
    client = _client(name)
    if client.launch is None:
        able = ", ".join(one.id for one in table.CLIENTS if one.launch)
        raise UsageError(
            tr("{name} does not take its models from the environment", name=client.name),
            hint=tr("`lais connect {id}`. These can be launched: {able}.", id=client.id, able=able),
        )
    program = shutil.which(client.launch.command)
    if program is None:
        raise UsageError(
            tr("{command} is not installed", command=client.launch.command),
            hint=tr("Install it: {install}", install=client.install),
        )
    settings = load_settings(find_paths())
    endpoint = _endpoint(settings)
    environment = client.launch.environment(endpoint, _key(settings, endpoint))
    command_ = [program, *client.launch.arguments(endpoint), *arguments]
    sys.stdout.flush()
    os.execve(program, command_, {**os.environ, **environment})  # noqa: S606
