"""``lais plan``: from an issue to a plan, and from a reviewed plan to its approved actions."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from local_ai_suite.approvals import State, open_gate
from local_ai_suite.approvals.display import escape_lines
from local_ai_suite.approvals.terminal import Terminal
from local_ai_suite.cli.output import echo, rewrite_line
from local_ai_suite.client import client_for
from local_ai_suite.errors import ApprovalError, UsageError
from local_ai_suite.issues.documents import Documents, documents_for, name_of
from local_ai_suite.issues.issue import LARGEST_BYTES, Issue, from_gh, from_text
from local_ai_suite.issues.labels import LANGUAGES, word
from local_ai_suite.issues.planner import write_plan
from local_ai_suite.issues.proposals import COMPONENT, ask_for, proposals, session_of
from local_ai_suite.issues.survey import survey
from local_ai_suite.issues.writer import ServerWriter
from local_ai_suite.messages import say, tr
from local_ai_suite.paths import find_paths
from local_ai_suite.repository.gh import Issues
from local_ai_suite.repository.worktree import find_worktree, remote_repository
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings

from .approvals import decide
from .output import json_option, show

if TYPE_CHECKING:
    from collections.abc import Callable

_WAITS = 1
_WORDS = ("show", "approve", "reject")


@click.command(name="plan")
@click.argument("words", nargs=-1, metavar="[show|approve|reject] [N]")
@click.option("--file", "-f", "source", help="The issue as a file; - is standard input.")
@click.option("--repository", help="owner/name; otherwise the remote origin's.")
@click.option("--lang", type=click.Choice(LANGUAGES), help="Otherwise the issue's language.")
@click.option("--model", default="local-chat", show_default=True)
@click.option("--fresh", is_flag=True, help="Don't go on where an earlier run stopped.")
@click.option("--comment/--no-comment", default=True, help="approve: post the plan.")
@click.option("--branch/--no-branch", default=True, help="approve: make the branch.")
@click.option("--tick", metavar="1,3", help="approve: tick these items of the issue's checklist.")
@click.option("--close", type=click.Choice(["completed", "not planned"]), help="approve: close it.")
@click.option("--reason", default="", help="reject: why.")
@json_option
def command(words: tuple[str, ...], *, as_json: bool, **options: Any) -> int:
    """Make a plan for issue N; show, approve or reject it.

    \b
    lais plan 12                    read issue 12 with gh, write plans/issue-12.md
    lais plan --file issue.md       the same for a text
    lais plan show 12               the plan, escaped
    lais plan approve 12            ask for its actions, one by one, at this terminal
    lais plan reject 12 --reason .. say no to the plan and to what it asked for

    Exit codes: 0 done; 1 an action waits, failed, or its end is unknown; 2 wrong words, no gh, no
    such issue; 4 the context is too small; 7 no server, or an answer that can't be used; 8 refused.
    """
    verb, name = _parse(words, options["source"])
    worktree = find_worktree(Path.cwd())
    root = worktree.root if worktree else Path.cwd()
    documents = Documents(root / "plans", name)
    if verb == "show":
        return show(_show(documents), as_json=as_json)
    if verb == "approve":
        return show(_approve(documents, root, options), as_json=as_json)
    if verb == "reject":
        return show(_reject(documents, options["reason"]), as_json=as_json)
    return show(_plan(name, root, options, quiet=as_json), as_json=as_json)


def _parse(words: tuple[str, ...], source: str | None) -> tuple[str, str]:
    """The verb, and the plan's name (``issue-12``; for a text not known yet)."""
    verb = words[0] if words and words[0] in _WORDS else "plan"
    rest = words[1:] if verb != "plan" else words
    if verb == "plan" and source is not None and not rest:
        return verb, ""
    if len(rest) != 1 or (source is not None):
        raise UsageError(
            tr("name one issue by its number, or give a text with --file"),
            hint=tr("lais plan 12, lais plan --file issue.md, lais plan approve 12"),
        )
    number = rest[0].removeprefix("#")
    if number.isdecimal() and int(number) > 0:
        return verb, f"issue-{int(number)}"
    if verb == "plan" or name_of(number) != unicodedata.normalize("NFC", number):
        raise UsageError(
            tr("{rest!r} is not an issue's number", rest=rest[0]), hint=tr("lais plan 12")
        )
    return verb, number


def _plan(name: str, root: Path, options: dict[str, Any], *, quiet: bool) -> Result:
    issue = _issue(name, root, options)
    settings = load_settings(find_paths())
    with client_for(settings) as client:
        writer = ServerWriter(client, options["model"])
        found = survey(root, issue.text)
        language = options["lang"] or issue.language
        documents = documents_for(root / "plans", issue)
        bar = _progress(language, quiet=quiet)
        written = write_plan(
            issue,
            found,
            writer,
            language=language,
            today=datetime.now(UTC).astimezone().date(),
            state=None if options["fresh"] else documents.read_state(),
            keep=documents.keep_state,
            progress=bar,
        )
    kept = documents.finish(written.plan)
    warnings: list[str] = []
    if kept is not None:
        warnings.append(tr("you had edited the Markdown; it was kept as {path}", path=kept))
    if written.plan["read"]:
        read = written.plan["read"]
        warnings.append(word("cut", language, read=read["characters"], all=read["all"]))
    if written.plan["dropped"]:
        warnings.append(word("dropped", language, count=len(written.plan["dropped"])))
    data = {
        "markdown": str(documents.markdown),
        "json": str(documents.json),
        "resumed_sections": written.resumed,
        "plan": written.plan,
    }
    following = word("next_approve", language, name=documents.short_name)
    text = f"{documents.markdown}\n{following}"
    return Result("plan", text, data, tuple(warnings))


