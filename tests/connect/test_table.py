"""What each client gets, from whatever is running."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from doc_pages.clients import EXAMPLE
from local_ai_suite.client import Model
from local_ai_suite.connect import formats, table, tunnels, values
from local_ai_suite.connect.editor import Editor, Home, windows_profile
from local_ai_suite.connect.processes import is_running
from local_ai_suite.connect.serving import KEY_VARIABLE, Endpoint, read_endpoint
from local_ai_suite.errors import UsageError

DOCS = Path(__file__).parents[2] / "docs" / "clients"
BASE = "http://localhost:8000/v1"


def model(name: str, kind: str, *capabilities: str, context: int | None = 8192) -> Model:
    return Model(name, kind, "ready", context, None, frozenset(capabilities or {"chat"}))


FULL = [
    model("local-chat", "chat", "chat", "tools"),
    model("local-code", "code", "chat", "tools", "fim", context=32_768),
    model("qwen2.5-coder", "code", "chat", "tools", "fim", context=32_768),
    model("local-embed", "embed", "embeddings"),
]


def endpoint_of(models: list[Model], *, key_needed: bool = False) -> Endpoint:
    return read_endpoint(models, BASE, key_needed=key_needed)


RUNNING = {
    "all": endpoint_of(FULL),
    "key": endpoint_of(FULL, key_needed=True),
    "one model, nothing told": endpoint_of([Model("local-chat")]),
}
WITH_FILES = [client for client in table.CLIENTS if client.files]


def test_the_endpoint_is_read_from_what_is_running() -> None:
    endpoint = RUNNING["all"]
    assert (endpoint.chat.context, endpoint.code.context) == (8192, 32_768)
    assert endpoint.chat.output == 2048
    assert endpoint.fim_name == "qwen2.5-coder"
    assert endpoint.embed == "local-embed"
    alone = RUNNING["one model, nothing told"]
    assert alone.models == (alone.chat,)
    assert (alone.chat.context, alone.chat.output, alone.fim_name) == (None, None, None)
    with pytest.raises(UsageError, match="no model that chats"):
        endpoint_of([FULL[3]])


def test_a_base_model_completes_in_the_editor_and_never_chats() -> None:
    base = model("local-code", "code", "completion", "fim")
    endpoint = endpoint_of([FULL[0], base])
    assert (endpoint.chat.id, endpoint.code.id) == ("local-chat", "local-chat")
    assert endpoint.fim_name == "local-code"
    with pytest.raises(UsageError, match="no model that chats"):
        endpoint_of([base])


@pytest.mark.parametrize("running", RUNNING)
@pytest.mark.parametrize("client", WITH_FILES, ids=lambda client: client.id)
def test_what_is_written_reads_back_and_is_written_once(
    client: Editor, running: str, tmp_path: Path
) -> None:
    endpoint, targets = RUNNING[running], 0
    for file in client.files:
        text, _ = formats.apply(file.format, "", file.edits(endpoint))
        assert formats.apply(file.format, text, file.edits(endpoint))[0] == text
        assert "None" not in text
        assert "null" not in text  # what nobody told is left out
        data = formats.load(file.format, text)
        assert file.check(data) is None
        if file.target:
            targets += 1
            target = file.target(data)
            assert target.base_url == BASE
            assert target.model in {served.id for served in endpoint.models}
        assert str(file.paths(Home(tmp_path, {}))[0]).startswith(str(tmp_path))
    assert targets == 1


@pytest.mark.parametrize("client", WITH_FILES, ids=lambda client: client.id)
def test_with_a_key_no_file_holds_it_nor_a_placeholder(client: Editor) -> None:
    text = "".join(
        formats.apply(file.format, "", file.edits(RUNNING["key"]))[0] for file in client.files
    )
    lines = [line for line in text.splitlines() if "key" in line.lower()]
    for line in lines:
        assert "local" not in line or KEY_VARIABLE in line or "local-ai-suite" in line, line


def test_continue_gets_a_name_that_it_takes_qwens_template_for() -> None:
    """Its rule: a name with both words in it; StarCoder's tokens for all others."""
    edits = values.continue_edits(RUNNING["all"])
    (auto,) = [e.value for e in edits if e.value and "autocomplete" in str(e.path)]
    assert "qwen" in auto["model"]
    assert "coder" in auto["model"]
    assert auto["roles"] == ["autocomplete"]


def test_continues_newer_schema_is_left_alone() -> None:
    (file,) = table.find("continue").files  # type: ignore[union-attr]
    assert "v2" in str(file.check({"schema": "v2"}))


