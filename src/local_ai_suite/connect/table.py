"""The clients: where each keeps its configuration, what goes in, how it starts, what to know.

What their releases read was found by running them; docs/clients/ has a page for each, made from
this table.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_suite.messages import tr

from . import tunnels, values
from .editor import ConfigFile, Editor, Launch
from .serving import KEY_VARIABLE, PLACEHOLDER
from .values import ID

if TYPE_CHECKING:
    from .editor import Home


def _vscode_users(home: Home) -> list[Path]:
    """User folders of VS Code and its kin; under WSL2 the editor's window is on Windows."""
    kin = ("Code", "Code - Insiders", "VSCodium")
    windows = [home.windows / "AppData" / "Roaming" / name for name in kin] if home.windows else []
    linux = [home.config / name for name in kin]
    mac = [home.folder / "Library" / "Application Support" / name for name in kin]
    server = home.folder / ".local" / "share" / "code-server"
    there = [folder / "User" for folder in (*windows, *linux, *mac, server)]
    return [f for f in there if f.exists()] or [there[0]]


def _vscode_models(home: Home) -> list[Path]:
    """A file for the default profile, and one in the folder of each further profile."""
    folders = [
        folder
        for user in _vscode_users(home)
        for folder in (user, *sorted((user / "profiles").glob("*/")))
    ]
    return [folder / "chatLanguageModels.json" for folder in folders]


def _continue_files(home: Home) -> list[Path]:
    """Under WSL2 the editor's extension runs on Windows and reads that side (continue#10433)."""
    homes = [home.folder, *([home.windows] if home.windows else [])]
    return [folder / ".continue" / "config.yaml" for folder in homes]


def _zed_files(home: Home) -> list[Path]:
    windows = home.windows / "AppData" / "Roaming" / "Zed" if home.windows else None
    return [f / "settings.json" for f in (home.config / "zed", *([windows] if windows else []))]


def _llm_folder(home: Home) -> Path:
    named = home.environ.get("LLM_USER_PATH")
    return Path(named) if named else home.config / "io.datasette.llm"


