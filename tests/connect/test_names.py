"""Clients judge a model by its name: what each makes of the names that are served.

A rule stands with where it was read; what a rule would get wrong, ``lais connect`` sets itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from doc_pages.clients import EXAMPLE
from local_ai_suite.connect import table, values
from local_ai_suite.connect.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = Path(__file__).parents[2] / "services" / "api-gateway" / "config.p1.yaml"
_SERVED = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
ALIASES = set(_SERVED["router_settings"]["model_group_alias"])
NAMES = {entry["model_name"] for entry in _SERVED["model_list"]} | ALIASES
TALKING = {name for name in NAMES if "embed" not in name}


def continues_fim_template(name: str) -> str:
    """continuedev/continue, core/autocomplete/templating/AutocompleteTemplate.ts."""
    name = name.lower()
    if "qwen" in name and "coder" in name:
        return "qwen"
    return "another"


def test_continue_completes_with_a_name_that_it_takes_qwens_template_for() -> None:
    (edit,) = [e for e in values.continue_edits(EXAMPLE) if "autocomplete" in str(e.path)]
    assert edit.value["model"] in ALIASES
    assert continues_fim_template(edit.value["model"]) == "qwen"
    assert continues_fim_template("local-code") != "qwen"  # why the alias is there


def known_to_langchain(name: str) -> bool:
    """langchain-openai 1.7.3, chat_models/base.py: other parameters, or /v1/responses alone."""
    return name.startswith(("o1", "gpt-")) or "codex" in name


def named_claude(name: str) -> bool:
    """Cursor sends Anthropic's tools to a chat path for such names (dario#203)."""
    return "claude" in name


def aider_edits_in_diffs(name: str) -> bool:
    """aider-chat 0.86.2, models.py, apply_generic_model_settings: too hard for a small model."""
    known = ("/o1", "/o3-mini", "gpt-", "sonnet", "opus", "deepseek", "llama3", "llama-3", "qwq")
    big_qwen = "qwen" in name and "coder" in name and "32b" in name
    return big_qwen or any(word in f"openai/{name}" for word in known)


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("rule", [known_to_langchain, named_claude, aider_edits_in_diffs])
def test_no_name_is_taken_for_a_model_that_it_is_not(
    name: str, rule: Callable[[str], bool]
) -> None:
    assert not rule(name)


_LARGE = Serving("local-code", values.QWEN_CONTEXT, 16_384, tools=True, fim=True)
FACTS = replace(EXAMPLE, chat=replace(_LARGE, id="local-chat"), code=_LARGE)
CONTEXT, OUTPUT = str(_LARGE.context), str(_LARGE.output)
# Clients that look the context up by the model's name, and what tells them the real one.
LOOKS_UP = {
    "aider": '"max_input_tokens"',
    "claude-code": "CLAUDE_CODE_MAX_CONTEXT_TOKENS",
    "codex": "model_context_window",
    "continue": "contextLength",
    "opencode": '"context"',
    "qwen-code": "contextWindowSize",
    "vscode": "maxInputTokens",
    "zed": '"max_tokens"',
}


@pytest.mark.parametrize("client", LOOKS_UP)
def test_a_client_that_looks_limits_up_by_name_is_told_them(client: str) -> None:
    found = table.find(client)
    assert found is not None
    edits = [edit for file in found.files for edit in file.edits(FACTS)]
    texts = [f'"{edit.path[-1]}": {edit.value}'.replace("'", '"') for edit in edits]
    told = [text for text in texts if LOOKS_UP[client] in text]
    assert told, texts
    assert CONTEXT in told[0] or str(int(CONTEXT) - int(OUTPUT)) in told[0]


def test_qwen_code_is_not_told_a_context_at_which_it_only_summed_up() -> None:
    edits = values.qwen_settings(EXAMPLE)
    assert [edit.path[-1] for edit in edits] == ["selectedType"]


def test_copilot_is_told_limits_that_fit_the_context_together() -> None:
    environment = values.copilot_environment(FACTS, "k")
    most = int(environment["COPILOT_PROVIDER_MAX_PROMPT_TOKENS"])
    assert most + int(environment["COPILOT_PROVIDER_MAX_OUTPUT_TOKENS"]) == int(CONTEXT)
