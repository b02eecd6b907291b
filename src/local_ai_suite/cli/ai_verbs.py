"""``lais ai log|commit|review|issues|plan``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from local_ai_suite.chat import issue_text, tasks
from local_ai_suite.chat.conversation import Conversation, Wishes, status_line
from local_ai_suite.chat.history import History
from local_ai_suite.chat.slash import as_markdown
from local_ai_suite.chat.sources import Source
from local_ai_suite.cli import ai_turn
from local_ai_suite.cli.ai_screen import Screen
from local_ai_suite.cli.issues import issues_of
from local_ai_suite.cli.output import echo, json_option, show
from local_ai_suite.client import client_for
from local_ai_suite.errors import BadAnswer, NotBuiltYet, UsageError
from local_ai_suite.messages import counted, say, tr, translated
from local_ai_suite.messages.plain import one_line
from local_ai_suite.paths import find_paths
from local_ai_suite.repository import changes, history
from local_ai_suite.repository.worktree import the_worktree
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def command(verb: str) -> click.Command:
    """The click command called ``verb``."""
    commands = {"log": log, "commit": commit, "review": review, "issues": issues, "plan": plan}
    return commands[verb]


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--search", default="", help="Only those in which a message holds these words.")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1))
@click.option("--delete", type=int, help="Forget this conversation.")
@json_option
def log(number: int | None, search: str, limit: int, delete: int | None, as_json: bool) -> int:
    """Earlier conversations; with NUMBER that one as Markdown."""
    path = ai_turn.history_path(find_paths())
    if not path.exists():
        return show(
            Result("ai", say("no conversations yet"), {"conversations": []}), as_json=as_json
        )
    with History(path) as history:
        if delete is not None:
            history.messages(delete)  # an error when there is no such one
            history.delete(delete)
            return show(
                Result(
                    "ai",
                    say("conversation {number} is forgotten", number=delete),
                    {"deleted": delete},
                ),
                as_json=as_json,
            )
        if number is not None:
            said = history.messages(number)
            turns = [{"role": one.role, "content": one.content} for one in said]
            text = as_markdown(turns).rstrip()
            data: dict[str, Any] = {"conversation": number, "messages": turns}
            return show(Result("ai", text, data), as_json=as_json)
        entries = history.entries(search, limit)
    lines = []
    for entry in entries:
        when = datetime.fromtimestamp(entry.updated).astimezone().strftime("%Y-%m-%d %H:%M")
        turns_text = translated(counted("{count} question", "{count} questions", entry.turns))
        lines.append(f"{entry.id:4}  {when}  {one_line(entry.title)}  ({turns_text})")
        if entry.found and entry.found != entry.title:
            lines.append(f"      … {one_line(entry.found)[:100]}")
    found = [
        {"id": e.id, "updated": e.updated, "title": e.title, "questions": e.turns} for e in entries
    ]
    nothing = (
        say("nothing holds {search!r}", search=search) if search else say("no conversations yet")
    )
    return show(
        Result("ai", "\n".join(lines) or nothing, {"conversations": found}), as_json=as_json
    )


def _talk(system: str, model: str | None, cut: bool, max_tokens: int | None) -> Conversation:
    client = client_for(load_settings(find_paths()))
    return Conversation(client, Wishes(model, "code", system, None, max_tokens, None, cut))


@click.command()
@click.option("-m", "--model", help="This model.")
@click.option("--cut", is_flag=True, help="Cut the longest files' changes to fit the context.")
@json_option
def commit(model: str | None, cut: bool, as_json: bool) -> int:
    """A message for what is staged. It only writes the message:

    \b
    lais ai commit | git commit -F -
    """
    worktree = the_worktree(Path.cwd())
    sources = _sources(changes.staged(worktree))
    if not sources:
        raise UsageError(tr("nothing is staged"), hint=tr("`git add FILE...` stages changes."))
    screen = Screen(quiet=as_json)
    talk = _talk(tasks.COMMIT_SYSTEM, model, cut, 400)
    question = tasks.commit_question(history.subjects(worktree))
    ready = ai_turn.prepare(talk, screen, question, sources)
    answer = talk.ask(ready)
    message = tasks.clean_message(answer.text)
    if not message:
        raise BadAnswer(
            tr("the model {model} wrote no message", model=answer.model),
            hint=tr("Ask again, or write it yourself."),
        )
    screen.note(status_line(ready, answer))
    data = {"message": message, "files": [source.name for source in sources]}
    return show(Result("ai", message, data, ready.notes if as_json else ()), as_json=as_json)


@click.command()
@click.argument("revision", required=False)
@click.option("--branch", is_flag=True, help="All since this branch left REVISION.")
@click.option("--staged", is_flag=True, help="Only what is staged.")
@click.option("-m", "--model", help="This model.")
@click.option("--korean/--english", default=None, help="The review's language; default: LANG's.")
@click.option("--cut", is_flag=True, help="Cut the longest files' changes to fit the context.")
@click.option("--raw", is_flag=True, help="Markdown as it is, also on a terminal.")
@json_option
def review(
    revision: str | None, branch: bool, staged: bool, model: str | None, korean: bool | None,
    cut: bool, raw: bool, as_json: bool,
) -> int:  # fmt: skip
    """A review of what differs from REVISION (default: the last commit)."""
    worktree = the_worktree(Path.cwd())
    if staged:
        found = changes.staged(worktree)
    elif branch:
        found = changes.branch_changes(worktree, revision or "main")
    else:
        found = changes.changes(worktree, revision)
    sources = _sources(found)
    if not sources:
        raise UsageError(tr("there are no changes to review"), hint=tr("`git status` shows them."))
    screen = Screen(raw=raw, quiet=as_json)
    if korean is None:
        korean = _korean_locale()
    talk = _talk(tasks.REVIEW_SYSTEM, model, cut, None)
    ready = ai_turn.prepare(talk, screen, tasks.review_question(korean), sources)
    if as_json:
        answer = talk.ask(ready)
        data = {"review": answer.text, "files": [source.name for source in sources]}
        return show(Result("ai", answer.text, data, ready.notes), as_json=True)
    answer, stopped = screen.stream(talk.open(ready))
    screen.note(status_line(ready, answer))
    return ai_turn.INTERRUPTED if stopped else 0


def _sources(found: Sequence[changes.FileDifference]) -> tuple[Source, ...]:
    return tuple(Source(f"{one.name}.diff", one.text, one.note) for one in found)


def _korean_locale() -> bool:
    import os  # noqa: PLC0415

    named = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return next((value for value in named if value), "").startswith("ko")


@click.command()
@click.argument("number", type=int, required=False)
@click.option("--state", type=click.Choice(["open", "closed", "all"]), default="open")
@click.option("-n", "--limit", default=30, show_default=True, type=click.IntRange(1, 1000))
@click.option("--repository", help="owner/name; otherwise the remote origin's.")
@json_option
def issues(
    number: int | None, state: str, limit: int, repository: str | None, as_json: bool
) -> int:
    """The repository's issues through `gh`; with NUMBER that one."""
    if number is None:
        return list_issues(state, limit, repository, as_json=as_json)
    issue = issues_of(Path.cwd(), repository).view(number)
    return show(Result("ai", issue_text.as_text(issue), {"issue": issue}), as_json=as_json)


def list_issues(
    state: str = "open", limit: int = 30, repository: str | None = None, *, as_json: bool
) -> int:
    """Show the issues of ``repository`` (default: the remote origin's)."""
    found = issues_of(Path.cwd(), repository).list(state, limit)
    if found and not as_json:
        echo(say("`lais ai issues N` shows one, `lais plan N` analyses and plans it."), err=True)
    return show(Result("ai", issue_text.as_table(found), {"issues": found}), as_json=as_json)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def plan(ctx: click.Context, arguments: tuple[str, ...]) -> Any:
    """The planner: the same as `lais plan N`."""
    from local_ai_suite.cli.main import lais  # noqa: PLC0415 (main imports this module)

    planner = lais.get_command(ctx, "plan")
    if planner is None:
        raise NotBuiltYet(tr("the planner is not part of this version"))
    with planner.make_context("lais plan", list(arguments), parent=ctx.parent) as context:
        return context.command.invoke(context)
