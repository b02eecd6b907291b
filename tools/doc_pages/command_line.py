"""docs/reference/cli.md: every verb of `lais` with its help, as click prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from local_ai_suite.cli.main import VERBS, lais

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = 90

HEAD = """<!-- Made by `make docs` from the commands themselves; don't edit. -->

# The command line

`lais` is `.venv/bin/lais`; each target of `make` is a thin door to it. Every command takes
`--help`, and nearly every one `--json`, which prints one JSON envelope. Answers go to stdout,
everything else to stderr. What a person reads is in Korean where `LAIS_LANG=ko` or the system's
language (`LANG=ko_KR.UTF-8`) says so; JSON, logs, HTTP answers and error codes stay English.

**Exit codes.** 0 done. 1 the answer is no. 2 to 9 and 74 an error that the suite knows.
70 a defect of the suite. 130 Ctrl-C.

| command | what it does |
|---|---|
"""


def page() -> str:
    """The whole page: the verbs in the order of `lais --help`, each with its subcommands."""
    top = click.Context(lais, info_name="lais")
    rows = [f"| [`lais {verb}`](#lais-{verb}) | {line} |" for verb, (_, line) in VERBS.items()]
    parts = [HEAD + "\n".join(rows) + "\n"]
    for verb in VERBS:
        command = lais.get_command(top, verb)
        if command is None:
            raise LookupError(verb)
        parts.extend(_sections(command, verb, top, level=2))
    return "\n".join(parts)


def _sections(
    command: click.Command, name: str, parent: click.Context, *, level: int
) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines()).strip()
    yield f"{'#' * level} `{context.command_path}`\n\n```text\n{text}\n```\n"
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            if inner is not None and not inner.hidden:
                yield from _sections(inner, word, context, level=level + 1)
