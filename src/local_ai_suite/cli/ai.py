"""``lais ai``: the assistant in the terminal.

The answer goes to stdout, everything else to stderr. Some first words are commands of their own,
when what follows fits them: ``log``, ``commit``, ``review [REVISION]``, ``issues [N]``, ``plan N``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from local_ai_suite.chat.conversation import (
    MOST_TOKENS,
    MOST_TOKENS_THINKING,
    Conversation,
    Wishes,
    opened_history,
    status_line,
)
from local_ai_suite.chat.sources import read_file, read_stream
from local_ai_suite.cli.ai_screen import Screen
from local_ai_suite.cli.ai_turn import INTERRUPTED, history_path, prepare, resume
from local_ai_suite.cli.output import echo_data, json_option, show
from local_ai_suite.client import client_for
from local_ai_suite.errors import BadAnswer, UsageError
from local_ai_suite.messages import say, tr
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local_ai_suite.chat.conversation import Ready
    from local_ai_suite.chat.history import History
    from local_ai_suite.chat.sources import Source
    from local_ai_suite.client import Answer


def verb_of(arguments: Sequence[str]) -> str | None:
    """The command that ``arguments`` name, or ``None`` when they are a question.

    ``ai plan 8`` is the planner; ``ai plan my holiday`` is a question.
    """
    first, rest = (arguments[0] if arguments else ""), arguments[1:]
    option = not rest or rest[0].startswith("-")
    fits = {
        "log": option or rest[0].isdecimal(),
        "commit": option,
        "review": option or len(rest) == 1 or rest[1].startswith("-"),
        "issues": option or rest[0].isdecimal(),
        "plan": bool(rest) and rest[0].isdecimal(),
    }
    return first if fits.get(first) else None


class AskOrVerb(click.Command):
    """A command that hands over to another one when its first word says so."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:  # fmt: skip
        verb = verb_of(args)
        if verb is None:
            return super().make_context(info_name, args, parent, **extra)
        from local_ai_suite.cli import ai_verbs  # noqa: PLC0415 (each costs start-up time)

        command = ai_verbs.command(verb)
        return command.make_context(f"{info_name} {verb}", args[1:], parent, **extra)


@click.command(cls=AskOrVerb, context_settings={"ignore_unknown_options": False})
@click.argument("words", nargs=-1)
@click.option("-f", "--file", "files", multiple=True, type=click.Path(path_type=Path),
              help="A file that goes along; may be given several times.")  # fmt: skip
@click.option("-i", "--interactive", is_flag=True, help="A conversation; /help inside.")
@click.option("-c", "--continue", "go_on", is_flag=True, help="Go on with the last conversation.")
@click.option("--conversation", type=int, help="Go on with this one (`lais ai log`).")
@click.option("-m", "--model", help="This model, not one chosen by the question.")
@click.option("--chat", "kind", flag_value="chat", help="The chat model.")
@click.option("--code", "kind", flag_value="code", help="The code model.")
@click.option("-s", "--system", default="", help="Instructions to the model.")
@click.option("--json-schema", type=click.Path(path_type=Path),
              help="A JSON schema that holds the answer.")  # fmt: skip
@click.option("--max-tokens", type=click.IntRange(1),
              help=f"The longest answer; {MOST_TOKENS} unless said ({MOST_TOKENS_THINKING} where a "
              "model thinks first).")  # fmt: skip
@click.option("--temperature", type=click.FloatRange(0, 5), help="0: always the likeliest words.")
@click.option("--cut", is_flag=True, help="Cut files, then old turns, to fit the context.")
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@click.option("--raw", is_flag=True, help="Markdown as it is, also on a terminal.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but errors.")
@click.option("--models", "list_models", is_flag=True, help="List the models and their limits.")
@json_option
def command(
    *, words: tuple[str, ...], files: tuple[Path, ...], interactive: bool, go_on: bool,
    conversation: int | None, model: str | None, kind: Any, system: str, json_schema: Path | None,
    max_tokens: int | None, temperature: float | None, cut: bool, no_stream: bool, raw: bool,
    quiet: bool, list_models: bool, as_json: bool,
) -> int:  # fmt: skip
    """Ask the local models.

    \b
    lais ai "What is a GGUF file?"
    git diff | lais ai "explain"
    lais ai -f main.py -f test_main.py "why does the test fail?"
    lais ai -i
    lais ai log --search WORDS     earlier conversations
    lais ai commit | review [REV]  a message for, a review of, the changes in git
    lais ai issues [N] | plan N    the repository's issues; a plan for one
    """
    screen = Screen(raw=raw, quiet=quiet or as_json)
    if interactive and not list_models:
        greet(screen)
    paths = find_paths()
    settings = load_settings(paths)
    client = client_for(settings)
    if list_models:
        return show(_models(Conversation(client)), as_json=as_json)
    question = " ".join(words)
    sources = [read_file(path) for path in files]
    if not interactive and not sys.stdin.isatty():
        piped = read_stream(sys.stdin.buffer)
        sources += [piped] if piped.text.strip() else []
    if not sources and not interactive:
        from local_ai_suite.chat.issue_text import asks_for_issues  # noqa: PLC0415

        if asks_for_issues(question):
            from local_ai_suite.cli import ai_verbs  # noqa: PLC0415

            return ai_verbs.list_issues(as_json=as_json)
    wishes = Wishes(model, kind, system, _schema(json_schema), max_tokens, temperature, cut)
    talk = Conversation(client, wishes)
    with opened_history(settings, history_path(paths), screen.warn) as history:
        if go_on or conversation is not None:
            resume(talk, history, conversation)
        if interactive:
            from local_ai_suite.cli import ai_interactive  # noqa: PLC0415

            return ai_interactive.run(talk, history, screen, question, sources, paths)
        return _once(talk, history, screen, question, sources, no_stream, as_json)


