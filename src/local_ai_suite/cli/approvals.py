"""``lais approvals``: see what waits for a decision, decide, and check the audit log."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from local_ai_suite.approvals import Gate, Request, State, open_gate
from local_ai_suite.approvals.clock import SystemClock, seconds_left
from local_ai_suite.approvals.display import escape
from local_ai_suite.approvals.places import find_places, user
from local_ai_suite.approvals.policy import Level, load_policy
from local_ai_suite.approvals.registry import ACTIONS
from local_ai_suite.approvals.show import DEFAULT_COLUMNS, display, state_text
from local_ai_suite.approvals.terminal import Terminal
from local_ai_suite.cli.output import echo, echo_json, json_option, show
from local_ai_suite.errors import ApprovalError
from local_ai_suite.messages import say, tr, translated
from local_ai_suite.messages.width import ljust
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result

if TYPE_CHECKING:
    from local_ai_suite.approvals.display import Display

_RECENT = 20
_LOOK_AGAIN = 1.0  # seconds; `watch` is for people
_RAN_BADLY = 1


@click.group(name="approvals", invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> int | None:
    """What waits for a decision, and the decision.

    Exit codes: 0 done; 1 the action ran and failed, or the log isn't whole; 2 wrong words;
    3 the policy file is wrong; 8 not approved, expired, changed, no terminal; 130 Ctrl-C.
    """
    return None if context.invoked_subcommand else _list(everything=False, as_json=as_json)


@command.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also what is long decided.")
@json_option
def list_command(*, everything: bool, as_json: bool) -> int:
    """What waits, and the newest of what is decided."""
    return _list(everything=everything, as_json=as_json)


def _list(*, everything: bool, as_json: bool) -> int:
    with open_gate(find_paths()) as gate:
        gate.sweep()
        requests = gate.find()
        waiting = [request for request in requests if request.state in _OPEN]
        closed = [request for request in requests if request.state not in _OPEN]
        chosen = [*waiting, *(closed if everything else closed[-_RECENT:])]
        lines = [_line(gate, request) for request in chosen] or [
            say("nothing waits for a decision")
        ]
        data = {"requests": [_summary(gate, request) for request in chosen]}
        warnings = tuple(
            say(
                "request {id} was changed from outside; it is never run",
                id=escape(identity),
            )
            for identity in gate.tampered()
        )
    return show(Result("approvals list", "\n".join(lines), data, warnings), as_json=as_json)


_OPEN = (State.PENDING, State.APPROVED, State.EXECUTING)


@command.command(name="show")
@click.argument("request_id", metavar="ID")
@json_option
def show_command(request_id: str, *, as_json: bool) -> int:
    """Everything about one request: arguments, change, risk and its reasons, escaped."""
    with open_gate(find_paths()) as gate:
        gate.sweep()
        request = gate.get(request_id)
        shown = _display(gate, request)
        data = {**_summary(gate, request), "record": request.record, "progress": request.progress}
    text = shown.text + "".join(f"\n{line}" for line in _history(request))
    return show(Result("approvals show", text, data), as_json=as_json)


@command.command(name="approve")
@click.argument("request_id", metavar="ID")
@click.option("--no-run", is_flag=True, help="Only approve; whoever asked runs it, soon.")
@json_option
def approve_command(request_id: str, *, no_run: bool, as_json: bool) -> int:
    """See everything, say yes at the terminal, and run it."""
    terminal = Terminal()
    with open_gate(find_paths()) as gate:
        gate.sweep()
        result = decide(gate, gate.get(request_id), terminal, run=not no_run)
    return show(result, as_json=as_json)


@command.command(name="reject")
@click.argument("request_id", metavar="ID")
@click.option("--reason", required=True, help="Why; it is kept.")
@json_option
def reject_command(request_id: str, reason: str, *, as_json: bool) -> int:
    """Say no."""
    with open_gate(find_paths()) as gate:
        gate.sweep()
        request = gate.reject(request_id, reason)
        result = Result(
            "approvals reject", say("{id} is rejected", id=request.id), _summary(gate, request)
        )
    return show(result, as_json=as_json)


@command.command(name="watch")
@json_option
def watch_command(*, as_json: bool) -> int:
    """Wait for requests and decide each with one key (a CRITICAL one with its code).

    With --json nothing is decided: each new request is one line of JSON, for other programs.
    """
    terminal = None if as_json else Terminal()
    skipped: set[str] = set()
    echo(say("Waiting for requests. Ctrl-C ends it."), err=True)
    while True:
        with open_gate(find_paths()) as gate:
            gate.sweep()
            for request in gate.find(State.PENDING):
                if request.id in skipped:
                    continue
                skipped.add(request.id)
                if terminal is None:
                    echo_json(json.dumps(_summary(gate, request)))
                else:
                    _decide_with_one_key(gate, request, terminal)
        time.sleep(_LOOK_AGAIN)


@command.group(name="audit", invoke_without_command=True)
@click.option("-n", "count", default=_RECENT, show_default=True, help="How many events.")
@json_option
@click.pass_context
def audit_command(context: click.Context, count: int, *, as_json: bool) -> int | None:
    """What was asked, decided and done, newest last."""
    if context.invoked_subcommand:
        return None
    with open_gate(find_paths()) as gate:
        verdict = gate.verify()
    entries = list(verdict.entries[-count:]) if count > 0 else []
    lines = [
        f"{entry['seq']:>6}  {entry['at']}  {entry['event']:<10} {entry['id'] or '-':<10}  "
        f"{escape(str(entry.get('title', '')))}"
        for entry in entries
    ]
    text = "\n".join(lines) or say("no events yet")
    result = Result("approvals audit", text, {"events": entries}, verdict.problems)
    return show(result, as_json=as_json)


@audit_command.command(name="verify")
@json_option
def verify_command(*, as_json: bool) -> int:
    """Check every event's hash and seal, their chain, and the end against the head."""
    with open_gate(find_paths()) as gate:
        verdict = gate.verify()
    state = say("whole") if verdict.ok else say("NOT WHOLE")
    lines = [say("{count} events; {state}", count=len(verdict.entries), state=state)]
    lines += [say("  problem: {problem}", problem=problem) for problem in verdict.problems]
    lines += [say("  note: {note}", note=note) for note in verdict.notes]
    data = {
        "whole": verdict.ok,
        "events": len(verdict.entries),
        "problems": list(verdict.problems),
        "notes": list(verdict.notes),
    }
    code = 0 if verdict.ok else _RAN_BADLY
    result = Result("approvals audit verify", "\n".join(lines), data, exit_code=code)
    return show(result, as_json=as_json)


