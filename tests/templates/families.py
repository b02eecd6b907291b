"""Ten families whose templates are tried every time; the slow tier tries all of them."""

from __future__ import annotations

from typing import Any

# Ten families, and what their templates do not take: read in the templates' own text.
SAMPLE: dict[str, dict[str, Any]] = {
    "Qwen3.5-4B": {"late_system": False, "no_user": False, "repeated_turns": True},
    "mistralai-Mistral-Nemo-Instruct-2407": {
        "late_system": False, "repeated_turns": False, "assistant_first": False,
        "tool_ids": "nine", "user_after_result": False,
    },
    "mistralai-Ministral-3-14B-Reasoning-2512": {
        "late_system": False, "repeated_turns": False, "tool_ids": "any", "reasoning": True,
    },
    "google-gemma-2-2b-it": {"tools": False, "tool_history": False, "repeated_turns": False},
    "google-gemma-4-31B-it": {"tools": True, "late_system": True, "thinking_switch": True},
    "openai-gpt-oss-120b": {"parallel_calls": False, "reasoning_effort": True},
    "GLM-4.6": {"thinking_switch": True, "text_parts": False, "parallel_calls": True},
    "meta-llama-Llama-3.1-8B-Instruct": {"parallel_calls": False, "tool_ids": "any"},
    "deepseek-ai-DeepSeek-V3.1": {"late_system": False, "leading_systems": True},
    "Kimi-K2-Thinking": {"late_system": True, "tool_ids": "any", "reasoning": True},
}  # fmt: skip
