"""What goes into each client's configuration, from the endpoint of the running server.

Connecting adds a provider and never takes the user's own default away: a value that is in the file
already is kept where ``only_if_absent`` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_ai_suite.messages import tr

from .editor import Target
from .path import Edit, Item
from .serving import KEY_VARIABLE, PLACEHOLDER

if TYPE_CHECKING:
    from .serving import Endpoint, Serving

NAME = "Local AI Suite"
ID = "local-ai-suite"


def _known(**values: Any) -> dict[str, Any]:
    """Without the values that nobody told."""
    return {key: value for key, value in values.items() if value is not None}


def openai_environment(endpoint: Endpoint, key: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": endpoint.base_url, "OPENAI_API_BASE": endpoint.base_url,
            "OPENAI_API_KEY": key, "OPENAI_MODEL": endpoint.chat.id}  # fmt: skip


# Continue ------------------------------------------------------------------------------------


def continue_edits(endpoint: Endpoint) -> list[Edit]:
    base = {"provider": "openai", "apiBase": endpoint.base_url,
            "apiKey": endpoint.key_or("${{ secrets." + KEY_VARIABLE + " }}")}  # fmt: skip

    def model(title: str, name: str, roles: list[str], **more: Any) -> Edit:
        title = f"{NAME} {title}"
        value = {"name": title, **base, "model": name, "roles": roles, **more}
        return Edit(("models", Item("name", title)), value)

    def limits(serving: Serving) -> dict[str, Any]:
        options = _known(contextLength=serving.context, maxTokens=serving.output)
        return {"defaultCompletionOptions": options} if options else {}

    edits = [
        Edit(("name",), "Local Config", only_if_absent=True),
        Edit(("version",), "1.0.0", only_if_absent=True),
        Edit(("schema",), "v1", only_if_absent=True),
    ]
    for title, serving in zip(("chat", "code"), endpoint.models, strict=False):
        tools = {"capabilities": ["tool_use"]} if serving.tools else {}
        edits.append(
            model(title, serving.id, ["chat", "edit", "apply"], **tools, **limits(serving))
        )
    if endpoint.fim_name:
        edits.append(model("autocomplete", endpoint.fim_name, ["autocomplete"]))
    if endpoint.embed:
        edits.append(model("embeddings", endpoint.embed, ["embed"]))
    return edits


def continue_check(data: Any) -> str | None:
    schema = data.get("schema", "v1") if isinstance(data, dict) else None
    return (
        None
        if schema == "v1"
        else tr("its schema is {schema!r}, and only v1 is known here", schema=schema)
    )


# opencode ------------------------------------------------------------------------------------


def opencode_provider(endpoint: Endpoint) -> dict[str, Any]:
    models = {
        m.id: _known(
            name=f"{m.id} ({NAME})", tool_call=m.tools,
            limit=_known(context=m.context, output=m.output) or None,
        )
        for m in endpoint.models
    }  # fmt: skip
    options = {
        "baseURL": endpoint.base_url,
        "apiKey": endpoint.key_or("{env:" + KEY_VARIABLE + "}"),
    }
    return {"npm": "@ai-sdk/openai-compatible", "name": NAME, "options": options, "models": models}


def opencode_edits(endpoint: Endpoint) -> list[Edit]:
    return [
        Edit(("$schema",), "https://opencode.ai/config.json", only_if_absent=True),
        Edit(("provider", ID), opencode_provider(endpoint)),
        Edit(("model",), f"{ID}/{endpoint.code.id}", only_if_absent=True),
        Edit(("small_model",), f"{ID}/{endpoint.chat.id}", only_if_absent=True),
    ]


def opencode_launch(endpoint: Endpoint, key: str) -> dict[str, str]:
    import json  # noqa: PLC0415

    config = {
        "provider": {ID: opencode_provider(endpoint)},
        "model": f"{ID}/{endpoint.code.id}",
        "small_model": f"{ID}/{endpoint.chat.id}",
    }
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(config), KEY_VARIABLE: key}


# aider ---------------------------------------------------------------------------------------


def aider_edits(endpoint: Endpoint) -> list[Edit]:
    edits = [
        Edit(("openai-api-base",), endpoint.base_url),
        Edit(("model",), f"openai/{endpoint.code.id}", only_if_absent=True),
        Edit(("weak-model",), f"openai/{endpoint.chat.id}", only_if_absent=True),
    ]
    if not endpoint.key_needed:
        edits.append(Edit(("openai-api-key",), PLACEHOLDER, only_if_absent=True))
    return edits


def aider_metadata(endpoint: Endpoint) -> list[Edit]:
    return [
        Edit((f"openai/{m.id}",), _known(
            max_input_tokens=m.context, max_output_tokens=m.output, max_tokens=m.output,
            input_cost_per_token=0, output_cost_per_token=0, litellm_provider="openai", mode="chat",
        ))
        for m in endpoint.models
    ]  # fmt: skip


# Codex ---------------------------------------------------------------------------------------


def codex_provider(endpoint: Endpoint) -> dict[str, Any]:
    provider = {"name": NAME, "base_url": endpoint.base_url, "wire_api": "responses"}
    # Named only when needed: Codex refuses to start when the variable is not set.
    return {**provider, "env_key": KEY_VARIABLE} if endpoint.key_needed else provider


def codex_edits(endpoint: Endpoint) -> list[Edit]:
    edits = [
        Edit(("model",), endpoint.code.id, only_if_absent=True),
        Edit(("model_provider",), ID, only_if_absent=True),
    ]
    if endpoint.code.context is not None:
        edits.append(Edit(("model_context_window",), endpoint.code.context, only_if_absent=True))
    return [*edits, Edit(("model_providers", ID), codex_provider(endpoint))]


def codex_arguments(endpoint: Endpoint) -> list[str]:
    import json  # noqa: PLC0415

    settings: dict[str, Any] = {"model": endpoint.code.id, "model_provider": ID}
    if endpoint.code.context is not None:
        settings["model_context_window"] = endpoint.code.context
    for key, value in codex_provider(endpoint).items():
        settings[f"model_providers.{ID}.{key}"] = value
    return [
        part for key, value in settings.items() for part in ("-c", f"{key}={json.dumps(value)}")
    ]


# Claude Code ---------------------------------------------------------------------------------


def claude_environment(endpoint: Endpoint, key: str) -> dict[str, str]:
    context, output = endpoint.code.context, endpoint.code.output
    return {
        "ANTHROPIC_BASE_URL": endpoint.root,
        "ANTHROPIC_AUTH_TOKEN": key,
        "ANTHROPIC_MODEL": endpoint.code.id,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": endpoint.chat.id,
        # It takes a million tokens for granted otherwise.
        **({"CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(context)} if context else {}),
        **({"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(output)} if output else {}),
        # Otherwise the first system block changes each turn and the prompt cache is lost.
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def claude_edits(endpoint: Endpoint) -> list[Edit]:
    values = claude_environment(endpoint, PLACEHOLDER)
    if endpoint.key_needed:
        del values["ANTHROPIC_AUTH_TOKEN"]  # from the environment: the file is often shared
    return [Edit(("env", name), value) for name, value in values.items()]


# Others --------------------------------------------------------------------------------------


def llm_edits(endpoint: Endpoint) -> list[Edit]:
    return [
        Edit((Item("model_id", m.id),), _known(
            model_id=m.id, model_name=m.id, api_base=endpoint.base_url,
            api_key_name=ID if endpoint.key_needed else None,
            supports_tools=m.tools, supports_schema=True,
        ))
        for m in endpoint.models
    ]  # fmt: skip


def qwen_edits(endpoint: Endpoint) -> list[Edit]:
    values = {"OPENAI_BASE_URL": endpoint.base_url, "OPENAI_MODEL": endpoint.code.id}
    if not endpoint.key_needed:
        values["OPENAI_API_KEY"] = PLACEHOLDER
    return [Edit((name,), value) for name, value in values.items()]


# Tokens. Qwen Code 0.24.4 sums its history up as soon as a prompt leaves less than 33,000 free, and
# its own prompt and tools are 34,000: told a smaller context it would do so at each turn.
QWEN_CONTEXT = 81_920


def qwen_settings(endpoint: Endpoint) -> list[Edit]:
    edits = [Edit(("security", "auth", "selectedType"), "openai", only_if_absent=True)]
    if endpoint.code.context is not None and endpoint.code.context >= QWEN_CONTEXT:
        # It looks the size up by the model's name otherwise, and takes a large one for granted.
        path = ("model", "generationConfig", "contextWindowSize")
        edits.append(Edit(path, endpoint.code.context, only_if_absent=True))
    return edits


def vscode_edits(endpoint: Endpoint) -> list[Edit]:
    models = [
        _known(
            id=m.id, name=f"{m.id} ({NAME})", url=f"{endpoint.base_url}/chat/completions",
            toolCalling=m.tools, vision=False,
            maxInputTokens=m.context - (m.output or 0) if m.context else None,
            maxOutputTokens=m.output,
        )
        for m in endpoint.models
    ]  # fmt: skip
    value = {"name": NAME, "vendor": "customendpoint", "apiType": "chat-completions",
             "models": models}  # fmt: skip
    return [Edit((Item("name", NAME),), value)]


def zed_edits(endpoint: Endpoint) -> list[Edit]:
    models = [
        _known(
            name=m.id, display_name=f"{m.id} ({NAME})", max_tokens=m.context,
            max_output_tokens=m.output,
            capabilities={"tools": m.tools, "images": False, "parallel_tool_calls": False,
                          "prompt_cache_key": False},
        )
        for m in endpoint.models
    ]  # fmt: skip
    value = {"api_url": endpoint.base_url, "available_models": models}
    return [Edit(("language_models", "openai_compatible", NAME), value)]


def copilot_environment(endpoint: Endpoint, key: str) -> dict[str, str]:
    environment = {"COPILOT_PROVIDER_BASE_URL": endpoint.base_url, "COPILOT_PROVIDER_API_KEY": key,
                   "COPILOT_MODEL": endpoint.code.id, "COPILOT_OFFLINE": "true"}  # fmt: skip
    context, output = endpoint.code.context, endpoint.code.output
    if context is not None and output is not None:
        # Of a model that it has not heard of it knows no limits (`copilot help environment`).
        environment["COPILOT_PROVIDER_MAX_PROMPT_TOKENS"] = str(context - output)
        environment["COPILOT_PROVIDER_MAX_OUTPUT_TOKENS"] = str(output)
    return environment


def webui_steps(endpoint: Endpoint) -> list[str]:
    key = endpoint.key_or(f"${KEY_VARIABLE}")
    lines = [f"OPENAI_API_BASE_URL={endpoint.base_url}", f"OPENAI_API_KEY={key}",
             "ENABLE_OLLAMA_API=false"]  # fmt: skip
    if endpoint.embed:
        lines += ["RAG_EMBEDDING_ENGINE=openai", f"RAG_EMBEDDING_MODEL={endpoint.embed}",
                  f"RAG_OPENAI_API_BASE_URL={endpoint.base_url}",
                  f"RAG_OPENAI_API_KEY={key}"]  # fmt: skip
    return lines


def cline_steps(endpoint: Endpoint) -> list[str]:
    key = endpoint.key_or(f'"${KEY_VARIABLE}"')
    context = endpoint.code.context
    return [
        f"cline auth -p openai-compatible -k {key} -m {endpoint.code.id} -b {endpoint.base_url}",
        tr(
            "In the editor's panel: API Provider: OpenAI Compatible; Base URL: "
            "{base_url}; API Key: {key}; Model ID: {id}{window}",
            base_url=endpoint.base_url,
            key=key,
            id=endpoint.code.id,
            window=tr("; Context Window Size: {context}", context=context) if context else "",
        ),
    ]


def jetbrains_steps(endpoint: Endpoint) -> list[str]:
    return [
        tr("Settings, Tools, AI Assistant, Models & API keys, Third-party AI providers"),
        (
            tr(
                "Provider: OpenAI-compatible; URL: {base_url}; API key: {key}",
                base_url=endpoint.base_url,
                key=endpoint.key_or(tr("the value of LITELLM_MASTER_KEY in .env")),
            )
        ),
        tr(
            "Then choose {id} as the core model{fill_in}",
            id=endpoint.chat.id,
            fill_in=tr(" and {name} for completion", name=endpoint.fim_name)
            if endpoint.fim_name
            else "",
        ),
    ]


def environment(endpoint: Endpoint, key: str) -> dict[str, str]:
    """For SDKs: OpenAI's, Anthropic's, and what LangChain, LlamaIndex and others read."""
    return {
        **openai_environment(endpoint, key),
        "ANTHROPIC_BASE_URL": endpoint.root,
        "ANTHROPIC_API_KEY": key,
        KEY_VARIABLE: key,
    }


# Read back from what was written: the address and the model that the client will use ----------


def continue_target(data: Any) -> Target:
    ours = next(m for m in data["models"] if str(m.get("name")).startswith(NAME))
    return Target(ours["apiBase"], ours["model"])


def opencode_target(data: Any) -> Target:
    provider = data["provider"][ID]
    return Target(provider["options"]["baseURL"], list(provider["models"])[-1])


def aider_target(data: Any) -> Target:
    name = str(data["model"])
    return Target(data["openai-api-base"], name.removeprefix("openai/"))


def codex_target(data: Any) -> Target:
    own = data.get("model_provider") != ID
    return Target(data["model_providers"][ID]["base_url"], None if own else data["model"])


def claude_target(data: Any) -> Target:
    return Target(data["env"]["ANTHROPIC_BASE_URL"] + "/v1", data["env"]["ANTHROPIC_MODEL"])


def llm_target(data: Any) -> Target:
    ours = next(m for m in data if str(m.get("model_id", "")).startswith("local-"))
    return Target(ours["api_base"], ours["model_name"])


def qwen_target(data: Any) -> Target:
    return Target(data["OPENAI_BASE_URL"], data["OPENAI_MODEL"])


def vscode_target(data: Any) -> Target:
    model = next(entry for entry in data if entry.get("name") == NAME)["models"][0]
    return Target(model["url"].removesuffix("/chat/completions"), model["id"])


def zed_target(data: Any) -> Target:
    ours = data["language_models"]["openai_compatible"][NAME]
    return Target(ours["api_url"], ours["available_models"][0]["name"])