@command.command(name="policy")
@json_option
def policy_command(*, as_json: bool) -> int:
    """The actions, their levels, and the rules of the policy file."""
    path = find_places(find_paths()).policy
    policy = load_policy(path)
    default = "" if path.exists() else say("(none: the defaults)")
    lines = [say("Policy file: {path} {default}", path=path, default=default).rstrip(), ""]
    for action in ACTIONS.values():
        waits = say(
            "waits {pending}, approved for {approved}",
            pending=_span(action.pending_life),
            approved=_span(action.life_after_approval(action.level)),
        )
        lines.append(f"  {action.name:<16} {action.level.name:<9} {waits}")
    medium = say("asks once per session") if policy.medium_asks else say("runs")
    limits = say(
        "{waiting} waiting, {rate} a minute each",
        waiting=policy.most_pending,
        rate=policy.most_per_minute,
    )
    lines += ["", say("MEDIUM {medium}; at most {limits}", medium=medium, limits=limits)]
    for rule in policy.rules:
        what = (
            say("deny")
            if rule.deny
            else say("at least {level}", level=rule.level.name if rule.level else "")
        )
        where = "".join(f" {name}={pattern}" for name, pattern in rule.where)
        lines.append(
            say(
                "  rule: {action}{where}: {what} {reason}",
                action=rule.action,
                where=where,
                what=what,
                reason=rule.reason,
            ).rstrip()
        )
    data = {
        "file": str(path),
        "exists": path.exists(),
        "actions": {action.name: action.level.name for action in ACTIONS.values()},
        "medium_asks": policy.medium_asks,
        "rules": [
            {
                "action": rule.action,
                "where": dict(rule.where),
                "decision": "deny" if rule.deny else rule.level.name.lower() if rule.level else "",
                "reason": rule.reason,
            }
            for rule in policy.rules
        ],
    }
    return show(Result("approvals policy", "\n".join(lines), data), as_json=as_json)


def decide(gate: Gate, request: Request, terminal: Terminal, *, run: bool = True) -> Result:
    """Show ``request`` at ``terminal``, ask, and run it on a yes.

    Raises :class:`ApprovalError` on a no: it stays pending.
    """
    judgement = gate.judgement(request)
    shown = _display(gate, request, terminal.size.columns)
    presence = terminal.confirm(request, shown, judgement.level, user())
    if presence is None:
        raise ApprovalError(
            tr("{id} was not approved; it still waits", id=request.id),
            hint=tr(
                'Say no for good with: lais approvals reject {id} --reason "..."', id=request.id
            ),
        )
    return _approved(gate, request, presence, run=run)


