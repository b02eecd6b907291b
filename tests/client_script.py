"""What the scripted model says to real coding clients: it calls each one's own tool for a file."""

from __future__ import annotations

import json
from typing import Any

from local_ai_suite.demo import DEFAULT, Call, Rule, Say, Script

HELLO = "Hello from the scripted model."
WRITTEN = "I have written the file."
OUT = "written-by-the-client.txt"

# client -> its tool that writes a file, and its arguments in the order of the tool's own schema,
# which the engine's grammar holds the model to ({} stands for the file's name).
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "opencode": ("write", {"content": "pelican", "filePath": "{}"}),
    "continue": ("Write", {"filepath": "{}", "content": "pelican"}),
    "claude-code": ("Write", {"file_path": "{}", "content": "pelican"}),
    "qwen-code": ("write_file", {"file_path": "{}", "content": "pelican"}),
    "copilot-cli": ("create", {"path": "{}", "file_text": "pelican"}),
    "codex": ("exec_command", {"cmd": "printf pelican > {}"}),
    "cline": ("run_commands", {"commands": ["printf pelican > {}"]}),
    "vscode": ("create_file", {"filePath": "{}", "content": "pelican"}),
}
# Cursor's custom tool, whose input is text and no JSON.
PATCH = '*** Begin Patch\n*** Add File: hello.py\n+print("hello")\n*** End Patch'
# aider has no tools: it reads whole files out of the answer, each after a line with its name.
AIDER = f"{OUT}\n```\npelican\n```\n"


def script_for(folder: str) -> Script:
    """``write it with CLIENT`` makes that client write :data:`OUT` in ``folder``."""
    done = Say(WRITTEN)
    rules = []
    for client, (tool, arguments) in CALLS.items():
        filled = json.loads(json.dumps(arguments).replace("{}", f"{folder}/{OUT}"))
        rules.append(Rule(f"write it with {client}", (Call(tool, filled), done)))
    rules.append(Rule("patch it with cursor", (Call("ApplyPatch", {"input": PATCH}), done)))
    rules.append(Rule("write it with aider", (Say(AIDER),)))
    return Script(rules=(*rules, *DEFAULT.rules))