def _issue(name: str, root: Path, options: dict[str, Any]) -> Issue:
    if options["source"] is not None:
        return from_text(_read_text(options["source"]))
    number = int(name.removeprefix("issue-"))
    issues = issues_of(root, options["repository"])
    return from_gh(issues.view(number), number, issues.repository)


def _read_text(source: str) -> str:
    try:
        if source == "-":
            raw = sys.stdin.buffer.read(LARGEST_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(LARGEST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            tr("{source} cannot be read: {exc}", source=source, exc=exc),
            hint=tr("Give a UTF-8 text file, or - for stdin."),
        ) from exc
    if len(raw) > LARGEST_BYTES:
        raise UsageError(
            tr(
                "{source} is larger than {size} MiB; that is no issue",
                source=source,
                size=LARGEST_BYTES // 2**20,
            ),
            hint=tr("Give the part that says what is wanted."),
        )
    return text


def issues_of(root: Path, named: str | None) -> Issues:
    """The issues of the repository that a person ``named``, or that the remote origin is."""
    if named:
        return Issues(named, named=True, outside=root)
    worktree = find_worktree(root)
    repository = remote_repository(worktree) if worktree else None
    if repository is None:
        raise UsageError(
            tr("{root} has no remote called origin, so its repository is not known", root=root),
            hint=tr(
                "Name it with --repository owner/name, or call it in a clone of it (git must be "
                "there). `lais plan --file issue.md` needs neither git nor gh."
            ),
        )
    return Issues(repository, outside=root)


def _show(documents: Documents) -> Result:
    plan, text = documents.read()
    review = plan.get("review")
    said = f"[{review['state']}] {review['reason']}\n\n" if review else ""
    items = plan["facts"]["checklist"]
    numbered = [
        f"  {number}. [{'x' if item['done'] else ' '}] {item['text']}"
        for number, item in enumerate(items, 1)
    ]
    listed = "\n".join(["", say("checklist of the issue:"), *numbered]) if numbered else ""
    shown = "\n".join(escape_lines(said + text + listed))
    return Result("plan show", shown, {"plan": plan, "markdown": text})


def _approve(documents: Documents, root: Path, options: dict[str, Any]) -> Result:
    plan, text = documents.read()
    facts = plan["facts"]
    if plan.get("review"):
        raise UsageError(
            tr(
                "this plan was {state}: {reason}",
                state=plan["review"]["state"],
                reason=plan["review"]["reason"],
            ),
            hint=tr("Make it anew: lais plan N --fresh"),
        )
    ticks = _numbers(options["tick"])
    body = None
    if ticks and facts["number"] is not None and facts["repository"]:
        named = options["repository"] == facts["repository"]
        issues = Issues(facts["repository"], named=named, outside=root)
        body = from_gh(issues.view(facts["number"]), facts["number"], facts["repository"]).body
    made = proposals(
        plan,
        text,
        comment=options["comment"],
        branch=options["branch"],
        ticks=ticks,
        body=body,
        close=options["close"],
    )
    terminal = _terminal()
    ends: list[dict[str, Any]] = []
    with open_gate(find_paths()) as gate:
        for request in ask_for(gate, made, root, documents.name):
            state, said = str(request.state), ""
            if terminal is not None and request.state is State.PENDING:
                try:
                    result = decide(gate, request, terminal)
                    state, said = result.data["state"], result.text
                except ApprovalError as exc:
                    said = exc.message
                echo(said, err=True)
            ends.append({"id": request.id, "action": request.action, "state": state})
    waiting = [end["id"] for end in ends if end["state"] == "pending"]
    lines = [f"{end['id']}  {end['state']:<9} {end['action']}" for end in ends]
    if waiting and terminal is None:
        lines.append(
            say("Approve at a terminal: lais approvals approve ID (or: lais approvals watch)")
        )
    code = 0 if all(end["state"] == "done" for end in ends) else _WAITS
    return Result("plan approve", "\n".join(lines), {"requests": ends}, exit_code=code)


def _terminal() -> Terminal | None:
    try:
        return Terminal()
    except ApprovalError:
        return None


def _numbers(text: str | None) -> set[int]:
    try:
        return {int(part) for part in text.split(",")} if text else set()
    except ValueError as exc:
        raise UsageError(
            tr("--tick {text!r} is not a list of numbers", text=text), hint=tr("Such as --tick 1,3")
        ) from exc


def _reject(documents: Documents, reason: str) -> Result:
    if not reason:
        raise UsageError(
            tr("a rejection wants its reason"), hint=tr('lais plan reject N --reason "..."')
        )
    plan, _ = documents.read()
    rejected = []
    with open_gate(find_paths()) as gate:
        gate.sweep()
        for request in gate.find(State.PENDING, State.APPROVED):
            ours = request.principal.endswith(f":{COMPONENT}")
            if ours and request.record["session"] == session_of(documents.name):
                rejected.append(gate.reject(request.id, reason).id)
    plan["review"] = {"state": "rejected", "reason": reason}
    documents.write_json(plan)
    text = "\n".join(say("{id} is rejected", id=one) for one in (documents.name, *rejected))
    return Result("plan reject", text, {"rejected": rejected})


def _progress(language: str, *, quiet: bool) -> Callable[[int, int, str], None]:
    on_terminal = sys.stderr.isatty()

    def bar(number: int, of: int, key: str) -> None:
        if quiet:
            return
        filled = "█" * number + "░" * (of - number)
        line = f"{filled} {number}/{of} {word(f'section_{key}', language)}"
        if not on_terminal:
            echo(line, err=True)
            return
        rewrite_line(line)
        if number == of:
            echo(err=True)

    return bar