def _approved(gate: Gate, request: Request, presence: Any, *, run: bool) -> Result:
    request = gate.approve(request.id, request.digest, presence)
    if run:
        request = gate.execute(request.id)
    outcome = request.progress.get("outcome", {})
    said = "".join(f"\n  {key}: {escape(str(value))}" for key, value in outcome.items())
    if request.state is State.UNKNOWN:
        said += say("\n  It may have happened or not: look there before you ask for it again.")
    good = request.state in {State.APPROVED, State.DONE}
    return Result(
        "approvals approve",
        say("{id} is {state}{said}", id=request.id, state=state_text(request.state), said=said),
        _summary(gate, request),
        exit_code=0 if good else _RAN_BADLY,
    )


def _decide_with_one_key(gate: Gate, request: Request, terminal: Terminal) -> None:
    judgement = gate.judgement(request)
    if judgement.level is Level.CRITICAL:
        try:
            result = decide(gate, request, terminal)
        except ApprovalError as exc:
            echo(f"{translated(exc.message)}\n", err=True)
        else:
            echo(result.text)
        return
    shown = _display(gate, request, terminal.size.columns)
    key, presence = terminal.one_key(request, shown, judgement.level, user())
    try:
        if key == "a" and presence is not None:
            echo(_approved(gate, request, presence, run=True).text)
        elif key == "r":
            gate.reject(request.id, tr("rejected while watching"))
            echo(say("{id} is rejected", id=request.id))
        else:
            echo(say("{id} still waits", id=request.id))
    except ApprovalError as exc:
        echo(translated(exc.message), err=True)


def _display(gate: Gate, request: Request, columns: int | None = None) -> Display:
    if columns is None:
        columns = shutil.get_terminal_size((DEFAULT_COLUMNS, 24)).columns
    if not sys.stdout.isatty():
        columns = max(columns, DEFAULT_COLUMNS)
    shown = display(request, gate.action(request), gate.judgement(request), columns)
    before = gate.same_unknown(request)
    if not before:
        return shown
    names = ", ".join(other.id for other in before)
    warning = say(
        "Warning   the same was begun before and its end is unknown: {names}", names=names
    )
    return type(shown)((warning, *shown.rows), shown.complete)


def _summary(gate: Gate, request: Request) -> dict[str, Any]:
    waits = gate.ends(request)
    left = seconds_left(*waits, SystemClock().now()) if waits else None
    return {
        "id": request.id,
        "state": str(request.state),
        "action": request.action,
        "title": gate.action(request).title(request.arguments),
        "level": request.level.name,
        "principal": request.principal,
        "digest": request.digest,
        "created": _time(request.created.wall),
        "seconds_left": None if left is None else round(left),
        "decided_by": request.progress.get("decided_by"),
        "reason": request.progress.get("reason"),
        "outcome": request.progress.get("outcome"),
    }


def _line(gate: Gate, request: Request) -> str:
    summary = _summary(gate, request)
    left = summary["seconds_left"]
    ends = say("  ({span} left)", span=_span(left)) if left is not None else ""
    return (
        f"{request.id}  {ljust(state_text(request.state), 9)} {request.level.name:<8} "
        f"{escape(translated(summary['title']))}{ends}"
    )


def _history(request: Request) -> list[str]:
    lines = [say("Asked at  {time}", time=_time(request.created.wall))]
    if request.approved:
        lines.append(say("Approved  {time}", time=_time(request.approved.wall)))
    lines += [
        f"{name.replace('_', ' ').capitalize():<9} {escape(str(request.progress[name]))}"
        for name in ("decided_by", "reason")
        if request.progress.get(name)
    ]
    for name, value in request.progress.get("outcome", {}).items():
        lines.append(say("Outcome   {name}: {value}", name=escape(name), value=escape(str(value))))
    return lines


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")


def _span(seconds: float) -> str:
    if seconds >= 86400:
        return say("{days:.0f} d", days=seconds / 86400)
    if seconds >= 3600:
        return say("{hours:.0f} h", hours=seconds / 3600)
    if seconds >= 60:
        return say("{minutes:.0f} min", minutes=seconds / 60)
    return say("{seconds:.0f} s", seconds=seconds)