def greet(screen: Screen) -> None:
    """The first line of a conversation, before anything slow. Raises UsageError without a
    terminal to type in."""
    if not sys.stdin.isatty():
        raise UsageError(
            tr("-i needs a terminal to type in"),
            hint=tr("Without -i, standard input is the question."),
        )
    screen.note(say("Local AI Suite. /help shows the commands; Ctrl-D leaves."))


def _once(
    talk: Conversation, history: History | None, screen: Screen, question: str,
    sources: Sequence[Source], no_stream: bool, as_json: bool,
) -> int:  # fmt: skip
    ready = prepare(talk, screen, question, sources)
    stopped = False
    if as_json or no_stream or talk.wishes.schema is not None:
        answer = talk.ask(ready)
        value = answer.json() if talk.wishes.schema is not None else None
        if not as_json:
            _require_words(answer)
            if talk.wishes.schema is None:
                screen.show(answer.text)
            else:
                echo_data(answer.text)
    else:
        answer, stopped = screen.stream(talk.open(ready))
        if not stopped:
            _require_words(answer)
    trouble = talk.keep(ready, answer, history)
    if trouble:
        screen.warn(trouble)
    if as_json:
        return show(_as_result(talk, ready, answer, value, trouble), as_json=True)
    screen.note(status_line(ready, answer))
    return INTERRUPTED if stopped else 0


def _require_words(answer: Answer) -> None:
    if not answer.text.strip():
        why = (
            tr("it only thought")
            if answer.reasoning
            else tr("it ended with {finish_reason}", finish_reason=answer.finish_reason)
        )
        raise BadAnswer(
            tr("the model {model} answered without a word ({why})", model=answer.model, why=why),
            hint=tr("Allow more tokens (--max-tokens), or ask in other words."),
        )


def _as_result(
    talk: Conversation, ready: Ready, answer: Answer, value: Any, trouble: str | None
) -> Result:
    data: dict[str, Any] = {
        "answer": answer.text,
        "model": ready.model,
        "reason": ready.reason,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "context_tokens": ready.context,
        "tokens_per_second": answer.timings.predicted_per_second,
        "conversation": talk.id,
    }
    if talk.wishes.schema is not None:
        data["object"] = value
    warnings = (*ready.notes, *([trouble] if trouble else []))
    return Result("ai", answer.text, data, warnings)


def _models(talk: Conversation) -> Result:
    lines = []
    for model in talk.models:
        context = (
            say("{context:,} tokens", context=model.context)
            if model.context
            else say("context unknown")
        )
        facts = [model.kind or "", context, model.status or "", "demo" if model.is_demo else ""]
        lines.append(f"{model.id:20} {', '.join(fact for fact in facts if fact)}")
    data = [
        {
            "id": model.id,
            "kind": model.kind,
            "context_tokens": model.context,
            "max_output_tokens": model.max_output,
            "status": model.status,
            "capabilities": sorted(model.capabilities) if model.capabilities is not None else None,
        }
        for model in talk.models
    ]
    return Result("ai", "\n".join(lines) or say("no models"), {"models": data})


def _schema(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        schema = orjson.loads(read_file(path).text)
    except orjson.JSONDecodeError as exc:
        raise UsageError(tr("{path} is not JSON: {exc}", path=path, exc=exc)) from exc
    if not isinstance(schema, dict):
        raise UsageError(
            tr("{path} holds no JSON schema", path=path),
            hint=tr('A schema is an object: {"type": "object", ...}.'),
        )
    return schema