def test_claude_code_gets_the_address_without_v1() -> None:
    environment = values.claude_environment(RUNNING["all"], "k")
    assert environment["ANTHROPIC_BASE_URL"] == "http://localhost:8000"
    assert environment["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "32768"


def test_codex_names_a_key_only_when_one_is_needed() -> None:
    assert "env_key" not in values.codex_provider(RUNNING["all"])
    assert values.codex_provider(RUNNING["key"])["env_key"] == KEY_VARIABLE
    arguments = values.codex_arguments(RUNNING["all"])
    assert f'model_providers.local-ai-suite.base_url="{BASE}"' in arguments


def test_vscodes_prompt_and_answer_fit_the_context_together() -> None:
    (edit,) = values.vscode_edits(RUNNING["all"])
    for written in edit.value["models"]:
        served = next(m for m in RUNNING["all"].models if m.id == written["id"])
        assert written["maxInputTokens"] + written["maxOutputTokens"] == served.context


def test_under_wsl2_the_editors_files_are_on_the_windows_side(tmp_path: Path) -> None:
    mounts = tmp_path / "mnt"
    for user in ("Public", "Default", "Mina"):
        (mounts / "c" / "Users" / user / "AppData" / "Roaming").mkdir(parents=True)
    profile = windows_profile({"WSL_DISTRO_NAME": "Ubuntu"}, mounts)
    assert profile == mounts / "c" / "Users" / "Mina"
    assert windows_profile({}, mounts) is None
    home = Home(tmp_path / "home", {}, profile)
    (file,) = table.find("vscode").files  # type: ignore[union-attr]
    (path,) = file.paths(home)
    assert "Mina/AppData/Roaming/Code/User" in str(path)
    (mounts / "c" / "Users" / "Joe" / "AppData" / "Roaming").mkdir(parents=True)
    assert windows_profile({"WSL_DISTRO_NAME": "Ubuntu"}, mounts) is None  # not sure which
    named = windows_profile({"WSL_DISTRO_NAME": "Ubuntu", "USER": "joe"}, mounts)
    assert named == mounts / "c" / "Users" / "Joe"


def places(client: str, home: Home) -> list[str]:
    (file,) = table.find(client).files  # type: ignore[union-attr]
    folders = {home.folder: "~", home.windows: "WINDOWS"}
    found = [str(path) for path in file.paths(home)]
    for folder, short in folders.items():
        found = [path.replace(str(folder), short) for path in found]
    return found


def test_under_wsl2_both_sides_of_an_editor_are_written(tmp_path: Path) -> None:
    """Continue's extension runs on Windows (continue#10433), its terminal client on this side."""
    home = Home(tmp_path / "home", {}, tmp_path / "windows")
    assert places("continue", home) == ["~/.continue/config.yaml"]
    (tmp_path / "windows" / ".continue").mkdir(parents=True)
    assert places("continue", home) == ["WINDOWS/.continue/config.yaml"]
    (tmp_path / "home" / ".continue").mkdir(parents=True)
    assert places("continue", home) == ["~/.continue/config.yaml", "WINDOWS/.continue/config.yaml"]
    (tmp_path / "windows" / "AppData" / "Roaming" / "Zed").mkdir(parents=True)
    assert places("zed", home) == ["WINDOWS/AppData/Roaming/Zed/settings.json"]
    # WSL2 forwards localhost from Windows, so the address is the same from there.
    (edit,) = values.zed_edits(EXAMPLE)
    assert edit.value["api_url"].startswith("http://localhost:")


def test_every_profile_of_every_vs_code_is_written(tmp_path: Path) -> None:
    home = Home(tmp_path, {})
    user = tmp_path / ".config" / "Code" / "User"
    assert places("vscode", home) == ["~/.config/Code/User/chatLanguageModels.json"]
    for profile in ("1f2e", "77aa"):
        (user / "profiles" / profile).mkdir(parents=True)
    (tmp_path / ".config" / "VSCodium" / "User").mkdir(parents=True)
    assert places("vscode", home) == [
        "~/.config/Code/User/chatLanguageModels.json",
        "~/.config/Code/User/profiles/1f2e/chatLanguageModels.json",
        "~/.config/Code/User/profiles/77aa/chatLanguageModels.json",
        "~/.config/VSCodium/User/chatLanguageModels.json",
    ]


CLOUDFLARED, TAILSCALE = tunnels.TUNNELS


def test_cursor_is_told_the_truth_and_gets_no_tunnel_without_a_key() -> None:
    text = "\n".join(tunnels.cursor_steps(EXAMPLE))
    assert "cannot use http://localhost:8000/v1" in text
    assert "REQUIRE_KEY=true" in text
    assert "cloudflared" not in text
    assert "funnel" not in text


def test_cursor_is_offered_the_tunnels_that_are_there() -> None:
    locked = replace(EXAMPLE, key_needed=True)
    text = "\n".join(tunnels.cursor_steps(locked, [CLOUDFLARED]))
    assert "cloudflared tunnel --url http://localhost:8000 --http-host-header localhost" in text
    assert "WARNING" in text
    assert "/cursor" in text
    assert "tailscale" not in text
    assert "tailscale funnel 8000" in "\n".join(tunnels.cursor_steps(locked, [TAILSCALE]))
    assert "install one" in "\n".join(tunnels.cursor_steps(locked, []))
    assert tunnels.installed(lambda name: name if name == "tailscale" else None) == (TAILSCALE,)


@pytest.mark.parametrize(
    ("line", "running"),
    [
        (["/usr/bin/qwen"], True),
        (["node", "/usr/lib/node_modules/.bin/qwen", "-p", "hi"], True),
        (["/usr/bin/node", "--no-warnings"], False),
        (["vim", "qwen"], False),
        (["C:\\Programs\\Qwen.EXE"], True),
        ([], False),
    ],
)
def test_a_client_that_runs_is_seen(line: list[str], running: bool) -> None:
    assert is_running(["qwen"], [["/sbin/init"], line]) is running


def test_every_client_has_something_to_do_and_a_page() -> None:
    ids = [client.id for client in table.CLIENTS]
    assert len(ids) == len(set(ids))
    for client in table.CLIENTS:
        assert client.files or client.steps or client.launch or client.id == "env"


def test_the_pictures_are_those_of_the_table() -> None:
    # The pages themselves are held by tests/docs; screenshots are made by hand.
    pictures = {client.picture for client in table.CLIENTS if client.picture}
    assert pictures == {path.name for path in DOCS.glob("*.png")}
