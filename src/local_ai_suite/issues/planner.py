"""Write the plan, section by section, and keep each one as soon as it is there.

One structured call per section. What comes back is checked against the schema once more (a server
that ignores schemas is found out), then against the facts; a section from which the facts leave
nothing is asked for once more. A section that was written is in the state file beside the plan:
after a stop the next run goes on there, as long as issue, commit, language and model are the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from local_ai_suite.errors import BadAnswer, FitError
from local_ai_suite.messages import tr

from . import prompts
from .estimate import estimate, working_day
from .grounding import Grounding, grounding_of
from .labels import word
from .schema_check import violation
from .sections import SECTIONS, criteria

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from .issue import Issue
    from .prompts import Message
    from .sections import Schema, Section
    from .survey import Survey

VERSION = 1
# The longest answer that any section's schema allows, at one token a character.
ANSWER_TOKENS = 1_600
_ANSWER_SHARE = 0.4  # of a small context
_SMALLEST_CONTEXT = 1_024
_MARGIN = 32  # tokens; the server may add a few that /apply-template doesn't show
_TRIES = 2
_SUMMARY = 1_200  # characters of the sections before, for the next one


class Writer(Protocol):
    """A model that counts and answers. ``context``: tokens of one request."""

    name: str
    context: int

    def count(self, messages: list[Message]) -> int: ...

    def ask(self, messages: list[Message], schema: Schema, most: int, attempt: int) -> Any:
        """The parsed answer. Raises :class:`BadAnswer` when there is none that can be used."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """The finished plan's JSON, and the sections that came from an earlier run."""

    plan: dict[str, Any]
    resumed: int


def write_plan(
    issue: Issue,
    survey: Survey,
    writer: Writer,
    *,
    language: str,
    today: date,
    state: dict[str, Any] | None,
    keep: Callable[[dict[str, Any]], None],
    progress: Callable[[int, int, str], None],
) -> Written:
    """All sections. ``state`` is what ``keep`` was given last time, or ``None``.

    Raises :class:`FitError` when the context is too small, :class:`BadAnswer` when the model's
    answers can't be used; what was written until then has been kept.
    """
    if writer.context < _SMALLEST_CONTEXT:
        raise FitError(
            tr(
                "{name} has a context of {context} tokens; a section needs at least {least}",
                name=writer.name,
                context=writer.context,
                least=_SMALLEST_CONTEXT,
            ),
            hint=tr("Raise CTX_SIZE in .env, or name another model with --model."),
        )
    mark = fingerprint(issue, survey, language, writer.name)
    done: dict[str, Any] = {}
    if state and state.get("version") == VERSION and state.get("fingerprint") == mark:
        done = dict(state["sections"])
    resumed = len(done)
    known = grounding_of(survey, issue.text)
    for number, section in enumerate(SECTIONS, 1):
        progress(number, len(SECTIONS), section.key)
        if section.key in done:
            continue
        done[section.key] = _write_section(section, issue, survey, writer, language, done, known)
        keep({"version": VERSION, "fingerprint": mark, "sections": done})
    return Written(_assemble(issue, survey, writer, language, today, done), resumed)


def fingerprint(issue: Issue, survey: Survey, language: str, model: str) -> str:
    """Changes when a section written before may not fit the others any more."""
    said = [asdict(issue), survey.commit, list(survey.candidates), language, model, VERSION]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _write_section(
    section: Section,
    issue: Issue,
    survey: Survey,
    writer: Writer,
    language: str,
    done: dict[str, Any],
    known: Grounding,
) -> dict[str, Any]:
    answer_tokens = min(ANSWER_TOKENS, int(writer.context * _ANSWER_SHARE))
    room = writer.context - answer_tokens - _MARGIN
    summary = _summary(done)
    prompt = prompts.build(section, issue, survey, summary, language, room, writer.count)
    if prompt is None:
        raise FitError(
            tr(
                "the section {key} doesn't fit the {context} tokens of {name}",
                key=section.key,
                context=writer.context,
                name=writer.name,
            ),
            hint=tr("Raise CTX_SIZE in .env, or name another model with --model."),
        )
    schema = section.schema(issue, survey)
    trouble: BadAnswer | None = None
    best: dict[str, Any] | None = None
    for attempt in range(_TRIES):
        try:
            answer = writer.ask(prompt.messages, schema, answer_tokens, attempt)
        except BadAnswer as exc:
            trouble = exc
            continue
        if wrong := violation(answer, schema):
            trouble = BadAnswer(
                tr(
                    "the model's answer for {key} doesn't fit its form: {wrong}",
                    key=section.key,
                    wrong=wrong,
                ),
                hint=tr("Does the server support JSON schemas? The suite's own engine does."),
            )
            continue
        facts = replace(known, dropped=[])
        content = checked(section.key, answer, schema, facts, language)
        best = {
            "content": content,
            "dropped": facts.dropped,
            "read": prompt.issue_characters,
            "tokens": prompt.tokens,
        }
        if not facts.dropped:
            break
    if best is None:
        raise BadAnswer(
            tr(
                "{name} gave no usable answer for {key} in {tries} tries{reason}",
                name=writer.name,
                key=section.key,
                tries=_TRIES,
                reason=tr(": {message}", message=trouble.message) if trouble else "",
            ),
            hint=tr("Run the same command again: it goes on here. Or name another with --model."),
        )
    return best