CLIENTS: tuple[Editor, ...] = (
    Editor(
        "continue",
        "Continue",
        "https://docs.continue.dev",
        ("cn",),
        lambda home: [path.parent for path in _continue_files(home)],
        files=(
            ConfigFile(
                "yaml",
                _continue_files,
                values.continue_edits,
                values.continue_check,
                values.continue_target,
                everywhere=True,
            ),
        ),
        notes=(
            (
                tr(
                    "Autocomplete chooses its template by the model's name: the alias "
                    "qwen2.5-coder has the right one."
                )
            ),
            tr(
                "With REQUIRE_KEY=true put {variable}=... into ~/.continue/.env.",
                variable=KEY_VARIABLE,
            ),
        ),
        fim=True,
        install=tr("npm install -g @continuedev/cli, or the editor's extension"),
    ),
    Editor(
        "opencode",
        "opencode",
        "https://opencode.ai/docs",
        ("opencode",),
        lambda home: [home.config / "opencode"],
        files=(
            ConfigFile(
                "jsonc",
                lambda home: [
                    home.config / "opencode" / "opencode.json",
                    home.config / "opencode" / "opencode.jsonc",
                ],
                values.opencode_edits,
                target=values.opencode_target,
            ),
        ),
        launch=Launch("opencode", values.opencode_launch),
        install="npm install -g opencode-ai",
    ),
    Editor(
        "aider",
        "aider",
        "https://aider.chat/docs",
        ("aider",),
        lambda home: [home.folder / ".aider.conf.yml"],
        files=(
            ConfigFile(
                "yaml",
                lambda home: [home.folder / ".aider.conf.yml"],
                values.aider_edits,
                target=values.aider_target,
            ),
            ConfigFile(
                "jsonc",
                lambda home: [home.folder / ".aider.model.metadata.json"],
                values.aider_metadata,
            ),
        ),
        launch=Launch(
            "aider",
            values.openai_environment,
            lambda endpoint: [
                "--model",
                f"openai/{endpoint.code.id}",
                "--weak-model",
                f"openai/{endpoint.chat.id}",
            ],
        ),
        notes=(tr("With REQUIRE_KEY=true set OPENAI_API_KEY in the environment."),),
        tools=False,
        install="pipx install aider-chat",
    ),
    Editor(
        "codex",
        "Codex CLI",
        "https://developers.openai.com/codex",
        ("codex",),
        lambda home: [home.folder / ".codex"],
        protocol="responses",
        files=(
            ConfigFile(
                "toml",
                lambda home: [home.folder / ".codex" / "config.toml"],
                values.codex_edits,
                target=values.codex_target,
            ),
        ),
        launch=Launch("codex", lambda _, key: {KEY_VARIABLE: key}, values.codex_arguments),
        notes=(
            tr("Its own prompt and tools take about 16,000 tokens: a context of 24,576 or more."),
        ),
        install="npm install -g @openai/codex",
    ),
    Editor(
        "claude-code",
        "Claude Code",
        "https://docs.claude.com/claude-code",
        ("claude",),
        lambda home: [home.folder / ".claude"],
        protocol="messages",
        files=(
            ConfigFile(
                "jsonc",
                lambda home: [home.folder / ".claude" / "settings.json"],
                values.claude_edits,
                target=values.claude_target,
            ),
        ),
        launch=Launch("claude", values.claude_environment),
        notes=(
            (
                tr(
                    "Writing its settings makes the local models its default everywhere; `lais "
                    "launch claude-code` does it for one start only."
                )
            ),
            tr("Its prompt and tools need a context of 32,768 tokens or more."),
            tr("With REQUIRE_KEY=true set ANTHROPIC_AUTH_TOKEN in the environment."),
        ),
        install="npm install -g @anthropic-ai/claude-code",
    ),
    Editor(
        "llm",
        "llm",
        "https://llm.datasette.io",
        ("llm",),
        lambda home: [home.config / "io.datasette.llm"],
        files=(
            ConfigFile(
                "yaml",
                lambda home: [_llm_folder(home) / "extra-openai-models.yaml"],
                values.llm_edits,
                target=values.llm_target,
            ),
        ),
        notes=(tr("With REQUIRE_KEY=true: `llm keys set {id}`.", id=ID),),
        install="pipx install llm",
    ),
    Editor(
        "qwen-code",
        "Qwen Code",
        "https://qwenlm.github.io/qwen-code-docs",
        ("qwen",),
        lambda home: [home.folder / ".qwen"],
        files=(
            ConfigFile(
                "dotenv",
                lambda home: [home.folder / ".qwen" / ".env"],
                values.qwen_edits,
                target=values.qwen_target,
            ),
            ConfigFile(
                "jsonc",
                lambda home: [home.folder / ".qwen" / "settings.json"],
                values.qwen_settings,
            ),
        ),
        launch=Launch("qwen", values.openai_environment, lambda _: ["--auth-type", "openai"]),
        notes=(
            (
                tr(
                    "Its own prompt and tools take 34,000 tokens, and it keeps 33,000 free for "
                    "summaries: a context of 81,920 or more."
                )
            ),
            tr("With REQUIRE_KEY=true set OPENAI_API_KEY in the environment."),
        ),
        install="npm install -g @qwen-code/qwen-code",
    ),
    Editor(
        "vscode",
        "VS Code (Copilot Chat)",
        "https://code.visualstudio.com/docs/copilot",
        ("code", "code-insiders", "codium", "code-server"),
        _vscode_users,
        files=(
            ConfigFile(
                "jsonc",
                _vscode_models,
                values.vscode_edits,
                target=values.vscode_target,
                everywhere=True,
            ),
        ),
        notes=(
            tr("Inline completion is not served by own models (vscode#311931): Continue does it."),
            (
                tr(
                    "Releases from 1.132 on could need the setting "
                    "chat.agentHost.byokModels.enabled (vscode#329545); 1.139 does not."
                )
            ),
            (
                tr(
                    "No login is needed. Without one Copilot Chat sleeps at first: in the chat "
                    "click the model's name, Manage Models, and the local models are there."
                )
            ),
            (
                tr(
                    'With REQUIRE_KEY=true add requestHeaders {"x-litellm-api-key": "Bearer '
                    'KEY"} to each model by hand: a plain apiKey is sent empty. The file is a '
                    "secret then."
                )
            ),
        ),
        install="https://code.visualstudio.com",
        picture="vscode.png",
    ),
    Editor(
        "zed",
        "Zed",
        "https://zed.dev/docs/ai",
        ("zed", "zeditor"),
        lambda home: [path.parent for path in _zed_files(home)],
        files=(
            ConfigFile(
                "jsonc",
                _zed_files,
                values.zed_edits,
                target=values.zed_target,
                everywhere=True,
            ),
        ),
        notes=(
            tr(
                "It wants a key in the environment: {variable}={placeholder}, or the real one.",
                variable=KEY_VARIABLE,
                placeholder=PLACEHOLDER,
            ),
        ),
        install="https://zed.dev",
    ),
    Editor(
        "cline",
        "Cline",
        "https://docs.cline.bot",
        ("cline",),
        lambda home: [home.folder / ".cline"],
        steps=values.cline_steps,
        notes=(tr("Its settings are an internal file: its own command or panel writes them."),),
        install=tr("npm install -g cline, or the editor's extension"),
    ),
    Editor(
        "copilot-cli",
        "Copilot CLI",
        "https://docs.github.com/copilot",
        ("copilot",),
        lambda home: [home.folder / ".copilot"],
        launch=Launch("copilot", values.copilot_environment),
        notes=(tr("It reads its provider from the environment alone: `lais launch copilot-cli`."),),
        install="npm install -g @github/copilot",
    ),
    Editor(
        "open-webui",
        "Open WebUI",
        "https://docs.openwebui.com",
        ("open-webui",),
        launch=Launch(
            "open-webui",
            lambda endpoint, key: dict(
                line.replace(f"${KEY_VARIABLE}", key).split("=", 1)
                for line in values.webui_steps(endpoint)
            ),
            lambda _: ["serve"],
        ),
        steps=values.webui_steps,
        tools=False,
        notes=(
            (
                tr(
                    "From inside a container the server is http://host.docker.internal:8000/v1; "
                    "add that name to ALLOWED_HOSTS."
                )
            ),
        ),
        install="pipx install open-webui",
    ),
    Editor(
        "jetbrains",
        "JetBrains AI Assistant",
        "https://www.jetbrains.com/help/ai-assistant",
        ("idea", "pycharm", "webstorm"),
        steps=values.jetbrains_steps,
        fim=True,
        notes=(tr("It is set in its own window only."),),
    ),
    Editor(
        "cursor",
        "Cursor",
        "https://docs.cursor.com",
        ("cursor",),
        lambda home: [home.config / "Cursor"],
        steps=tunnels.cursor_steps,
        needs_tunnel=True,
        notes=(tr("`lais connect` never opens a tunnel."),),
    ),
    Editor(
        "env",
        "SDKs and scripts",
        "https://platform.openai.com/docs/libraries",
        launch=None,
        steps=None,
        notes=(tr('`eval "$(lais connect env --print)"` sets them in this shell.'),),
    ),
)


def find(client_id: str) -> Editor | None:
    """The client that goes by ``client_id``; ``None`` if there is none."""
    return next((client for client in CLIENTS if client.id == client_id), None)
