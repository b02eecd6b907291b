"""docs/clients/: a page per client and the overview, from the table of `lais connect`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite.connect import formats, table, values
from local_ai_suite.connect.editor import Home
from local_ai_suite.connect.serving import PLACEHOLDER, Endpoint, Serving

if TYPE_CHECKING:
    from local_ai_suite.connect.editor import Editor

# An example of what is running: a laptop with a small card.
EXAMPLE = Endpoint(
    base_url="http://localhost:8000/v1",
    chat=Serving("local-chat", 8192, 2048, tools=True, fim=False),
    code=Serving("local-code", 8192, 2048, tools=True, fim=True),
    embed="local-embed",
    fim_name="qwen2.5-coder",
    key_needed=False,
)
_HOME = Home(Path("~"), {})
_FENCES = {"jsonc": "jsonc", "yaml": "yaml", "toml": "toml", "dotenv": "sh"}
_MADE = "<!-- Made by `make docs` from the table of clients; don't edit. -->\n"


def pages() -> dict[str, str]:
    """File name -> text, for the whole folder."""
    made = {f"{client.id}.md": _page(client) for client in table.CLIENTS}
    return {"README.md": _overview(), **made}


def _overview() -> str:
    rows = [
        "| client | `lais connect` | `lais launch` | protocol | tools | FIM |",
        "|---|---|---|---|---|---|",
    ]
    for client in table.CLIENTS:
        how = "writes its file" if client.files else "prints the steps"
        how = "prints variables" if client.id == "env" else how
        cells = [
            f"[{client.name}]({client.id}.md)",
            how if client.files or client.steps or client.id == "env" else "-",
            "yes" if client.launch else "-",
            {"chat": "chat completions", "responses": "responses", "messages": "messages"}[
                client.protocol
            ],
            "yes" if client.tools else "-",
            "yes" if client.fim else "-",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return f"""{_MADE}
# Editors and agents

`lais connect` lists the clients that are on this machine, `lais connect CLIENT` shows what it would
write, asks, writes it, keeps a backup, and then does a round trip in the client's own protocol: a
chat, a streamed answer, a tool call with its second turn, a completion in the middle, a cancel.
`lais connect --check` does that again any time, `lais disconnect CLIENT` gives the file back, and
`lais launch CLIENT` starts a terminal client with nothing written.

{chr(10).join(rows)}

Model names, context and limits are those of the running server; the pages show an example.
[What real clients did](matrix.md), at which version, is written by a run of them.
"""


def _page(client: Editor) -> str:
    parts = [f"{_MADE}\n# {client.name}\n", f"Its own documentation: <{client.page}>\n"]
    if client.install:
        parts.append(f"Install: {client.install}\n")
    if client.picture:
        parts.append(f"![{client.name} with a local model]({client.picture})\n")
    if client.files:
        parts.append(f"```sh\nlais connect {client.id}\n```\n")
    for file in client.files:
        text, _ = formats.apply(file.format, "", file.edits(EXAMPLE))
        path = file.places(_HOME)[0]
        parts.append(
            f"In `{path}`, beside what is there already:\n\n"
            f"```{_FENCES[file.format]}\n{text.rstrip()}\n```\n"
        )
    if client.steps:
        endpoint = replace(EXAMPLE, key_needed=True) if client.needs_tunnel else EXAMPLE
        lines = "\n".join(f"- {step}" for step in client.steps(endpoint))
        parts.append(f"`lais connect {client.id}` prints, with your values:\n\n{lines}\n")
    if client.id == "env":
        shown = "\n".join(
            f"export {name}={value}"
            for name, value in values.environment(EXAMPLE, PLACEHOLDER).items()
        )
        parts.append(f"`lais connect env` prints:\n\n```sh\n{shown}\n```\n")
    if client.launch:
        parts.append(
            f"For one start, with nothing written:\n\n```sh\nlais launch {client.id}\n```\n"
        )
    if client.notes:
        parts.append("\n".join(f"- {note}" for note in client.notes) + "\n")
    return "\n".join(parts)