def checked(
    key: str, answer: dict[str, Any], schema: Schema, facts: Grounding, language: str
) -> dict[str, Any]:
    """``answer`` with every free text held against the facts; enumerations stay as they are.

    A text that nothing is left of becomes the plan's own "left out", in a list it goes.
    """
    content = _checked(key, answer, schema, facts)
    filled: dict[str, Any] = _fill(content, schema, word("unchecked", language))
    if key == "files":
        filled["make"] = _new_files(filled["make"], facts)
    return filled


def _checked(where: str, value: Any, schema: Schema, facts: Grounding) -> Any:
    if schema["type"] == "string":
        return value if "enum" in schema or "pattern" in schema else facts.check(where, value)
    if schema["type"] == "array":
        items = [_checked(where, item, schema["items"], facts) for item in value]
        if schema["items"]["type"] == "string":
            return [item for item in dict.fromkeys(items) if item]
        if "path" in schema["items"]["properties"]:  # small models repeat themselves
            return list({item["path"]: item for item in reversed(items)}.values())[::-1]
        return items
    return {
        name: _checked(f"{where}.{name}", value[name], inner, facts)
        for name, inner in schema["properties"].items()
    }


def _fill(value: Any, schema: Schema, unchecked: str) -> Any:
    if schema["type"] == "string":
        return value or unchecked
    if schema["type"] == "array":
        filled = [_fill(item, schema["items"], unchecked) for item in value]
        short = schema.get("minItems", 0) and not filled
        return [unchecked] if short and schema["items"]["type"] == "string" else filled
    return {
        name: _fill(value[name], inner, unchecked) for name, inner in schema["properties"].items()
    }


def _new_files(make: list[dict[str, str]], facts: Grounding) -> list[dict[str, str]]:
    """New files by their whole path, each once, none that is there already."""
    found: dict[str, dict[str, str]] = {}
    for entry in make:
        folder = "" if entry["folder"] == "." else f"{entry['folder']}/"
        path = f"{folder}{entry['name']}"
        if facts.survey.has(path):
            reason = "it is to be made, and it is there"
            facts.dropped.append({"where": "files.make", "text": path, "reason": reason})
        else:
            found.setdefault(path, {"path": path, "what": entry["what"]})
    return list(found.values())


def _summary(done: dict[str, Any]) -> str:
    """What the sections before have settled, short."""
    lines = []
    if analysis := done.get("analysis"):
        content = analysis["content"]
        lines += [content["summary"], *content["requirements"]]
    if strategy := done.get("strategy"):
        content = strategy["content"]
        option = content["options"]["ABC".index(content["choice"])]
        lines += [f"{option['name']}: {option['approach']}"]
    if phases := done.get("phases"):
        for phase in phases["content"]["phases"]:
            lines.append(f"{phase['name']}: {', '.join(task['task'] for task in phase['tasks'])}")
    return "\n".join(lines)[:_SUMMARY]


def _assemble(
    issue: Issue,
    survey: Survey,
    writer: Writer,
    language: str,
    today: date,
    done: dict[str, Any],
) -> dict[str, Any]:
    """The sections, and every fact that the program fills in."""
    content = {key: entry["content"] for key, entry in done.items()}
    analysis = content["analysis"]
    analysis["type"] = issue.kind or analysis["type"]
    analysis["priority"] = issue.priority or analysis["priority"]
    spent = estimate(content["phases"]["phases"], analysis["complexity"], working_day(today, 0))
    size = len(issue.text)
    read = min(entry["read"] for entry in done.values())
    return {
        "version": VERSION,
        "language": language,
        "model": writer.name,
        "made": today.isoformat(),
        "facts": {
            **{
                name: value
                for name, value in asdict(issue).items()
                if name not in {"body", "comments"}
            },
            "comments": len(issue.comments),
            "checklist": [{"done": ticked, "text": item} for ticked, item in issue.checklist],
            "criteria": criteria(issue),
            "body_sha256": hashlib.sha256(issue.body.encode()).hexdigest(),
            "commit": survey.commit,
            "base_branch": survey.branch,
            "branch": branch_name(issue),
            "log": [asdict(commit) for commit in survey.log],
            "named": list(survey.named),
            "missing": list(survey.missing),
            "files": len(survey.files),
            "time": {
                "phases": [
                    {
                        "hours": phase.hours,
                        "start": phase.start.isoformat(),
                        "end": phase.end.isoformat(),
                    }
                    for phase in spent.phases
                ],
                "work": spent.work,
                "buffer_share": spent.buffer_share,
                "buffer": spent.buffer,
                "total": spent.total,
                "end": spent.end.isoformat(),
            },
        },
        "sections": content,
        "dropped": [entry for section in done.values() for entry in section["dropped"]],
        "read": {"characters": read, "all": size} if read < size else None,
    }


def branch_name(issue: Issue) -> str:
    """``feature/issue-12-serve-models``: of the title's ASCII words, at most 50 characters."""
    title = "".join(c.lower() if c.isascii() and c.isalnum() else " " for c in issue.title)
    words = [part for part in title.split() if part not in {"feature", "feat", "bug", "fix"}]
    number = [f"issue-{issue.number}"] if issue.number is not None else []
    name = "-".join([*number, *words])[:50].strip("-")
    return f"feature/{name or 'plan'}"
